package call

import (
	"reflect"
	"testing"
	"time"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

func TestCallTravels(t *testing.T) {
	in := &Call{
		Proc: protocol.DomainGetState.Procedure, Serial: 7, Args: []byte{1, 2, 3, 4}, Deadline: time.Unix(12, 34),
		Caller: &Caller{Client: 3, ReadOnly: true, UID: 1000, GID: 1001, PID: 42, PIDStart: 99, User: "u", Group: "g",
			SASLUser: "s", X509Name: "CN=x", SELinux: "c", Transport: "tls", Remote: "1.2.3.4;5"},
	}
	b, err := in.AppendRemoting(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out Call
	if err := out.DecodeRemoting(b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, &out) {
		t.Fatalf("%+v came back as %+v", in, &out)
	}
	for n := range b {
		if new(Call).DecodeRemoting(b[:n]) == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(b))
		}
	}
}

func TestReplyTravels(t *testing.T) {
	e := liberr.New(liberr.FromQemu, liberr.NoDomain, "x")
	for _, in := range []*Reply{
		{Serial: 1, Ret: []byte{0, 0, 0, 1}},
		{Serial: 2, Ret: []byte{}, Err: e},
		{Serial: 3, Ret: []byte{}, Stream: &Stream{FD: -1, In: true, Limit: -1, Ended: "a/b", Token: 5}},
	} {
		b, err := in.AppendRemoting(nil)
		if err != nil {
			t.Fatal(err)
		}
		out := &Reply{}
		if err := out.DecodeRemoting(b); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v came back as %+v, %v", in, out, err)
		}
	}
}

func TestDescriptorsOfAStream(t *testing.T) {
	r := &Reply{FDs: []int{4, 5}, Stream: &Stream{FD: 6}}
	if got := r.Descriptors(); !reflect.DeepEqual(got, []int{4, 5, 6}) {
		t.Fatal(got)
	}
	r.SetDescriptors([]int{7, 8, 9})
	if r.Stream.FD != 9 || !reflect.DeepEqual(r.FDs, []int{7, 8}) {
		t.Fatalf("%+v %+v", r, r.Stream)
	}
	r.SetDescriptors(nil)
	if r.Stream.FD != -1 || len(r.Descriptors()) != 0 {
		t.Fatalf("a descriptor that is gone is still named: %+v", r.Stream)
	}
}
