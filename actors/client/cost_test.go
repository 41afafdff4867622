package client

import (
	"io"
	"net"
	"path/filepath"
	"testing"

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
