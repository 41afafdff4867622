package rpc

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"virtree/wire/liberr"
	"virtree/wire/xdr"
)

func TestErrorPayloadSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zäß' %]{0,40}`)
		e := &liberr.Error{
			Code: liberr.Code(rapid.Int32().Draw(t, "code")), Domain: liberr.Domain(rapid.Int32().Draw(t, "domain")),
			Level: liberr.Level(rapid.Int32Range(0, 2).Draw(t, "level")), Message: text.Draw(t, "message"),
			Str1: text.Draw(t, "str1"), Str2: text.Draw(t, "str2"), Str3: text.Draw(t, "str3"),
			Int1: rapid.Int32().Draw(t, "int1"), Int2: rapid.Int32().Draw(t, "int2"),
		}
		got := DecodeError(ErrorPayload{e}.AppendXDR(nil))
		if d := cmp.Diff(e, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestErrorPayloadOfAnyError(t *testing.T) {
	got := DecodeError(NewErrorPayload(errors.New("disk on fire")).AppendXDR(nil))
	if got.Code != liberr.InternalError || got.Domain != liberr.FromRPC || got.Message != "internal error: disk on fire" {
		t.Errorf("got %+v", got)
	}
}

func TestErrorPayloadWithObjectsIsUnderstood(t *testing.T) {
	b := xdr.AppendInt32(nil, 42)
	b = xdr.AppendInt32(b, 10)
	b = appendOptString(b, "msg")
	b = xdr.AppendInt32(b, 2)
	b = xdr.AppendString(xdr.AppendBool(b, true), "dom")
	b = xdr.AppendInt32(append(b, make([]byte, 16)...), -1)
	b = appendOptString(appendOptString(appendOptString(b, "1"), ""), "3")
	b = xdr.AppendInt32(xdr.AppendInt32(b, 5), 6)
	b = append(xdr.AppendString(xdr.AppendBool(b, true), "net"), make([]byte, 16)...)
	want := &liberr.Error{Code: 42, Domain: 10, Level: 2, Message: "msg", Str1: "1", Str3: "3", Int1: 5, Int2: 6}
	if d := cmp.Diff(want, DecodeError(b)); d != "" {
		t.Error(d)
	}
}

func TestBrokenErrorPayloadIsAnErrorToo(t *testing.T) {
	whole := NewErrorPayload(errors.New("x")).AppendXDR(nil)
	for cut := range whole {
		if e := DecodeError(whole[:cut]); e.Code != liberr.RPC || !strings.HasPrefix(e.Message, "Unable to decode") {
			t.Fatalf("cut at %d: %+v", cut, e)
		}
	}
}

func FuzzErrorPayload(f *testing.F) {
	f.Add(NewErrorPayload(errors.New("x")).AppendXDR(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := DecodeError(b)
		again := DecodeError(ErrorPayload{e}.AppendXDR(nil))
		if d := cmp.Diff(e.Message, again.Message); d != "" || e.Code != again.Code {
			t.Error(d)
		}
	})
}

func TestStreamPackets(t *testing.T) {
	x, y := unixPair(t)
	a, b := NewConn(x, nil), NewConn(y, nil)
	call := Header{Program: 0x20008086, Version: 1, Proc: 209, Type: Call, Serial: 12}
	failure := liberr.New(liberr.FromStorage, liberr.OperationFailed, "no room")
	data := bytes.Repeat([]byte("virtree "), MaxData/4)
	steps := []struct {
		name string
		send func() error
		want []StreamPacket
	}{
		{"data is cut to the protocol's size", func() error { return a.SendData(call, data) },
			[]StreamPacket{{Kind: StreamData, Data: data[:MaxData]}, {Kind: StreamData, Data: data[MaxData:]}}},
		{"empty data is not an end", func() error { return a.SendData(call, nil) }, nil},
		{"hole", func() error { return a.SendHole(call, 1<<40) }, []StreamPacket{{Kind: StreamGap, Length: 1 << 40}}},
		{"eof", func() error { return a.SendEOF(call) }, []StreamPacket{{Kind: StreamEOF}}},
		{"finish", func() error { return a.SendFinish(call) }, []StreamPacket{{Kind: StreamFinish}}},
		{"abort", func() error { return a.SendAbort(call) }, []StreamPacket{{Kind: StreamAbort}}},
		{"failure", func() error { return a.SendStreamError(call, failure) }, []StreamPacket{{Kind: StreamError, Err: failure}}},
	}
	for _, s := range steps {
		if err := s.send(); err != nil {
			t.Fatal(s.name, err)
		}
		for _, want := range s.want {
			p := mustRead(t, b)
			if p.Program != call.Program || p.Proc != call.Proc || p.Serial != call.Serial {
				t.Errorf("%s: header %v", s.name, p.Header)
			}
			got, err := ParseStream(p)
			if err != nil {
				t.Fatal(s.name, err)
			}
			if d := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); d != "" { // byte by byte it takes 12 s under the race detector
				t.Errorf("%s: %s", s.name, d)
			}
		}
	}
}

func TestBrokenStreamPackets(t *testing.T) {
	hole := func(n int64, flags uint32) []byte { return xdr.AppendUint32(xdr.AppendInt64(nil, n), flags) }
	for name, p := range map[string]Packet{
		"a hole with flags":           {Header: Header{Type: StreamHole, Status: Continue}, Payload: hole(1, 1)},
		"a negative hole":             {Header: Header{Type: StreamHole, Status: Continue}, Payload: hole(-1, 0)},
		"a short hole":                {Header: Header{Type: StreamHole, Status: Continue}, Payload: hole(1, 0)[:8]},
		"a hole that is OK":           {Header: Header{Type: StreamHole, Status: OK}, Payload: hole(1, 0)},
		"a status nobody knows":       {Header: Header{Type: Stream, Status: 9}},
		"a packet that is not stream": {Header: Header{Type: Call}},
	} {
		if got, err := ParseStream(&p); err == nil {
			t.Errorf("%s is understood as %+v", name, got)
		}
	}
}
