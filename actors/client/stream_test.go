package client

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// give lets the fake branch answer console calls with a stream on one end of a socket pair, whose other end the
// test holds.
func (w *world) give(spec call.Stream) *os.File {
	w.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	far := os.NewFile(uintptr(fds[1]), "far end")
	w.t.Cleanup(func() { _ = far.Close() })
	spec.FD = fds[0]
	w.fake.stream.Store(does(func(_ actor.Context, r *call.Request) { r.ReplyRaw(&call.Reply{Stream: &spec}) }))
	return far
}

func (w *world) console(c *rpc.Client) *rpc.ClientStream {
	w.t.Helper()
	s, err := c.OpenStream(w.soon(), protocol.DomainOpenConsole.Procedure, &protocol.DomainOpenConsoleArgs{Dom: web}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// owner is an actor that hears of the end of streams.
func (w *world) owner(result *liberr.Error) (id string, ends chan *call.StreamEnded) {
	ends = make(chan *call.StreamEnded, 8)
	pid := w.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*call.StreamEnded); ok {
			ends <- m
			ctx.Respond(&call.StreamResult{Serial: m.Serial, Err: result})
		}
	}))
	w.t.Cleanup(func() { _ = w.sys.Root.StopFuture(pid).Wait() })
	return pid.Id, ends
}

func (w *world) noStreams() {
	w.t.Helper()
	me := w.members().Clients[0].PID
	eventually(w.t, "no stream is left", func() bool { return w.info(me).Streams == 0 })
}

func TestStreamInBothDirections(t *testing.T) {
	w := start(t, nil)
	id, ends := w.owner(nil)
	far := w.give(call.Stream{In: true, Out: true, Limit: -1, Ended: id, Token: 42})
	c := w.open()
	s := w.console(c)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			_, _ = far.Write(bytes.ToUpper(buf[:n]))
		}
	}()
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "HELLO" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := s.Finish(w.soon()); err != nil {
		t.Fatal(err)
	}
	if end := <-ends; end.Token != 42 || end.Aborted {
		t.Errorf("%+v", end)
	}
	w.noStreams()
	if err := lookup(w.soon(), c, "x"); err != nil {
		t.Error(err)
	}
}

func TestUploadArrivesWholeAndInOrder(t *testing.T) {
	w := start(t, nil)
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, 9<<20)
	_, _ = rand.Read(data)
	w.fake.stream.Store(does(func(_ actor.Context, r *call.Request) {
		fd, _ := unix.Dup(int(f.Fd()))
		r.ReplyRaw(&call.Reply{Stream: &call.Stream{FD: fd, In: true, Limit: int64(len(data))}})
	}))
	c := w.open()
	s := w.console(c)
	if _, err := s.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(w.soon()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d arrived: %v", len(got), len(data), err)
	}

	// One byte more than the stream was opened for is refused.
	_, _ = f.Seek(0, io.SeekStart)
	s = w.console(c)
	if _, err := s.Write(append(data, 1)); err == nil {
		err = s.Finish(w.soon())
		want(t, "data past the limit", err, liberr.FromStreams, liberr.InternalError, "internal error: stream data exceeds the length of the stream")
	}
	w.noStreams()
}

