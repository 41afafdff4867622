package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// unixPair returns two connected UNIX stream sockets.
func unixPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// pairs are the transports every conformance test runs over.
var pairs = map[string]func(testing.TB) (net.Conn, net.Conn){
	"unix": func(t testing.TB) (net.Conn, net.Conn) { a, b := unixPair(t); return a, b },
	"tcp":  tcpPair,
	"pipe": func(t testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
}

func eachTransport(t *testing.T, f func(t *testing.T, a, b *Conn)) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			x, y := pair(t)
			a, b := NewConn(x, nil), NewConn(y, nil)
			t.Cleanup(func() { a.Close(); b.Close() })
			f(t, a, b)
		})
	}
}

func mustRead(t testing.TB, c *Conn) *Packet {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	p, err := c.ReadPacket()
	if err != nil {
		t.Fatalf("ReadPacket: %v", err)
	}
	return p
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) + seed
	}
	return b
}

func TestPacketsOfEverySizeArriveInOrder(t *testing.T) {
	sizes := []int{0, 4, 27, smallBuffer - 1, smallBuffer, smallBuffer + 1, readBuffer - prefixSize, readBuffer,
		readBuffer + 1, largeBuffer, largeBuffer + 4, MaxData, 1<<20 + 3}
	eachTransport(t, func(t *testing.T, a, b *Conn) {
		for i, n := range sizes {
			h := Header{Program: 0x20008086, Version: 1, Proc: int32(-i), Type: Type(i % 4), Serial: uint32(i), Status: Status(i % 3)}
			if err := a.Send(h, pattern(n, byte(i))); err != nil {
				t.Fatal(err)
			}
		}
		for i, n := range sizes {
			p := mustRead(t, b)
			want := Header{Program: 0x20008086, Version: 1, Proc: int32(-i), Type: Type(i % 4), Serial: uint32(i), Status: Status(i % 3)}
			if p.Header != want {
				t.Fatalf("packet %d: header %v, want %v", i, p.Header, want)
			}
			if !bytes.Equal(p.Payload, pattern(n, byte(i))) {
				t.Fatalf("packet %d of %d bytes: payload differs", i, n)
			}
			p.Release()
		}
	})
}

func TestLargestPacketPassesAndOneByteMoreIsRefused(t *testing.T) {
	x, y := unixPair(t)
	a, b := NewConn(x, nil), NewConn(y, nil)
	big := make([]byte, MaxPayload+1)
	if err := a.Send(Header{}, big); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("oversized packet: %v", err)
	}
	if err := a.Send(Header{Serial: 7}, big[:MaxPayload]); err != nil {
		t.Fatal(err)
	}
	if p := mustRead(t, b); len(p.Payload) != MaxPayload || p.Serial != 7 {
		t.Fatalf("got %d bytes, serial %d", len(p.Payload), p.Serial)
	}
}

func TestBadLengthWordEndsTheConnection(t *testing.T) {
	for _, n := range []uint32{0, 3, 4, 27, MaxPacket + 5, 0x7fffffff, 0xffffffff} {
		x, y := unixPair(t)
		c := NewConn(y, nil)
		x.Write(binary.BigEndian.AppendUint32(nil, n))
		x.CloseWrite()
		var fe *FrameError
		if _, err := c.ReadPacket(); !errors.As(err, &fe) {
			t.Errorf("length %d: got %v, want a framing error", n, err)
		}
	}
}

func TestHugeAnnouncementAllocatesLittle(t *testing.T) {
	x, y := unixPair(t)
	c := NewConn(y, nil)
	x.Write(Header{}.Append(binary.BigEndian.AppendUint32(nil, MaxPacket+lengthSize)))
	x.Write(make([]byte, 100))
	x.CloseWrite()
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		if b.N > 1 {
			return
		}
		if _, err := c.ReadPacket(); err != io.ErrUnexpectedEOF {
			b.Errorf("got %v", err)
		}
	}).AllocedBytesPerOp()
	if allocated > 4*largeBuffer {
		t.Errorf("allocated %d bytes for a packet of which 100 bytes came", allocated)
	}
}

