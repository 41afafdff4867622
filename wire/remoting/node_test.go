package remoting

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
)

// pair is two nodes with an echo actor in b.
func pair(t testing.TB, change ...func(*Options)) (a, b *peer, echoPID *actor.PID) {
	dir := t.TempDir()
	a, b = start(t, dir+"/a", change...), start(t, dir+"/b", change...)
	b.spawn(t, "echo", echo)
	return a, b, actor.NewPID(b.Address(), "echo")
}

func quick(o *Options) {
	o.Heartbeat, o.DialTimeout = 20*time.Millisecond, 500*time.Millisecond
	o.BackoffMin, o.BackoffMax = time.Millisecond, 20*time.Millisecond
}

func TestMessagesKeepTheirFormAndSender(t *testing.T) {
	leakCheck(t)
	a, b, _ := pair(t)
	back, answers := a.collect(t, "back")
	b.spawn(t, "mirror", func(c actor.Context) {
		switch c.Message().(type) {
		case *note, count:
			c.Respond(c.Message())
		}
	})
	mirror := actor.NewPID(b.Address(), "mirror")
	a.root.RequestWithCustomSender(mirror, &note{Text: "x", From: back, More: []any{"y", int8(3)}}, back)
	n, ok := next(t, answers).msg.(*note)
	if !ok || n.Text != "x" || !n.From.Equal(back) || fmt.Sprint(n.More) != "[y 3]" {
		t.Errorf("note came back as %+v", n)
	}
	a.root.RequestWithCustomSender(mirror, count{5}, back)
	if got := next(t, answers).msg; got != (count{5}) {
		t.Errorf("count came back as %#v", got)
	}

	target, got := b.collect(t, "target")
	a.root.Send(actor.NewPID(b.Address(), target.Id), count{1})
	if r := next(t, got); r.msg != (count{1}) || r.sender != nil {
		t.Errorf("one-way message arrived as %+v", r)
	}
	from := actor.NewPID(nonhost, "back")
	from.RequestId = 12
	a.root.RequestWithCustomSender(actor.NewPID(b.Address(), target.Id), count{2}, from)
	if r := next(t, got); r.sender.Address != a.Address() || r.sender.Id != "back" || r.sender.RequestId != 12 {
		t.Errorf("sender arrived as %+v", r.sender)
	}

	a.root.Send(actor.NewPID(b.Address(), target.Id), &parcel{Name: "empty"})
	if m, ok := next(t, got).msg.(*parcel); !ok || m.Name != "empty" || m.sets != 1 || m.fds != nil {
		t.Errorf("parcel without descriptors arrived as %+v", m)
	}

	headers := make(chan map[string]string, 1)
	b.spawn(t, "headers", func(c actor.Context) {
		if _, ok := c.Message().(count); ok {
			headers <- c.MessageHeader().ToMap()
		}
	})
	env := &actor.MessageEnvelope{Message: count{3}}
	env.SetHeader("serial", "17")
	a.root.Send(actor.NewPID(b.Address(), "headers"), env)
	if h := next(t, headers); len(h) != 1 || h["serial"] != "17" {
		t.Errorf("headers arrived as %v", h)
	}
}

func TestOrderIsKeptWhileManySend(t *testing.T) {
	t.Run("goroutines", func(t *testing.T) { testOrder(t) })
	t.Run("dispatcher", func(t *testing.T) { testOrder(t, dispatched) })
}

func testOrder(t *testing.T, change ...func(*Options)) {
	leakCheck(t)
	a, b, _ := pair(t, change...)
	const senders, each = 8, 2000
	type progress struct{ next [senders]int }
	var p progress
	done := make(chan struct{})
	var total int
	b.spawn(t, "sink", func(c actor.Context) {
		m, ok := c.Message().(*ping)
		if !ok {
			return
		}
		who, seq := int(m.Serial>>32), int(uint32(m.Serial))
		if p.next[who] != seq {
			t.Errorf("sender %d: message %d where %d was due", who, seq, p.next[who])
		}
		p.next[who] = seq + 1
		if total++; total == senders*each {
			close(done)
		}
	})
	sink := actor.NewPID(b.Address(), "sink")
	big := make([]byte, 100<<10)
	for who := range senders {
		go func() {
			for seq := range each {
				m := &ping{Serial: uint64(who)<<32 | uint64(seq)}
				if seq%100 == who {
					m.Data = big
				}
				a.root.Send(sink, m)
			}
		}()
	}
	next(t, done)
}

