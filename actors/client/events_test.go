package client

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/xdr"
)

var web = protocol.Domain{Name: "web", UUID: protocol.UUID{1}, ID: 1}

// lifecycle is an event of a domain; detail tells one from the other.
func lifecycle(d protocol.Domain, detail int32) *call.Event {
	m := protocol.DomainEventLifecycleMsg{Dom: d, Event: 2, Detail: detail}
	return &call.Event{Object: "domain", ID: 0, UUID: d.UUID, Name: d.Name, Payload: m.AppendXDR(nil)}
}

func (w *world) publish(branch string, ev *call.Event) { w.sys.Root.Send(w.pid(branch), &publish{ev}) }

// event waits for the next event of a client.
func event(t testing.TB, c *rpc.Client) rpc.Event {
	t.Helper()
	select {
	case e, ok := <-c.Events():
		if !ok {
			t.Fatal("the connection ended")
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event")
	}
	return rpc.Event{}
}

// quiet makes sure that no event is on its way: what was published before has been sent before the answer.
func quiet(t testing.TB, w *world, c *rpc.Client) {
	t.Helper()
	if err := lookup(w.soon(), c, "fence"); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-c.Events():
		t.Errorf("unexpected event %+v", e)
	case <-time.After(10 * time.Millisecond):
	}
}

func TestAllFormsOfRegistration(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	ctx := w.soon()
	register := func(uuid *protocol.Domain, id int32) int32 {
		t.Helper()
		r, err := rpc.Do(ctx, c, protocol.ConnectDomainEventCallbackRegisterAny, &protocol.ConnectDomainEventCallbackRegisterAnyArgs{EventID: id, Dom: uuid})
		if err != nil {
			t.Fatal(err)
		}
		return r.CallbackID
	}
	all := register(nil, 0)
	mine := register(&web, 0)
	other := register(&protocol.Domain{Name: "db", UUID: protocol.UUID{2}}, 0)
	reboot := register(nil, 1)
	if all == mine || mine == other || other == reboot {
		t.Errorf("ids %d, %d, %d, %d are not unique", all, mine, other, reboot)
	}
	w.publish("qemu", lifecycle(web, 7))
	for _, id := range []int32{all, mine} {
		e := event(t, c)
		var m protocol.DomainEventCallbackLifecycleMsg
		if err := protocol.Unmarshal(e.Payload, &m); err != nil || e.Proc != protocol.DomainEventCallbackLifecycle.Number || m.CallbackID != id || m.Msg.Dom != web || m.Msg.Detail != 7 {
			t.Errorf("event %+v, %v: %+v", e.Header, err, m)
		}
	}
	quiet(t, w, c)

	for _, id := range []int32{all, other} {
		if _, err := rpc.Do(ctx, c, protocol.ConnectDomainEventCallbackDeregisterAny, &protocol.ConnectDomainEventCallbackDeregisterAnyArgs{CallbackID: id}); err != nil {
			t.Fatal(err)
		}
	}
	// The oldest form has no id and no filter.
	if _, err := rpc.Do(ctx, c, protocol.ConnectDomainEventRegister, nil); err != nil {
		t.Fatal(err)
	}
	w.publish("qemu", lifecycle(web, 8))
	first, second := event(t, c), event(t, c)
	if first.Proc != protocol.DomainEventCallbackLifecycle.Number || second.Proc != protocol.DomainEventLifecycle.Number {
		t.Errorf("events %d and %d", first.Proc, second.Proc)
	}
	var old protocol.DomainEventLifecycleMsg
	if err := protocol.Unmarshal(second.Payload, &old); err != nil || old.Dom != web || old.Detail != 8 {
		t.Errorf("%+v, %v", old, err)
	}
	if _, err := rpc.Do(ctx, c, protocol.ConnectDomainEventDeregister, nil); err != nil {
		t.Fatal(err)
	}
	w.publish("qemu", lifecycle(protocol.Domain{Name: "db", UUID: protocol.UUID{2}}, 9))
	quiet(t, w, c)
}

func TestEventsOfOtherObjectsAndOfTheMonitor(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	ctx := w.soon()
	lan := protocol.Network{Name: "default", UUID: protocol.UUID{9}}
	if _, err := rpc.Do(ctx, c, protocol.ConnectNetworkEventRegisterAny, &protocol.ConnectNetworkEventRegisterAnyArgs{Net: &lan}); err != nil {
		t.Fatal(err)
	}
	pattern, exact := "^BLOCK_", "RESUME"
	var ids []int32
	for _, a := range []*protocol.QemuConnectDomainMonitorEventRegisterArgs{{Event: &pattern, Flags: 1}, {Event: &exact}} {
		r, err := rpc.Do(ctx, c, protocol.QemuConnectDomainMonitorEventRegister, a)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.CallbackID)
	}
	for _, name := range []string{"BLOCK_IO_ERROR", "RESUMED", "RESUME"} {
		w.publish("qemu", &call.Event{Object: "domain", ID: call.EventMonitor, UUID: web.UUID, Name: name, Payload: []byte(name + "....")[:4]})
	}
	for _, id := range ids {
		e := event(t, c)
		d := xdr.NewDecoder(e.Payload)
		if got := d.Int32(); got != id || e.Program != protocol.QemuProgram || e.Proc != protocol.QemuDomainMonitorEvent.Number {
			t.Errorf("event %+v of callback %d, want %d", e.Header, got, id)
		}
	}
	m := protocol.NetworkEventLifecycleMsg{CallbackID: 0, Net: lan, Event: 2}
	w.publish("network", &call.Event{Object: "network", UUID: protocol.UUID{8}, Payload: m.AppendXDR(nil)[4:]})
	w.publish("network", &call.Event{Object: "network", UUID: lan.UUID, Payload: m.AppendXDR(nil)[4:]})
	var got protocol.NetworkEventLifecycleMsg
	if e := event(t, c); protocol.Unmarshal(e.Payload, &got) != nil || got.Net != lan {
		t.Errorf("%+v", got)
	}
	quiet(t, w, c)
	// An id of one kind is not one of another.
	_, err := rpc.Do(ctx, c, protocol.ConnectDomainEventCallbackDeregisterAny, &protocol.ConnectDomainEventCallbackDeregisterAnyArgs{CallbackID: ids[0]})
	if err == nil {
		t.Error("a monitor event was deregistered as a domain event")
	}
	if _, err := rpc.Do(ctx, c, protocol.QemuConnectDomainMonitorEventDeregister, &protocol.QemuConnectDomainMonitorEventDeregisterArgs{CallbackID: ids[0]}); err != nil {
		t.Error(err)
	}
}

