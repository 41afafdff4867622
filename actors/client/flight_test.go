package client

import (
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/mailbox"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// pinged is a client that counts the answers to its pings.
func (w *world) pinged() (*rpc.Client, chan time.Time) {
	w.t.Helper()
	pongs := make(chan time.Time, 100)
	c, err := rpc.Dial(w.t.Context(), "unix", w.rw, &rpc.ClientOptions{Conn: rpc.Options{OnPong: func() { pongs <- time.Now() }}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
		w.t.Fatal(err)
	}
	return c, pongs
}

func TestStuckCallsHoldUpNobodyElse(t *testing.T) {
	w := start(t, nil)
	const queued = 900
	c, pongs := w.pinged()
	other := w.open()
	inFlight := w.conf.Limits.InFlight
	ctx := w.soon()
	var stuck, done atomic.Int64
	for range inFlight {
		go func() {
			if err := lookup(ctx, c, "hold"); err == nil {
				stuck.Add(1)
			}
		}()
	}
	eventually(t, "all calls are in flight", func() bool { return w.members().Calls.Load() == int64(inFlight) })
	for range queued {
		go func() {
			if err := lookup(ctx, c, "later"); err == nil {
				done.Add(1)
			}
		}()
	}
	var me Member
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			me = m
		}
	}
	eventually(t, "the other calls wait", func() bool { return w.info(me.PID).Backlog == queued })

	sent := time.Now()
	if err := c.Conn().SendPing(); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-pongs:
		t.Logf("PING with %d calls stuck and %d waiting: %v", inFlight, queued, at.Sub(sent))
	case <-ctx.Done():
		t.Fatal("no answer to a PING")
	}
	sent = time.Now()
	if err := lookup(ctx, other, "x"); err != nil {
		t.Fatal(err)
	}
	t.Logf("another client's call: %v", time.Since(sent))
	if done.Load() != 0 || stuck.Load() != 0 {
		t.Errorf("%d and %d calls passed the limit", done.Load(), stuck.Load())
	}

	// One answer makes room for one call, which is served at once and makes room for the next.
	w.sys.Root.Send(w.pid("qemu"), &release{1})
	eventually(t, "what waited is served", func() bool { return done.Load() == queued && stuck.Load() == 1 })
	if n := w.info(me.PID); n.InFlight != inFlight-1 || n.Backlog != 0 {
		t.Errorf("%+v", n)
	}
	w.sys.Root.Send(w.pid("qemu"), &release{inFlight})
	eventually(t, "all are answered", func() bool { return stuck.Load() == int64(inFlight) })
	if n := w.members().Calls.Load(); n != 0 {
		t.Errorf("%d calls are still counted", n)
	}
}

// Calls that waited are served in the order in which they came.
func TestTheBacklogKeepsItsOrder(t *testing.T) {
	w := start(t, func(c *Config) { c.Limits.InFlight = 1 })
	const calls = 50
	w.fake.record(calls + 2)
	c := w.open()
	h := header(protocol.DomainLookupByName.Procedure)
	for i := range calls + 1 {
		h.Serial = uint32(1000 + i)
		name := strings.Repeat("x", i)
		if i == 0 {
			name = "hold"
		}
		if err := c.Conn().SendBody(h, &protocol.DomainLookupByNameArgs{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	me := w.members().Clients[0].PID
	eventually(t, "all wait for the first", func() bool { return w.info(me).Backlog == calls })
	w.sys.Root.Send(w.pid("qemu"), &release{1})
	for i := -1; i <= calls; i++ { // the opening comes first
		got := <-*w.fake.args.Load()
		var a protocol.DomainLookupByNameArgs
		if i < 1 {
			continue
		}
		if err := protocol.UnmarshalArgs(got.Args, &a); err != nil || len(a.Name) != i {
			t.Fatalf("call %d is for %q, %v", i, a.Name, err)
		}
	}
}

// TestAFloodWaitsAtItsOwnSocket: ten thousand calls of one connection. So many are held as may be, the others stay in its
// socket; nobody else notices, and in the end each has its answer.
func TestAFloodWaitsAtItsOwnSocket(t *testing.T) {
	w := start(t, func(c *Config) { c.Limits.InFlight, c.Limits.Backlog = 4, 100 })
	c, other := w.open(), w.open()
	const calls = 10_000
	ctx := w.soon()
	var done atomic.Int64
	for i := range calls {
		go func() {
			name := "later"
			if i < 4 {
				name = "hold"
			}
			if err := lookup(ctx, c, name); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			done.Add(1)
		}()
		if i == 3 {
			eventually(t, "the first are in flight", func() bool { return w.members().Calls.Load() == 4 })
		}
	}
	var me *actor.PID
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			me = m.PID
		}
	}
	eventually(t, "so many wait as may", func() bool { return w.info(me).Backlog >= 97 })
	if n := w.info(me).Backlog; n > 100+16 { // what came in one read
		t.Errorf("%d calls wait", n)
	}
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
	w.sys.Root.Send(w.pid("qemu"), &release{4})
	eventually(t, "all are answered", func() bool { return done.Load() == calls })
}

// stallFault keeps an actor busy.
type stallFault chan struct{}

func (f stallFault) Inject() { <-f }

// TestAStuckClientIsCutOff: its connection is closed and forgotten, and nobody else's is.
func TestAStuckClientIsCutOff(t *testing.T) {
	w := start(t, nil)
	c, other := w.open(), w.open()
	var me *actor.PID
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			me = m.PID
		}
	}
	f := make(stallFault)
	defer close(f)
	w.sys.Root.Send(me, &mailbox.Injected{Fault: f, First: true})
	dog := &kit.Watchdog{System: w.sys, Log: zerolog.Nop(), Every: 10 * time.Millisecond, Slow: 20 * time.Millisecond, Abandon: 20 * time.Millisecond}
	go dog.Run(t.Context())
	closed(t, c)
	eventually(t, "the server forgets it", func() bool { return w.idle.Load() == 1 })
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
}