func TestCloseInsideAPacketIsNotACleanEnd(t *testing.T) {
	whole := appendPacket(nil, Header{}, pattern(40, 1), nil, 0)
	for cut := range whole {
		x, y := unixPair(t)
		c := NewConn(y, nil)
		x.Write(whole[:cut])
		x.CloseWrite()
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if _, err := c.ReadPacket(); err != want {
			t.Fatalf("cut after %d bytes: %v, want %v", cut, err, want)
		}
	}
}

func TestDeadlineBetweenPacketsIsHarmless(t *testing.T) {
	x, y := unixPair(t)
	c := NewConn(y, nil)
	whole := appendPacket(nil, Header{Serial: 9}, []byte("abcd"), nil, 0)
	x.Write(whole[:10])
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	x.Write(whole[10:])
	if p := mustRead(t, c); p.Serial != 9 || string(p.Payload) != "abcd" {
		t.Fatalf("got %v %q", p.Header, p.Payload)
	}
}

// Thousands of connections that say nothing hold nothing to read into.
func TestIdleConnectionHasNoBuffer(t *testing.T) {
	x, y := unixPair(t)
	c := NewConn(y, nil)
	for serial := range uint32(2) {
		x.Write(appendPacket(nil, Header{Serial: serial}, pattern(100, 1), nil, 0))
		mustRead(t, c).Release()
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if c.rd.buf != nil || c.rd.box != nil {
			t.Error("a connection that waits holds a buffer")
		}
		c.SetReadDeadline(time.Time{})
	}
}

// TestAnyCutOfTheStream sends random packets in random pieces and compares with
// what was sent.
func TestAnyCutOfTheStream(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var stream []byte
		var want [][]byte
		for i := range rapid.IntRange(1, 8).Draw(rt, "packets") {
			p := pattern(rapid.IntRange(0, 3*readBuffer).Draw(rt, "size"), byte(i))
			want = append(want, p)
			stream = appendPacket(stream, Header{Serial: uint32(i)}, p, nil, 0)
		}
		r := reader{src: &chopped{rt: rt, b: stream}}
		for i, w := range want {
			p, err := r.next()
			if err != nil {
				rt.Fatal(err)
			}
			if p.Serial != uint32(i) || !bytes.Equal(p.Payload, w) {
				rt.Fatalf("packet %d differs", i)
			}
			p.Release()
		}
		if _, err := r.next(); err != io.EOF {
			rt.Fatalf("at the end: %v", err)
		}
	})
}

type chopped struct {
	rt *rapid.T
	b  []byte
}

func (c *chopped) recvBox() (*inbox, int, []*os.File, error) { return waitBox(c.recv) }

func (c *chopped) recv(p []byte) (int, []*os.File, error) {
	if len(c.b) == 0 {
		return 0, nil, io.EOF
	}
	n := copy(p[:rapid.IntRange(1, len(p)).Draw(c.rt, "piece")], c.b)
	c.b = c.b[n:]
	return n, nil, nil
}

func (*chopped) passesFDs() bool { return false }

func tempFile(t testing.TB, content string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(content)
	f.Seek(0, 0)
	return f
}

func openFDs(t testing.TB) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestDescriptorsTravelWithTheirPacket(t *testing.T) {
	x, y := unixPair(t)
	a, b := NewConn(x, nil), NewConn(y, nil)
	before := openFDs(t)
	// Corked, so that everything sits in one write queue, between other packets.
	a.Cork()
	serial := uint32(0)
	for round := range 5 {
		a.Send(Header{Serial: serial}, pattern(100, 0))
		serial++
		var fds []*os.File
		for i := range round {
			fds = append(fds, tempFile(t, fmt.Sprint(round, i)))
		}
		if err := a.Send(Header{Serial: serial, Type: CallWithFDs}, []byte("args"), fds...); err != nil {
			t.Fatal(err)
		}
		serial++
	}
	a.Send(Header{Serial: serial}, nil)
	a.Uncork()
	for i := range serial + 1 {
		p := mustRead(t, b)
		if p.Serial != i {
			t.Fatalf("serial %d, want %d", p.Serial, i)
		}
		if p.Type != CallWithFDs {
			if len(p.FDs) != 0 {
				t.Fatalf("packet %d has descriptors", i)
			}
			p.Release()
			continue
		}
		round := int(i / 2)
		if string(p.Payload) != "args" || len(p.FDs) != round {
			t.Fatalf("round %d: payload %q, %d descriptors", round, p.Payload, len(p.FDs))
		}
		for k, f := range p.FDs {
			got, _ := io.ReadAll(f)
			if string(got) != fmt.Sprint(round, k) {
				t.Errorf("round %d, descriptor %d reads %q", round, k, got)
			}
			rc, _ := f.SyscallConn()
			rc.Control(func(fd uintptr) {
				if flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
					t.Error("received descriptor is not close-on-exec")
				}
			})
		}
		p.Release()
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open, %d before: sent or received ones leaked", after, before)
	}
}

