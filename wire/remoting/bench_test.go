package remoting

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// The measure of all is a bare echo: a 4 byte length, a payload, in the other process, over the same kind of socket.
//
//	go test -run '^$' -bench . ./wire/remoting

func benchProcess(b *testing.B, change ...func(*Options)) (p *peer, path string) {
	dir := b.TempDir()
	p = start(b, dir+"/a", change...)
	if p.opts.Dispatcher != nil {
		b.Setenv("REMOTING_TEST_DISPATCHER", "1")
	}
	spawnProcess(b, "serve", dir+"/b")
	p.mustPong(b, actor.NewPID(Address(dir+"/b"), "echo"))
	return p, dir + "/b"
}

const benchSize = 128

func bareEcho(conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			_ = conn.Close()
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

func serveBareEcho(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go bareEcho(conn)
		}
	}()
	return nil
}

func BenchmarkBareEchoRoundTrip(b *testing.B) {
	path := b.TempDir() + "/e"
	spawnProcess(b, "bare", path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	msg := make([]byte, 4+benchSize)
	binary.BigEndian.PutUint32(msg, benchSize)
	in := make([]byte, len(msg))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			b.Fatal(err)
		}
	}
}

// conversation sends a ping for each pong, with so many under way.
type conversation struct {
	target  *actor.PID
	window  int
	left    int // to send
	waiting int
	data    []byte
	serial  uint64
	done    chan struct{}
}

func (v *conversation) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		for range min(v.window, v.left) {
			v.send(c)
		}
		return
	case *pong:
		v.waiting--
	default:
		return
	}
	if v.left > 0 {
		v.send(c)
	} else if v.waiting == 0 {
		close(v.done)
	}
}

func (v *conversation) send(c actor.Context) {
	v.left--
	v.waiting++
	v.serial++
	c.Request(v.target, &ping{Serial: v.serial, Data: v.data})
}

func benchConversation(b *testing.B, p *peer, target *actor.PID, actors, window int) {
	data := make([]byte, benchSize)
	b.ReportAllocs()
	b.ResetTimer()
	var all []*conversation
	for range actors {
		v := &conversation{target: target, window: window, left: max(b.N/actors, 1), data: data, done: make(chan struct{})}
		all = append(all, v)
		pid := p.root.Spawn(actor.PropsFromProducer(func() actor.Actor { return v }, p.props()...))
		defer p.root.Stop(pid)
	}
	for _, v := range all {
		<-v.done
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkRoundTrip(b *testing.B) {
	p, path := benchProcess(b)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 1, 1)
}

// The actors of both processes run on the links' readers.
func BenchmarkRoundTripDispatcher(b *testing.B) {
	p, path := benchProcess(b, dispatched)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 1, 1)
}

func BenchmarkThroughput64Dispatcher(b *testing.B) {
	p, path := benchProcess(b, dispatched)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 1, 64)
}

func BenchmarkThroughput16ActorsDispatcher(b *testing.B) {
	p, path := benchProcess(b, dispatched)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 16, 16)
}

func BenchmarkRoundTripInProcess(b *testing.B) {
	a, _, echoPID := pair(b)
	a.mustPong(b, echoPID)
	benchConversation(b, a, echoPID, 1, 1)
}

func BenchmarkThroughput64(b *testing.B) {
	p, path := benchProcess(b)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 1, 64)
}

func BenchmarkThroughput16Actors(b *testing.B) {
	p, path := benchProcess(b)
	benchConversation(b, p, actor.NewPID(Address(path), "echo"), 16, 16)
}

// BenchmarkBareEchoThroughput has 64 clients, each with a connection of its own and one message under way.
func BenchmarkBareEchoThroughput64(b *testing.B) {
	path := b.TempDir() + "/e"
	spawnProcess(b, "bare", path)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			conn, err := net.Dial("unix", path)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			msg := make([]byte, 4+benchSize)
			in := make([]byte, len(msg))
			for range max(b.N/64, 1) {
				if _, err := conn.Write(msg); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(conn, in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkBareEchoPipelined64 has one connection and 64 messages per write: the least that any protocol can cost.
func BenchmarkBareEchoPipelined64(b *testing.B) {
	path := b.TempDir() + "/e"
	spawnProcess(b, "bare", path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	msg := make([]byte, 64*(4+benchSize))
	in := make([]byte, len(msg))
	b.ResetTimer()
	for n := 0; n < b.N; n += 64 {
		if _, err := conn.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkLarge36MiB(b *testing.B) {
	p, path := benchProcess(b)
	to := actor.NewPID(Address(path), "echo")
	data := make([]byte, 36<<20)
	b.SetBytes(int64(2 * len(data)))
	for b.Loop() {
		if m, ok := p.ask(b, to, &ping{Serial: 1, Data: data}).(*pong); !ok || len(m.Data) != len(data) {
			b.Fatal("no pong")
		}
	}
}

// bareChild is the process of the bare echo.
func bareChild() error { return serveBareEcho(os.Getenv("REMOTING_TEST_PATH")) }