// TestACallIsNotHeldUpByAPing that comes in the same read, nor is anybody else's.
func TestACallIsNotHeldUpByAPing(t *testing.T) {
	w := start(t, nil)
	nc, err := net.Dial("unix", w.rw)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	uri := "qemu:///system"
	open := rpc.AppendPacket(nil, header(protocol.ConnectOpen.Procedure), (&protocol.ConnectOpenArgs{Name: &uri}).AppendXDR(nil))
	ping := rpc.AppendPacket(nil, rpc.Header{Program: rpc.KeepaliveProgram, Version: rpc.KeepaliveVersion, Proc: 1, Type: rpc.Message}, nil)
	if _, err := nc.Write(append(open, ping...)); err != nil {
		t.Fatal(err)
	}
	c := rpc.NewConn(nc, nil)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if p, err := c.ReadPacket(); err != nil || p.Status != rpc.OK {
		t.Fatalf("the call is not answered: %+v, %v", p, err)
	}
	if err := lookup(w.soon(), w.open(), "x"); err != nil {
		t.Error(err)
	}
}

// TestWhoDoesNotReadIsNotServed: replies that nobody reads hold up what the client asks further, a bounded number of bytes,
// and nobody else. When it reads it gets them all.
func TestWhoDoesNotReadIsNotServed(t *testing.T) {
	w := start(t, nil)
	const calls, size = 2000, 8 << 10
	nc, err := net.Dial("unix", w.rw)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := rpc.NewConn(nc, nil)
	h := header(protocol.ConnectOpen.Procedure)
	uri := "qemu:///system"
	if err := c.SendBody(h, &protocol.ConnectOpenArgs{Name: &uri}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	h = header(protocol.DomainLookupByName.Procedure)
	args := &protocol.DomainLookupByNameArgs{Name: strings.Repeat("x", size)}
	for i := range calls { // queued on this side as far as the server does not take it
		h.Serial = uint32(1000 + i)
		if err := c.SendBody(h, args); err != nil {
			t.Fatal(err)
		}
	}
	me := w.members().Clients[0].PID
	eventually(t, "its calls wait for it to read", func() bool {
		i := w.info(me)
		return i.Unread > unread && i.InFlight == 0 && i.Backlog > 0
	})
	i := w.info(me)
	if most := unread + w.conf.Limits.InFlight*(size+100); i.Unread > most {
		t.Errorf("%d bytes wait to be read, want %d at most", i.Unread, most)
	}
	if most := w.conf.Limits.BytesHeld + 16*(size+overhead+100); i.Held > most {
		t.Errorf("%d bytes of its calls are held, want %d at most", i.Held, most)
	}
	other := w.open()
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
	for n := range calls {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		p, err := c.ReadPacket()
		if err != nil || p.Status != rpc.OK {
			t.Fatalf("reply %d: %+v, %v", n, p, err)
		}
		p.Release()
	}
}

// TestWhoDoesNotReadItsEventsIsCutOff after a bounded number of bytes, and the others get theirs.
func TestWhoDoesNotReadItsEventsIsCutOff(t *testing.T) {
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
	if err := c.SendBody(header(protocol.ConnectDomainEventCallbackRegisterAny.Procedure), &protocol.ConnectDomainEventCallbackRegisterAnyArgs{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if p, err := c.ReadPacket(); err != nil || p.Status != rpc.OK {
			t.Fatalf("%+v %v", p, err)
		}
	}
	ev := &publish{&call.Event{Object: "domain", ID: 0, Payload: make([]byte, 64<<10)}}
	for range 2*unreadEvents/len(ev.ev.Payload) + 16 {
		w.sys.Root.Send(w.pid("qemu"), ev)
	}
	eventually(t, "it is cut off", func() bool { return w.idle.Load() == 0 })
}

// What a client sends into a stuck branch waits in its socket once the gate is full.
func TestTheGateBoundsWhatOneClientHolds(t *testing.T) {
	w := start(t, func(c *Config) { c.Limits.InFlight, c.Limits.BytesHeld = 2, 4<<20 })
	c, other := w.open(), w.open()
	ctx := w.soon()
	var me Member
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			me = m
		}
	}
	for range 2 {
		go func() { _ = lookup(ctx, c, "hold") }()
	}
	eventually(t, "both calls are in flight", func() bool { return w.info(me.PID).InFlight == 2 })
	h := header(protocol.DomainDefineXML.Procedure)
	big := &protocol.DomainDefineXMLArgs{XML: strings.Repeat("x", 1<<20)}
	done := make(chan int)
	go func() {
		sent := 0
		for i := range 40 {
			h.Serial = uint32(5000 + i)
			if c.Conn().SendBody(h, big) != nil {
				break
			}
			sent++
			_ = c.Conn().WaitDrained(ctx)
		}
		done <- sent
	}()
	eventually(t, "the reader is held back", func() bool { return w.info(me.PID).Backlog >= 4 })
	runtime.Gosched()
	if n := w.info(me.PID).Backlog; n > 8 {
		t.Errorf("%d MiB are held, the limit is 4", n)
	}
	if err := lookup(ctx, other, "x"); err != nil {
		t.Error(err)
	}
	w.sys.Root.Send(w.pid("qemu"), &release{2})
	if n := <-done; n != 40 {
		t.Errorf("%d of 40 packets could be sent", n)
	}
	if err := lookup(ctx, c, "x"); err != nil {
		t.Error(err)
	}
}
