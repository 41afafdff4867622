package client

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// BenchmarkCostSocket is one call over a real UNIX socket: beside it the same bytes to a goroutine that sends them back,
// which is what the sockets and the runtime cost without a daemon between.
func BenchmarkCostSocket(b *testing.B) {
	proc := protocol.ConnectGetHostname.Procedure
	head := rpc.Header{Program: proc.Program, Version: proc.Version, Proc: proc.Number}
	converse := func(b *testing.B, conn *rpc.Conn) {
		b.ReportAllocs()
		for b.Loop() {
			head.Serial++
			if err := conn.Send(head, nil); err != nil {
				b.Fatal(err)
			}
			p, err := conn.ReadPacket()
			if err != nil {
				b.Fatal(err)
			}
			if p.Serial != head.Serial || p.Status != rpc.OK {
				b.Fatalf("answer %+v", p.Header)
			}
			p.Release()
		}
	}
	dial := func(b *testing.B, path string) *rpc.Conn {
		nc, err := net.Dial("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = nc.Close() })
		return rpc.NewConn(nc, nil)
	}
	b.Run("bare_echo", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "echo")
		l, err := net.Listen("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			buf := make([]byte, 4096)
			for {
				n, err := nc.Read(buf)
				if err != nil {
					if err != io.EOF {
						b.Error(err)
					}
					return
				}
				if _, err := nc.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		converse(b, dial(b, path))
	})
	b.Run("client,_branch_and_back", func(b *testing.B) {
		w := start(b, nil)
		conn := dial(b, w.rw)
		say := func(p *protocol.Procedure, payload []byte) {
			h := rpc.Header{Program: p.Program, Version: p.Version, Proc: p.Number}
			if err := conn.Send(h, payload); err != nil {
				b.Fatal(err)
			}
			p2, err := conn.ReadPacket()
			if err != nil || p2.Status != rpc.OK {
				b.Fatalf("%s: %v %v", p.Name, p2, err)
			}
		}
		uri := "qemu:///system"
		say(protocol.AuthList.Procedure, nil)
		say(protocol.ConnectOpen.Procedure, (&protocol.ConnectOpenArgs{Name: &uri}).AppendXDR(nil))
		converse(b, conn)
	})
}

// BenchmarkCostConnection is a client that connects and opens, and the memory that it keeps: its actor, its reader, and what
// the runtime holds for both ends of the socket.
func BenchmarkCostConnection(b *testing.B) {
	b.Run("connected_and_opened", func(b *testing.B) {
		w := start(b, func(c *Config) { c.Limits.Clients = 1 << 30 })
		uri := "qemu:///system"
		open := appendCall(nil, protocol.AuthList.Procedure, nil)
		open = appendCall(open, protocol.ConnectOpen.Procedure, (&protocol.ConnectOpenArgs{Name: &uri}).AppendXDR(nil))
		answers := make([]byte, 28+8+28) // an empty list of kinds, and nothing
		connect := func() {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = unix.Close(fd) })
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: w.rw}); err != nil {
				b.Fatal(err)
			}
			if _, err := unix.Write(fd, open); err != nil {
				b.Fatal(err)
			}
			for have := 0; have < len(answers); {
				n, err := unix.Read(fd, answers[have:])
				if err != nil || n == 0 {
					b.Fatalf("answers: %d, %v", n, err)
				}
				have += n
			}
		}
		connect()
		var before, after runtime.MemStats
		rest := func(m *runtime.MemStats) {
			for range 3 { // stacks shrink by half each time
				runtime.GC()
			}
			runtime.ReadMemStats(m)
		}
		rest(&before)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			connect()
		}
		b.StopTimer()
		rest(&after)
		b.ReportMetric(float64(int64(after.HeapInuse)-int64(before.HeapInuse))/float64(b.N), "kept-B-heap")
		b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/float64(b.N), "kept-B-stack")
	})
}

func appendCall(b []byte, p *protocol.Procedure, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(28+len(payload)))
	b = rpc.Header{Program: p.Program, Version: p.Version, Proc: p.Number}.Append(b)
	return append(b, payload...)
}
