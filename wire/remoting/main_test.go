package remoting

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/wire/remoting/dispatch"
)

// ping and pong are the request and the reply of the tests, in the binary encoding.
type ping struct {
	Serial   uint64
	Deadline time.Time
	Data     []byte
}

type pong struct {
	Serial uint64
	Data   []byte
}

func (p *ping) RequestSerial() uint64      { return p.Serial }
func (p *ping) RequestDeadline() time.Time { return p.Deadline }
func (p *pong) ReplySerial() uint64        { return p.Serial }
func (p *ping) RemotingSize() int          { return 8 + len(p.Data) }
func (p *pong) RemotingSize() int          { return 8 + len(p.Data) }

func (p *ping) AppendRemoting(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint64(b, p.Serial), p.Data...), nil
}
func (p *pong) AppendRemoting(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint64(b, p.Serial), p.Data...), nil
}

var errShort = errors.New("short payload")

func (p *ping) DecodeRemoting(b []byte) error {
	if len(b) < 8 {
		return errShort
	}
	p.Serial, p.Data = binary.BigEndian.Uint64(b), b[8:]
	return nil
}

func (p *pong) DecodeRemoting(b []byte) error {
	if len(b) < 8 {
		return errShort
	}
	p.Serial, p.Data = binary.BigEndian.Uint64(b), b[8:]
	return nil
}

// note goes one way, in MessagePack, with a PID inside.
type note struct {
	Text string
	From *actor.PID
	More any
}

// count is sent by value.
type count struct{ N int }

// parcel carries descriptors.
type parcel struct {
	Name string
	fds  []int
	sets int // calls of SetDescriptors
}

func (p *parcel) Descriptors() []int       { return p.fds }
func (p *parcel) SetDescriptors(fds []int) { p.fds, p.sets = fds, p.sets+1 }

// stranger is registered nowhere but in one test.
type stranger struct {
	Serial uint64
	Text   string
}

func (s *stranger) RequestSerial() uint64 { return s.Serial }

func testRegistry() *Registry {
	r := NewRegistry()
	r.Register("test.ping", 1, (*ping)(nil))
	r.Register("test.pong", 1, (*pong)(nil))
	r.Register("test.note", 1, (*note)(nil))
	r.Register("test.count", 1, count{})
	r.Register("test.parcel", 1, (*parcel)(nil))
	return r
}

// peer is a node with its actor system, in this process.
type peer struct {
	*Node
	system *actor.ActorSystem
	root   *actor.RootContext
}

func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}))
}

func start(t testing.TB, path string, change ...func(*Options)) *peer {
	t.Helper()
	opts := Options{Path: path, Registry: testRegistry(), Logger: zerolog.Nop()}
	if os.Getenv("REMOTING_TEST_LOG") != "" {
		opts.Logger = zerolog.New(os.Stderr).With().Timestamp().Str("node", filepath.Base(path)).Logger()
	}
	for _, f := range change {
		f(&opts)
	}
	system := newSystem()
	n, err := Start(system, opts)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Node: n, system: system, root: system.Root}
	t.Cleanup(p.stop)
	return p
}

// dispatched has the readers run the actors.
func dispatched(o *Options) { o.Dispatcher = dispatch.New() }

func (p *peer) props() []actor.PropsOption {
	if p.opts.Dispatcher == nil {
		return nil
	}
	return []actor.PropsOption{actor.WithDispatcher(p.opts.Dispatcher)}
}

func (p *peer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.Close(ctx)
}

func (p *peer) spawn(t testing.TB, name string, f actor.ReceiveFunc) *actor.PID {
	t.Helper()
	pid, err := p.root.SpawnNamed(actor.PropsFromFunc(f, p.props()...), name)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// collect is an actor that puts what it receives into a channel, with the sender.
type received struct {
	msg    any
	sender *actor.PID
}

func (p *peer) collect(t testing.TB, name string) (*actor.PID, chan received) {
	ch := make(chan received, 20000)
	pid := p.spawn(t, name, func(c actor.Context) {
		switch c.Message().(type) {
		case *actor.Started, *actor.Stopping, *actor.Stopped:
		default:
			ch <- received{c.Message(), c.Sender()}
		}
	})
	return pid, ch
}

func echo(c actor.Context) {
	if m, ok := c.Message().(*ping); ok {
		c.Respond(&pong{Serial: m.Serial, Data: m.Data})
	}
}

const patience = 10 * time.Second

func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}

// ask sends a ping through a future.
func (p *peer) ask(t testing.TB, to *actor.PID, m *ping) any {
	t.Helper()
	r, err := p.root.RequestFuture(to, m, patience).Result()
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	return r
}

func (p *peer) mustPong(t testing.TB, to *actor.PID) {
	t.Helper()
	r := p.ask(t, to, &ping{Serial: 7, Data: []byte("hello")})
	if got, ok := r.(*pong); !ok || got.Serial != 7 || string(got.Data) != "hello" {
		t.Fatalf("answer %#v", r)
	}
}

func mustFail(t testing.TB, r any, code Code) *Failure {
	t.Helper()
	f, ok := r.(*Failure)
	if !ok || f.Code != code {
		t.Fatalf("got %#v, want a failure %q", r, code)
	}
	return f
}

// eventually is for what another goroutine does without telling: the end of a goroutine, a closed descriptor.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			buf := make([]byte, 1<<16)
			t.Fatalf("%s\n%s", what, buf[:runtime.Stack(buf, true)])
		case <-tick.C:
		}
	}
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// leakCheck compares goroutines and descriptors after all other cleanups with those of now.
func leakCheck(t *testing.T) {
	runtime.GC()
	goroutines, fds := runtime.NumGoroutine(), openDescriptors(t)
	t.Cleanup(func() {
		eventually(t, "goroutines or descriptors leak", func() bool {
			return runtime.NumGoroutine() <= goroutines && openDescriptors(t) <= fds
		})
	})
}

func TestMain(m *testing.M) {
	if role := os.Getenv("REMOTING_TEST_ROLE"); role != "" {
		child(role)
		return
	}
	os.Exit(m.Run())
}