func TestDownloadEndsAtItsLimitOrTheEndOfTheFile(t *testing.T) {
	w := start(t, nil)
	path := filepath.Join(t.TempDir(), "image")
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{-1, 1 << 20, 0, 4 << 20} {
		w.fake.stream.Store(does(func(_ actor.Context, r *call.Request) {
			fd, _ := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			r.ReplyRaw(&call.Reply{Stream: &call.Stream{FD: fd, Out: true, Limit: limit}})
		}))
		c := w.open()
		s := w.console(c)
		got, err := io.ReadAll(s)
		n := int(limit)
		if limit < 0 || n > len(data) {
			n = len(data)
		}
		if err != nil || !bytes.Equal(got, data[:n]) {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
		if err := s.Finish(w.soon()); err != nil {
			t.Errorf("limit %d: %v", limit, err)
		}
		_ = c.Close()
		eventually(t, "the client is gone", func() bool { return w.idle.Load() == 0 })
	}
}

func TestAbortTellsTheOwner(t *testing.T) {
	w := start(t, nil)
	id, ends := w.owner(nil)
	far := w.give(call.Stream{In: true, Out: true, Limit: -1, Ended: id, Token: 7})
	c := w.open()
	s := w.console(c)
	if err := s.Abort(w.soon()); err != nil {
		t.Error(err)
	}
	if end := <-ends; end.Token != 7 || !end.Aborted {
		t.Errorf("%+v", end)
	}
	if _, err := io.ReadAll(far); err != nil {
		t.Errorf("the descriptor's end is %v", err)
	}
	w.noStreams()
}

// What the owner says about the end is the answer to the client's finish.
func TestTheOwnerRefusesTheFinish(t *testing.T) {
	w := start(t, nil)
	id, _ := w.owner(liberr.New(liberr.FromStorage, liberr.SystemError, "cannot sync"))
	w.give(call.Stream{In: true, Limit: -1, Ended: id})
	c := w.open()
	s := w.console(c)
	if _, err := s.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	want(t, "finish", s.Finish(w.soon()), liberr.FromStorage, liberr.SystemError, "cannot sync")
	w.noStreams()
}

// An owner that dies does not keep its client waiting.
func TestTheOwnerIsGone(t *testing.T) {
	w := start(t, nil)
	w.give(call.Stream{In: true, Limit: -1, Ended: "nobody/of/that/name"})
	c := w.open()
	s := w.console(c)
	if err := s.Finish(w.soon()); err == nil {
		t.Error("a finish that nobody confirmed was confirmed")
	}
	w.noStreams()
}

// The connection's end is the end of its streams.
func TestAStreamEndsWithItsConnection(t *testing.T) {
	w := start(t, nil)
	far := w.give(call.Stream{In: true, Out: true, Limit: -1})
	c := w.open()
	w.console(c)
	_ = c.Close()
	_ = far.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(far); err != nil {
		t.Errorf("the descriptor is still open: %v", err)
	}
}

// A write that fails reaches the client.
func TestTheFarEndGoesAway(t *testing.T) {
	w := start(t, nil)
	far := w.give(call.Stream{In: true, Limit: -1})
	c := w.open()
	s := w.console(c)
	_ = far.Close()
	var err error
	for range 100 {
		if _, err = s.Write([]byte("x")); err != nil {
			break
		}
	}
	if err == nil {
		err = s.Finish(w.soon())
	}
	var e *liberr.Error
	if !errors.As(err, &e) {
		t.Errorf("a broken pipe is answered %v", err)
	}
	w.noStreams()
}

func TestHolesBecomeHoles(t *testing.T) {
	w := start(t, nil)
	path := filepath.Join(t.TempDir(), "sparse")
	w.fake.stream.Store(does(func(_ actor.Context, r *call.Request) {
		fd, _ := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		r.ReplyRaw(&call.Reply{Stream: &call.Stream{FD: fd, In: true, Limit: -1, Sparse: true}})
	}))
	c := w.open()
	s := w.console(c)
	for _, step := range []func() error{
		func() error { _, err := s.Write([]byte("begin")); return err },
		func() error { return s.Hole(64 << 20) },
		func() error { _, err := s.Write([]byte("end")); return err },
		func() error { return s.Hole(1 << 20) },
		func() error { return s.Finish(w.soon()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if want := int64(5 + 64<<20 + 3 + 1<<20); st.Size != want || st.Blocks > 1024 {
		t.Errorf("size %d, want %d; %d blocks", st.Size, want, st.Blocks)
	}

	// In a stream without holes they are nonsense, and the connection ends.
	w.give(call.Stream{In: true, Limit: -1})
	s = w.console(c)
	_ = s.Hole(1)
	closed(t, c)
}

// A client that does not read its stream holds up the descriptor, not the memory; its calls are answered.
func TestASlowReaderCostsNoMemory(t *testing.T) {
	w := start(t, nil)
	far := w.give(call.Stream{Out: true, Limit: -1})
	nc, err := w.deafStream()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	chunk := []byte(strings.Repeat("x", 64<<10))
	sent := 0
	for sent < 256<<20 {
		_ = far.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := far.Write(chunk)
		sent += n
		if err != nil {
			break
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d KiB were taken before the descriptor was held up; the heap grew by %d KiB", sent>>10, grown>>10)
	if sent > 16<<20 || grown > 16<<20 {
		t.Errorf("%d MiB were taken", sent>>20)
	}
}

// deafStream opens a stream and never reads it.
func (w *world) deafStream() (*rpc.Conn, error) {
	conn, err := w.deaf()
	if err != nil {
		return nil, err
	}
	h := header(protocol.DomainOpenConsole.Procedure)
	h.Serial = 9
	if err := conn.SendBody(h, &protocol.DomainOpenConsoleArgs{Dom: web}); err != nil {
		return nil, err
	}
	_, err = conn.ReadPacket()
	return conn, err
}

// file lets the fake branch answer with a stream on a file.
func (w *world) file(path string, flags int, spec call.Stream) {
	w.fake.stream.Store(does(func(_ actor.Context, r *call.Request) {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err != nil {
			w.t.Error(err)
		}
		s := spec
		s.FD = fd
		r.ReplyRaw(&call.Reply{Stream: &s})
	}))
}

// sparseFile has data in [1, 2) and [5, 6) MiB of 8.
func sparseFile(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "thin")
	content = make([]byte, 8<<20)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{1 << 20, 5 << 20} {
		_, _ = rand.Read(content[at : at+1<<20])
		if _, err := f.WriteAt(content[at:at+1<<20], at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestHolesTravelAsHoles(t *testing.T) {
	w := start(t, nil)
	path, content := sparseFile(t)
	for _, limit := range []int64{-1, 0, 512 << 10, 1<<20 + 5, 7 << 20, 9 << 20} {
		w.file(path, unix.O_RDONLY, call.Stream{Out: true, Limit: limit, Sparse: true})
		c := w.open()
		s := w.console(c)
		var got []byte
		data := 0
		for {
			b, gap, err := s.Recv(w.soon())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data += len(b)
			got = append(append(got, b...), make([]byte, gap)...)
		}
		want := content
		if limit >= 0 && limit < int64(len(want)) {
			want = want[:limit]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("limit %d: %d bytes arrived that differ", limit, len(got))
		}
		if data > 2<<20 {
			t.Errorf("limit %d: %d bytes travelled as data", limit, data)
		}
		if err := s.Finish(w.soon()); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
}

// A hole is zeroes, also where the volume had data before.
func TestAHoleEndsWhatWasThere(t *testing.T) {
	w := start(t, nil)
	path := filepath.Join(t.TempDir(), "used")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.file(path, unix.O_RDWR, call.Stream{In: true, Limit: -1, Sparse: true})
	c := w.open()
	s := w.console(c)
	for _, step := range []func() error{
		func() error { return s.Hole(1 << 20) },
		func() error { _, err := s.Write([]byte("data")); return err },
		func() error { return s.Hole(3 << 20) },
		func() error { return s.Finish(w.soon()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]byte, 4<<20+4)
	copy(want[1<<20:], "data")
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d are there and differ: %v", len(got), len(want), err)
	}
	w.noStreams()
}

// Streams of one connection share it.
func TestStreamsOfOneConnectionAreFair(t *testing.T) {
	w := start(t, nil)
	path := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	w.file(path, unix.O_RDONLY, call.Stream{Out: true, Limit: -1})
	conn, err := w.deaf()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := map[uint32]int{}
	for serial := range uint32(3) {
		h := header(protocol.DomainOpenConsole.Procedure)
		h.Serial = 100 + serial
		if err := conn.SendBody(h, &protocol.DomainOpenConsoleArgs{Dom: web}); err != nil {
			t.Fatal(err)
		}
		got[h.Serial] = 0
	}
	for open, sum := 0, 0; sum < 128<<20; {
		p, err := conn.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Type == rpc.Reply:
			open++
		case open == 3:
			got[p.Serial] += len(p.Payload)
			sum += len(p.Payload)
		}
		p.Release()
	}
	for serial, n := range got {
		if n < 128<<20/3/4 {
			t.Errorf("stream %d got %d of 128 MiB", serial, n>>20)
		}
	}
}

// A descriptor that takes nothing costs a few packets of memory, and the connection goes on to answer.
func TestAStuckWriterHoldsUpItsStreamOnly(t *testing.T) {
	w := start(t, nil)
	w.give(call.Stream{In: true, Limit: -1})
	c := w.open()
	s := w.console(c)
	go func() {
		chunk := make([]byte, 256<<10)
		for {
			if _, err := s.Write(chunk); err != nil {
				return
			}
		}
	}()
	me := w.members().Clients[0].PID
	eventually(t, "the reader is slowed down", func() bool { return w.info(me).Held > streamHigh })
	begin := time.Now()
	for range 3 {
		if err := lookup(w.soon(), c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("three calls took %v", took)
	}
	if n := w.info(me).Held; n > 32<<20 {
		t.Errorf("%d MiB are held", n>>20)
	}
	if err := s.Abort(w.soon()); err != nil {
		t.Error(err)
	}
	w.noStreams()
}