// TestStuckActorDoesNotHoldItsLink has an actor block the reader that runs it.
func TestStuckActorDoesNotHoldItsLink(t *testing.T) {
	leakCheck(t)
	a, b, echoPID := pair(t, dispatched)
	held, release := make(chan struct{}, 10), make(chan struct{})
	for i := range 3 {
		b.spawn(t, fmt.Sprint("stuck", i), func(c actor.Context) {
			if _, ok := c.Message().(count); ok {
				held <- struct{}{}
				<-release
			}
		})
	}
	a.mustPong(t, echoPID)
	for i := range 3 {
		stuck := actor.NewPID(b.Address(), fmt.Sprint("stuck", i))
		a.root.Send(stuck, count{1})
		next(t, held)
		a.root.Send(stuck, count{2})
		for range 10 {
			a.mustPong(t, echoPID)
		}
	}
	b.stop() // does not wait for them
	close(release)
}

func TestBothSidesMayDialAtOnce(t *testing.T) {
	leakCheck(t)
	for range 30 {
		a, b, echoB := pair(t)
		a.spawn(t, "echo", echo)
		echoA := actor.NewPID(a.Address(), "echo")
		fa := make([]*actor.Future, 20)
		fb := make([]*actor.Future, 20)
		ready := make(chan struct{})
		go func() {
			for i := range fb {
				fb[i] = b.root.RequestFuture(echoA, &ping{Serial: 1}, patience)
			}
			close(ready)
		}()
		for i := range fa {
			fa[i] = a.root.RequestFuture(echoB, &ping{Serial: 1}, patience)
		}
		<-ready
		for i := range fa {
			for _, f := range []*actor.Future{fa[i], fb[i]} {
				if r, err := f.Result(); err != nil {
					t.Fatal(err)
				} else if _, ok := r.(*pong); !ok {
					t.Fatalf("got %#v", r)
				}
			}
		}
		a.stop()
		b.stop()
	}
}

func TestNamesAndTypesThatThePeerDoesNotKnow(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	a := start(t, dir+"/a", func(o *Options) { o.Registry.Register("test.stranger", 1, (*stranger)(nil)) })
	b := start(t, dir+"/b")
	c := start(t, dir+"/c", func(o *Options) { o.Registry.Register("test.stranger", 2, (*stranger)(nil)) })
	b.spawn(t, "echo", echo)
	c.spawn(t, "echo", echo)
	b.spawn(t, "odd", func(c actor.Context) {
		if m, ok := c.Message().(*ping); ok {
			c.Respond(&stranger{Serial: m.Serial}) // not registered here
		}
	})
	ask := func(address, name string, m any) any {
		t.Helper()
		r, err := a.root.RequestFuture(actor.NewPID(address, name), m, patience).Result()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f := mustFail(t, ask(b.Address(), "nobody", &ping{Serial: 4}), NotFound)
	if f.Serial != 4 || !strings.Contains(f.Message, `"nobody"`) {
		t.Errorf("got %+v", f)
	}
	mustFail(t, ask(b.Address(), "echo", &stranger{Serial: 1}), UnknownType)
	mustFail(t, ask(c.Address(), "echo", &stranger{Serial: 1}), TypeVersion)
	mustFail(t, ask(b.Address(), "odd", &ping{Serial: 1}), UnknownType)
	type local struct{}
	mustFail(t, ask(b.Address(), "echo", &local{}), UnknownType)
	mustFail(t, ask(Address(dir+"/none"), "echo", &ping{Serial: 3}), Unreachable)
	mustFail(t, ask(b.Address(), "echo", &ping{Data: make([]byte, 41<<20)}), TooLarge)
	mustFail(t, ask(b.Address(), "echo", &ping{Deadline: time.Now().Add(-time.Second)}), Expired)
	mustFail(t, ask(b.Address(), "echo", &note{More: func() {}}), Malformed)
	// The links have survived all of it.
	for _, to := range []*peer{b, c} {
		a.mustPong(t, actor.NewPID(to.Address(), "echo"))
		if p := to.Peers(); len(p) != 1 || p[0].State != "up" {
			t.Errorf("peers %+v", p)
		}
	}
	for _, p := range a.Peers() {
		if p.Requests != 0 {
			t.Errorf("%s: %d requests left", p.Address, p.Requests)
		}
	}
}

func TestReplyOfATypeThatTheAskerDoesNotKnow(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir+"/a")
	b := start(t, dir+"/b", func(o *Options) { o.Registry.Register("test.stranger", 1, (*stranger)(nil)) })
	b.spawn(t, "odd", func(c actor.Context) {
		if m, ok := c.Message().(*ping); ok {
			c.Respond(&stranger{Serial: m.Serial})
		}
	})
	r, err := a.root.RequestFuture(actor.NewPID(b.Address(), "odd"), &ping{Serial: 1}, patience).Result()
	if err != nil {
		t.Fatal(err)
	}
	mustFail(t, r, UnknownType)
}