func TestTakenDescriptorsSurviveRelease(t *testing.T) {
	x, y := unixPair(t)
	a, b := NewConn(x, nil), NewConn(y, nil)
	a.Send(Header{Type: ReplyWithFDs}, nil, tempFile(t, "hello"))
	p := mustRead(t, b)
	fds := p.TakeFDs()
	p.Release()
	got, err := io.ReadAll(fds[0])
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	fds[0].Close()
}

func TestDescriptorRulesAreEnforced(t *testing.T) {
	announce := func(n uint32) []byte {
		return appendPacket(nil, Header{Type: CallWithFDs}, nil, nil, int(n))
	}
	sendFD := func(x *net.UnixConn, data string, n int) {
		f := tempFile(t, "")
		defer f.Close()
		fds := make([]int, n)
		for i := range fds {
			fds[i] = int(f.Fd())
		}
		x.WriteMsgUnix([]byte(data), unix.UnixRights(fds...), nil)
	}
	cases := map[string]func(x *net.UnixConn){
		"more than 32 announced":   func(x *net.UnixConn) { x.Write(announce(33)) },
		"a packet without a count": func(x *net.UnixConn) { b := announce(0)[:28]; b[3] = 28; x.Write(b) },
		"an announced one missing": func(x *net.UnixConn) { x.Write(announce(1)); x.Write([]byte{0, 0, 0}) },
		"several on one byte":      func(x *net.UnixConn) { x.Write(announce(2)); sendFD(x, "\x00", 2) },
		"253 on one byte":          func(x *net.UnixConn) { x.Write(announce(2)); sendFD(x, "\x00", scmMaxFD) },
		"a flood inside a long packet": func(x *net.UnixConn) {
			x.Write(appendPacket(nil, Header{}, make([]byte, 100), nil, 0)[:40])
			for range 50 {
				sendFD(x, "x", 1)
			}
		},
	}
	for name, send := range cases {
		t.Run(name, func(t *testing.T) {
			x, y := unixPair(t)
			c := NewConn(y, nil)
			before := openFDs(t)
			send(x)
			x.CloseWrite()
			var fe *FrameError
			if _, err := c.ReadPacket(); !errors.As(err, &fe) {
				t.Errorf("got %v, want a framing error", err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
		})
	}
	t.Run("on plain bytes they are dropped, the connection goes on", func(t *testing.T) {
		x, y := unixPair(t)
		c := NewConn(y, nil)
		before := openFDs(t)
		for i := range 40 {
			sendFD(x, string(appendPacket(nil, Header{Serial: uint32(i)}, nil, nil, 0)), 1)
		}
		for i := range 40 {
			if p := mustRead(t, c); p.Serial != uint32(i) || p.FDs != nil {
				t.Fatalf("packet %v with %d descriptors", p.Header, len(p.FDs))
			}
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors open, %d before", after, before)
		}
	})
	t.Run("TCP cannot carry them", func(t *testing.T) {
		x, y := tcpPair(t)
		a, b := NewConn(x, nil), NewConn(y, nil)
		if err := a.Send(Header{Type: CallWithFDs}, nil, tempFile(t, "")); !errors.Is(err, ErrNoFDs) {
			t.Errorf("Send: %v", err)
		}
		x.Write(announce(1))
		var fe *FrameError
		if _, err := b.ReadPacket(); !errors.As(err, &fe) {
			t.Errorf("ReadPacket: %v", err)
		}
	})
}

func TestManySendersNeverMixPackets(t *testing.T) {
	eachTransport(t, func(t *testing.T, a, b *Conn) {
		const senders, each = 8, 200
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					if err := a.Send(Header{Proc: int32(s), Serial: uint32(i)}, pattern(i*13%5000, byte(s))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var next [senders]uint32
		for range senders * each {
			p := mustRead(t, b)
			if p.Serial != next[p.Proc] {
				t.Fatalf("sender %d: serial %d, want %d", p.Proc, p.Serial, next[p.Proc])
			}
			next[p.Proc]++
			if !bytes.Equal(p.Payload, pattern(int(p.Serial)*13%5000, byte(p.Proc))) {
				t.Fatal("payload differs")
			}
			p.Release()
		}
		wg.Wait()
	})
}

func TestSendNeverWaitsForAPeerThatDoesNotRead(t *testing.T) {
	eachTransport(t, func(t *testing.T, a, b *Conn) {
		payload := pattern(1<<20, 3)
		sent := 0
		for {
			err := a.Send(Header{Serial: uint32(sent)}, payload)
			if errors.Is(err, ErrQueueFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			sent++
		}
		if !a.Congested() {
			t.Error("not congested")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := a.WaitDrained(ctx); err != context.DeadlineExceeded {
			t.Errorf("WaitDrained: %v", err)
		}
		for i := range sent {
			p := mustRead(t, b)
			if p.Serial != uint32(i) || !bytes.Equal(p.Payload, payload) {
				t.Fatalf("packet %d differs", i)
			}
			p.Release()
		}
		if err := a.WaitDrained(t.Context()); err != nil || a.Congested() {
			t.Errorf("after draining: %v, congested %v", err, a.Congested())
		}
	})
}

func TestOnDrainIsToldOnce(t *testing.T) {
	x, y := unixPair(t)
	drained := make(chan struct{}, 10)
	a := NewConn(x, &Options{HighWater: 1 << 20, LowWater: 1 << 10, OnDrain: func() { drained <- struct{}{} }})
	b := NewConn(y, nil)
	const n = 40
	for range n {
		if err := a.Send(Header{}, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if !a.Congested() {
		t.Fatal("not congested")
	}
	for range n {
		mustRead(t, b).Release()
	}
	<-drained
	a.Close()
	if len(drained) != 0 {
		t.Error("told twice")
	}
}

func TestCloseAfterFlushDeliversEverything(t *testing.T) {
	eachTransport(t, func(t *testing.T, a, b *Conn) {
		const n = 30
		for i := range n {
			a.Send(Header{Serial: uint32(i)}, make([]byte, 50<<10))
		}
		a.CloseAfterFlush()
		if err := a.Send(Header{}, nil); err == nil {
			t.Error("Send after the end succeeded")
		}
		for i := range n {
			if p := mustRead(t, b); p.Serial != uint32(i) {
				t.Fatalf("serial %d, want %d", p.Serial, i)
			}
		}
		if _, err := b.ReadPacket(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	})
}

func TestCloseEndsReaderAndWaitersAndClosesQueuedDescriptors(t *testing.T) {
	x, y := unixPair(t)
	before := openFDs(t)
	a := NewConn(x, &Options{HighWater: 1})
	_ = y
	for range 100 {
		if err := a.Send(Header{Type: CallWithFDs}, make([]byte, 64<<10), tempFile(t, "")); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 2)
	go func() { _, err := a.ReadPacket(); done <- err }()
	go func() { done <- a.WaitDrained(context.Background()) }()
	a.Close()
	for range 2 {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	// The flusher lets go of what it held when its write fails; one of the
	// descriptors gone is x itself, some are in flight inside the kernel.
	for deadline := time.Now().Add(10 * time.Second); openFDs(t) > before-1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors open, %d before", openFDs(t), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPingIsAnsweredByTheReader(t *testing.T) {
	eachTransport(t, func(t *testing.T, a, b *Conn) {
		go b.ReadPacket() // nobody consumes; that is the point
		for range 3 {
			if err := a.SendPing(); err != nil {
				t.Fatal(err)
			}
			// Below ReadPacket, which would swallow the PONG.
			p, err := a.rd.next()
			if err != nil {
				t.Fatal(err)
			}
			want := Header{Program: 0x6b656570, Version: 1, Proc: 2, Type: Message, Serial: 0, Status: OK}
			if p.Header != want || len(p.Payload) != 0 {
				t.Fatalf("got %v", p.Header)
			}
		}
	})
}

func TestPongIsReportedAndSwallowed(t *testing.T) {
	x, y := unixPair(t)
	pongs := make(chan struct{}, 4)
	a, b := NewConn(x, &Options{OnPong: func() { pongs <- struct{}{} }}), NewConn(y, nil)
	b.Send(keepaliveHeader(keepalivePong), nil)
	b.Send(Header{Program: KeepaliveProgram, Version: KeepaliveVersion, Proc: 77, Type: Message}, nil)
	b.Send(Header{Serial: 5}, nil)
	if p := mustRead(t, a); p.Serial != 5 {
		t.Fatalf("got %v", p.Header)
	}
	<-pongs
	if received, _ := a.Packets(); received != 3 {
		t.Errorf("%d packets counted", received)
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add(appendPacket(nil, Header{Serial: 1}, []byte("abcd"), nil, 0))
	f.Add(appendPacket(nil, Header{Type: CallWithFDs}, nil, nil, 3))
	f.Add(appendPacket(appendPacket(nil, keepaliveHeader(keepalivePing), nil, nil, 0), Header{}, make([]byte, 2000), nil, 0))
	f.Add([]byte{0, 0, 0, 27})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader{src: plainSource{bytes.NewReader(b)}}
		var again []byte
		for {
			p, err := r.next()
			if err != nil {
				break
			}
			again = appendPacket(again, p.Header, p.Payload, nil, 0)
			p.Release()
		}
		// What was understood, encoded again, is what came.
		if !bytes.HasPrefix(b, again) {
			t.Errorf("read packets encode to %x, which is not a prefix of %x", again, b)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(Header{Program: 0x20008086, Version: 1, Proc: 66, Serial: 1}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		h := decodeHeader(b)
		_ = h.String()
		if !bytes.Equal(h.Append(nil), b[:headerSize]) {
			t.Errorf("%v does not encode to what it was decoded from", h)
		}
	})
}

// Data that is sent without a copy keeps its place among packets, also when the peer is slow and others send meanwhile.
func TestFilledDataKeepsItsPlace(t *testing.T) { eachTransport(t, filledData) }

func filledData(t *testing.T, a, b *Conn) {
	const packets = 200
	go func() {
		for i := range packets {
			h := Header{Program: 1, Serial: uint32(i)}
			if i%3 == 0 {
				_ = a.Send(h, []byte{byte(i)})
				continue
			}
			d := NewData()
			n := 1 + i*1000
			for k := range d.Room()[:n] {
				d.Room()[k] = byte(i)
			}
			if err := a.SendFilled(h, d, n); err != nil {
				t.Error(err)
			}
		}
	}()
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Add(1)
	go func() {
		defer others.Done()
		for {
			select {
			case <-stop:
				return
			default:
				_ = a.Send(Header{Program: 2}, make([]byte, 64))
			}
		}
	}()
	for next := 0; next < packets; {
		p, err := b.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		if p.Program == 1 {
			want := 1
			if next%3 != 0 {
				want = 1 + next*1000
			}
			if int(p.Serial) != next || len(p.Payload) != want || !bytes.Equal(p.Payload, bytes.Repeat([]byte{byte(next)}, want)) {
				t.Fatalf("packet %d is number %d with %d bytes", next, p.Serial, len(p.Payload))
			}
			next++
		}
		p.Release()
	}
	close(stop)
	others.Wait()
	_ = a.Close()
	if err := a.SendFilled(Header{}, NewData(), 1); err != ErrClosed {
		t.Errorf("after the end: %v", err)
	}
}
