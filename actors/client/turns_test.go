package client

import (
	"net"
	"strings"
	"testing"
	"time"

	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// socketPair is both ends of a connection as a client's is.
func socketPair(t *testing.T) (server, peer *rpc.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	y, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	x, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, peer = rpc.NewConn(x, nil), rpc.NewConn(y, nil)
	t.Cleanup(func() { _, _ = server.Close(), peer.Close() })
	return server, peer
}

// lastPatient sets when a client that waits has called, for one test.
func lastPatient(t *testing.T, at int64) {
	before := patient.Swap(at)
	t.Cleanup(func() { patient.Store(before) })
}

func TestWhoSendsWithoutWaitingCrowds(t *testing.T) {
	lastPatient(t, 0)
	server, peer := socketPair(t)
	var c turn
	read := func() bool {
		p, err := server.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
		return c.crowding(server)
	}
	send := func() {
		if err := peer.Send(rpc.Header{}, nil); err != nil {
			t.Error(err)
		}
	}
	for n := range 2 * eagerMany { // each is there before it is read for, none comes together with the next
		send()
		if got, want := read(), n >= eagerMany-1; got != want {
			t.Errorf("call %d that did not have to be waited for: crowds %v, want %v", n+1, got, want)
		}
	}
	if othersWait(time.Now()) {
		t.Error("one that crowds is taken for one that waits")
	}
	for range patientMany + 1 {
		time.AfterFunc(5*time.Millisecond, send) // by then the reader waits, or it is one call more until we are patient
		if read() && server.Waited() {
			t.Error("a call that had to be waited for crowds")
		}
	}
	for range 100 {
		if !othersWait(time.Now()) { // some may have come too early on a busy machine
			time.AfterFunc(5*time.Millisecond, send)
			read()
		}
	}
	if !othersWait(time.Now()) {
		t.Error("a client that waits is not noticed")
	}
	send()
	send()
	if !read() {
		t.Error("two at once do not crowd")
	}
}

// TestTheCrowdRestsForOthersOnly: its rests are as long as twice its work, and there are none when nobody else calls.
func TestTheCrowdRestsForOthersOnly(t *testing.T) {
	rested := func() time.Duration {
		var c turn
		c.begin()
		c.since = c.since.Add(-time.Millisecond) // of work
		began := time.Now()
		c.end()
		return time.Since(began)
	}
	lastPatient(t, int64(time.Since(born)))
	if d := rested(); d < 2*time.Millisecond {
		t.Errorf("rested for %v beside others", d)
	}
	patient.Store(0)
	least := time.Hour
	for range 20 {
		least = min(least, rested())
	}
	if least >= 2*time.Millisecond {
		t.Errorf("rested for %v alone", least)
	}
}

func TestManyConnectionsInARowArePacedBesideOthers(t *testing.T) {
	took := func() time.Duration {
		var a arrivals
		began := time.Now()
		for range arrivalFew + 20 {
			a.pause()
			a.last = time.Now() // none comes late, however busy the machine is
		}
		return time.Since(began)
	}
	lastPatient(t, int64(time.Since(born)))
	if d := took(); d < 20*arrivalRest {
		t.Errorf("took %v beside others", d)
	}
	patient.Store(0)
	if d := took(); d >= 20*arrivalRest {
		t.Errorf("took %v alone", d)
	}
}

// TestWhoDoesNotReadIsSoonNotReadFrom: of small calls, too, few are taken from the socket.
func TestWhoDoesNotReadIsSoonNotReadFrom(t *testing.T) {
	w := start(t, nil)
	nc, err := net.Dial("unix", w.rw)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := rpc.NewConn(nc, nil)
	uri := "qemu:///system"
	if err := c.SendBody(header(protocol.ConnectOpen.Procedure), &protocol.ConnectOpenArgs{Name: &uri}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	const large, small = 200, 4000
	h := header(protocol.DomainLookupByName.Procedure)
	for i := range large + small {
		args := &protocol.DomainLookupByNameArgs{Name: "x"}
		if i < large {
			args.Name = strings.Repeat("x", 8<<10) // which comes back
		}
		h.Serial = uint32(1000 + i)
		if err := c.SendBody(h, args); err != nil {
			t.Fatal(err)
		}
	}
	me := w.members().Clients[0].PID
	eventually(t, "its reader is held back", func() bool { return w.info(me).Backlog > unreadFew/2 })
	if most, i := unreadFew+2*17, w.info(me); i.Backlog > most {
		t.Errorf("%d calls wait in the daemon, want %d at most", i.Backlog, most)
	}
	for n := range large + small {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		p, err := c.ReadPacket()
		if err != nil || p.Status != rpc.OK {
			t.Fatalf("reply %d: %+v, %v", n, p, err)
		}
		p.Release()
	}
}