func TestHookAnswersForTheMessage(t *testing.T) {
	type failed struct {
		sender *actor.PID
		msg    any
		reason *Failure
	}
	hook := make(chan failed, 10)
	a, b, _ := pair(t, func(o *Options) {
		o.OnUndeliverable = func(sender *actor.PID, msg any, reason *Failure) { hook <- failed{sender, msg, reason} }
	})
	back, _ := a.collect(t, "back")
	m := &ping{Serial: 3}
	a.root.RequestWithCustomSender(actor.NewPID(b.Address(), "nobody"), m, back)
	if f := next(t, hook); f.sender.Id != "back" || f.msg != any(m) || f.reason.Code != NotFound || f.reason.Serial != 3 {
		t.Errorf("hook got %+v", f)
	}
	// Without a serial only the peer knows which message it was.
	a.root.RequestWithCustomSender(actor.NewPID(b.Address(), "nobody"), count{1}, back)
	if f := next(t, hook); f.sender.Id != "back" || f.msg != nil || f.reason.Code != NotFound {
		t.Errorf("hook got %+v", f)
	}
	panics := false
	a.opts.OnUndeliverable = func(*actor.PID, any, *Failure) { panics = true; panic("hook") }
	a.answer(back, m, failure(Lost, "x"))
	if !panics {
		t.Error("hook did not run")
	}
}

func TestDeadlineForgetsTheRequest(t *testing.T) {
	a, b, _ := pair(t, quick)
	b.spawn(t, "mute", func(actor.Context) {})
	back, _ := a.collect(t, "back")
	mute := actor.NewPID(b.Address(), "mute")
	a.root.RequestWithCustomSender(mute, &ping{Serial: 1, Deadline: time.Now().Add(30 * time.Millisecond)}, back)
	a.root.RequestFuture(mute, &ping{Serial: 2}, 30*time.Millisecond)
	if n := a.Peers()[0].Requests; n != 2 {
		t.Errorf("%d requests", n)
	}
	eventually(t, "requests are remembered for ever", func() bool { return a.Peers()[0].Requests == 0 })
}

func TestForwardedRequestIsAnsweredDirectly(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	a, b, c := start(t, dir+"/a"), start(t, dir+"/b"), start(t, dir+"/c")
	c.spawn(t, "echo", echo)
	b.spawn(t, "proxy", func(ctx actor.Context) {
		if m, ok := ctx.Message().(*ping); ok {
			name := "echo"
			if m.Serial == 2 {
				name = "nobody"
			}
			ctx.Forward(actor.NewPID(c.Address(), name))
		}
	})
	back, answers := a.collect(t, "back")
	proxy := actor.NewPID(b.Address(), "proxy")
	a.root.RequestWithCustomSender(proxy, &ping{Serial: 1}, back)
	if m, ok := next(t, answers).msg.(*pong); !ok || m.Serial != 1 {
		t.Fatalf("got %#v", m)
	}
	a.root.RequestWithCustomSender(proxy, &ping{Serial: 2}, back)
	mustFail(t, next(t, answers).msg, NotFound)
	for _, p := range append(a.Peers(), b.Peers()...) {
		if p.Requests != 0 {
			t.Errorf("left behind: %+v", p)
		}
	}
}

func TestNodeThatOnlyDials(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	b := start(t, dir+"/b")
	b.spawn(t, "echo", echo)
	a := start(t, "")
	a.mustPong(t, actor.NewPID(b.Address(), "echo"))
	back := actor.NewPID(a.Address(), "gone")
	if got := b.Peers(); len(got) != 1 || got[0].Address != a.Address() || got[0].State != "up" || got[0].PID != int32(os.Getpid()) {
		t.Fatalf("peers %+v", got)
	}
	a.stop()
	eventually(t, "the peer is remembered", func() bool { return len(b.Peers()) == 0 })
	mustFail(t, b.ask(t, back, &ping{Serial: 1}), Unreachable)
}

