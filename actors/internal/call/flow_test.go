package call

import (
	"testing"

	"virtree/actors/internal/mailbox"
)

// Whose turn it is: programs of one user differ, their connections do not; over the network it is who logged in, and where
// from.
func TestFlowTellsUsersAndPrograms(t *testing.T) {
	of := func(c Caller) (f [2]uint64) {
		x := (&Call{Caller: &c}).Flow()
		return [2]uint64{x.Group, x.Member}
	}
	unix := Caller{Transport: "unix", UID: 7, PID: 100, Client: 1}
	same := unix
	same.Client = 2
	if of(unix) != of(same) {
		t.Error("two connections of one program have two turns")
	}
	other := unix
	other.PID = 101
	if a, b := of(unix), of(other); a[0] != b[0] || a[1] == b[1] {
		t.Errorf("two programs of one user: %v and %v", a, b)
	}
	user := unix
	user.UID = 8
	if of(unix)[0] == of(user)[0] {
		t.Error("two users have one turn")
	}
	tls := Caller{Transport: "tls", X509Name: "CN=a", Remote: "10.0.0.1;1000", Client: 1}
	again := tls
	again.Remote, again.Client = "10.0.0.1;1001", 2
	if of(tls) != of(again) {
		t.Error("two connections of one host have two turns")
	}
	name := tls
	name.X509Name = "CN=b"
	if of(tls)[0] == of(name)[0] {
		t.Error("two names of certificates have one turn")
	}
	if got := (&Call{}).Flow(); got != (mailbox.Flow{}) {
		t.Errorf("calls of the daemon itself have a turn of their own: %v", got)
	}
}