// Two registrations that are under way at once: one of them is refused.
func TestRegisteringTwiceAtOnce(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	var good atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := rpc.Do(w.t.Context(), c, protocol.ConnectDomainEventRegister, nil); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("%d registrations", good.Load())
	}
}

func TestEventsSurviveTheirBranch(t *testing.T) {
	for name, trouble := range map[string]func(w *world, c *rpc.Client){
		"a panic: the branch is restarted in place": func(w *world, c *rpc.Client) { _ = lookup(w.soon(), c, "panic") },
		"its end: another actor follows": func(w *world, c *rpc.Client) {
			_ = lookup(w.soon(), c, "die")
			w.branch("qemu")
		},
		"its end: the successor takes its time": func(w *world, c *rpc.Client) {
			old := w.pid("qemu")
			w.branches.Delete("qemu")
			_ = w.sys.Root.StopFuture(old).Wait()
			time.AfterFunc(2*resubscribePause, func() { w.branch("qemu") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil)
			c := w.open()
			if _, err := rpc.Do(w.soon(), c, protocol.ConnectDomainEventRegister, nil); err != nil {
				t.Fatal(err)
			}
			trouble(w, c)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(patience); ; {
				select {
				case <-c.Events():
					return
				case <-tick.C:
					if pid, ok := w.branches.Load("qemu"); ok {
						w.sys.Root.Send(pid.(*actor.PID), &publish{lifecycle(web, 1)})
					}
				}
				if time.Now().After(end) {
					t.Fatal("no event any more")
				}
			}
		})
	}
}

// A client that does not read loses its connection; the others lose nothing.
func TestAClientThatNeverReadsIsCutOff(t *testing.T) {
	w := start(t, nil)
	deaf, err := w.deaf()
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	c := w.open()
	if _, err := rpc.Do(w.soon(), c, protocol.ConnectDomainEventRegister, nil); err != nil {
		t.Fatal(err)
	}
	big := protocol.Domain{Name: string(make([]byte, 200<<10)), UUID: web.UUID}
	ev := lifecycle(big, 1)
	n := 0
	for ; w.idle.Load() == 2 && n < 2000; n++ {
		w.publish("qemu", ev)
		event(t, c)
	}
	eventually(t, "the deaf client is gone", func() bool { return w.idle.Load() == 1 })
	t.Logf("closed after %d events of 200 KiB", n)
	w.publish("qemu", ev)
	event(t, c)
	if err := lookup(w.soon(), c, "x"); err != nil {
		t.Error(err)
	}
}

// deaf registers for events and then never reads.
func (w *world) deaf() (*rpc.Conn, error) {
	nc, err := net.Dial("unix", w.rw)
	if err != nil {
		return nil, err
	}
	conn := rpc.NewConn(nc, nil)
	for i, p := range []*protocol.Procedure{protocol.ConnectOpen.Procedure, protocol.ConnectDomainEventRegister.Procedure} {
		h := header(p)
		h.Serial = uint32(i)
		var args []byte
		if i == 0 {
			args = openArgs("qemu:///system")
		}
		if err := conn.Send(h, args); err != nil {
			return nil, err
		}
		if _, err := conn.ReadPacket(); err != nil {
			return nil, err
		}
	}
	return conn, nil
}

// BenchmarkEvents is the promise: 1,000 events a second to 100 clients, and nobody's call waits for them.
func BenchmarkEvents(b *testing.B) {
	const clients, rate = 100, 1000
	w := start(b, nil)
	var got atomic.Int64
	for range clients {
		c := w.open()
		if _, err := rpc.Do(w.soon(), c, protocol.ConnectDomainEventRegister, nil); err != nil {
			b.Fatal(err)
		}
		go func() {
			for range c.Events() {
				got.Add(1)
			}
		}()
	}
	caller := w.open()
	ev := lifecycle(web, 1)
	var slowest time.Duration
	b.ResetTimer()
	began := time.Now()
	for i := range b.N {
		if d := time.Until(began.Add(time.Duration(i) * time.Second / rate)); d > 0 {
			time.Sleep(d)
		}
		w.publish("qemu", ev)
		if i%10 == 0 {
			at := time.Now()
			if err := lookup(b.Context(), caller, "x"); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(at))
		}
	}
	eventually(b, "all events are there", func() bool { return got.Load() == int64(clients)*int64(b.N) })
	took := time.Since(began)
	b.ReportMetric(float64(got.Load())/took.Seconds(), "events/s")
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-call-ms")
	if b.N >= rate && slowest > time.Second {
		b.Errorf("a call took %v beside the events", slowest)
	}
}