func TestLargePayloadBothWays(t *testing.T) {
	leakCheck(t)
	a, _, echoPID := pair(t, func(o *Options) { o.Heartbeat, o.Misses = slowness*50*time.Millisecond, 4 })
	a.mustPong(t, echoPID)
	data := make([]byte, 36<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	small := make(chan struct{})
	go func() {
		defer close(small)
		for range 20 {
			a.ask(t, echoPID, &ping{Serial: 2})
		}
	}()
	for range 3 {
		r := a.ask(t, echoPID, &ping{Serial: 1, Data: data})
		if m, ok := r.(*pong); !ok || !bytes.Equal(m.Data, data) {
			t.Fatalf("got %T: %.100v", r, r)
		}
	}
	<-small
}

func TestMulticastIsOneEnvelopePerPeer(t *testing.T) {
	a, b, _ := pair(t)
	const listeners = 50
	got := make(chan any, 2*listeners)
	receive := func(c actor.Context) {
		if m, ok := c.Message().(*note); ok {
			got <- m
		}
	}
	var targets []*actor.PID
	for i := range listeners {
		name := fmt.Sprintf("l%d", i)
		b.spawn(t, name, receive)
		targets = append(targets, actor.NewPID(b.Address(), name))
		targets = append(targets, a.spawn(t, name, receive))
	}
	targets = append(targets, actor.NewPID(b.Address(), "nobody"))
	a.Multicast(targets, &note{Text: "event"})
	values := map[any]int{}
	for range 2 * listeners {
		m := next(t, got)
		if m.(*note).Text != "event" {
			t.Errorf("got %+v", m)
		}
		values[m]++
	}
	if len(values) != 2 {
		t.Errorf("%d values for two processes", len(values))
	}
}

func TestCloseSendsWhatIsQueuedAndFailsTheRest(t *testing.T) {
	leakCheck(t)
	a, b, echoPID := pair(t)
	b.spawn(t, "mute", func(actor.Context) {})
	_, got := b.collect(t, "sink")
	a.mustPong(t, echoPID)
	f := a.root.RequestFuture(actor.NewPID(b.Address(), "mute"), &ping{Serial: 1}, patience)
	const n = 5000
	for i := range n {
		a.root.Send(actor.NewPID(b.Address(), "sink"), count{i})
	}
	a.stop()
	r, err := f.Result()
	if err != nil {
		t.Fatal(err)
	}
	mustFail(t, r, Closed)
	for i := range n {
		if m := next(t, got).msg; m != (count{i}) {
			t.Fatalf("message %d is %v", i, m)
		}
	}
	mustFail(t, a.ask(t, actor.NewPID(b.Address(), "echo"), &ping{Serial: 1}), Closed)
}

func TestStaleSocketIsReplacedAndALiveOneRefused(t *testing.T) {
	path := t.TempDir() + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	start(t, path)
	if _, err := Start(newSystem(), Options{Path: path}); err == nil {
		t.Error("a second node took the socket")
	}
	if s, err := os.Stat(path); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", s.Mode(), err)
	}
}

func TestActivationHookStartsThePeer(t *testing.T) {
	dir := t.TempDir()
	var b atomic.Pointer[peer]
	a := start(t, dir+"/a", func(o *Options) {
		o.Dial = func(ctx context.Context, address string) (*net.UnixConn, error) {
			if b.Load() == nil {
				p := start(t, dir+"/b")
				p.spawn(t, "echo", echo)
				b.Store(p)
			}
			return dialPath(ctx, address)
		}
	})
	a.mustPong(t, actor.NewPID(Address(dir+"/b"), "echo"))
}

func TestRegisterRefusesMistakes(t *testing.T) {
	mustPanic := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		f()
	}
	r := testRegistry()
	mustPanic("name twice", func() { r.Register("test.ping", 1, (*stranger)(nil)) })
	mustPanic("type twice", func() { r.Register("test.ping2", 1, (*ping)(nil)) })
	mustPanic("no type", func() { r.Register("test.nil", 1, nil) })
	mustPanic("half a codec", func() { r.Register("test.half", 1, (*half)(nil)) })
}

type half struct{}

func (*half) AppendRemoting(b []byte) ([]byte, error) { return b, nil }
