package remoting

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
)

// rawConn is a peer that the test plays byte by byte.
type rawConn struct {
	*net.UnixConn
	t testing.TB
}

func dialRaw(t testing.TB, p *peer) *rawConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.Address()[len(scheme):], Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &rawConn{conn, t}
}

func (c *rawConn) frame() *envelope {
	c.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		c.t.Fatal(err)
	}
	var e envelope
	if err := e.decode(body); err != nil {
		c.t.Fatal(err)
	}
	return &e
}

func (c *rawConn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// mustClose waits for the other side to hang up.
func (c *rawConn) mustClose() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, unix.ECONNRESET) {
		c.t.Fatal(err)
	}
}

// hello does the handshake as a node with p's types, and returns p's frame.
func (c *rawConn) hello(p *peer, address string) {
	c.t.Helper()
	n := &Node{address: address, incarnation: rand.Uint64(), opts: p.opts}
	buf, err := n.helloFrame(0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(buf.b)
	if e := c.frame(); e.kind != kindHello {
		c.t.Fatalf("answer to the hello: kind %d: %s", e.kind, e.payload)
	}
}

func typeID(p *peer, name string) uint64 { return p.opts.Registry.byName[name].id }

func TestOtherProtocolVersionIsRejected(t *testing.T) {
	leakCheck(t)
	p := start(t, t.TempDir()+"/a", quick)
	c := dialRaw(t, p)
	n := &Node{address: "unix:/x", opts: p.opts}
	buf, err := n.helloFrame(0)
	if err != nil {
		t.Fatal(err)
	}
	buf.b[prefix+1] = protocolVersion + 1
	c.write(buf.b)
	if e := c.frame(); e.kind != kindReject || Code(e.code) != ProtocolVersion {
		t.Errorf("kind %d code %s: %s", e.kind, Code(e.code), e.payload)
	}
	c.mustClose()

	// The dialler meets such a listener.
	path := t.TempDir() + "/new"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write(buf.b)
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
	mustFail(t, p.ask(t, actor.NewPID(Address(path), "x"), &ping{Serial: 1}), ProtocolVersion)
}

func TestGarbageClosesTheLinkAndNothingElse(t *testing.T) {
	leakCheck(t)
	a, b, echoPID := pair(t, quick)
	a.mustPong(t, echoPID)
	user := header{kind: kindUser, target: "echo", code: typeID(b, "test.ping")}
	whole := user.appendFrame(nil, "12345678")
	missing := header{kind: kindUser, target: "echo", code: typeID(b, "test.parcel"), fds: 2}
	second := header{kind: kindHello}
	for name, bytes := range map[string][]byte{
		"zeros":                make([]byte, 64),
		"length over limit":    {0xff, 0xff, 0xff, 0xff},
		"not a frame":          append([]byte{0, 0, 0, 3}, "abc"...),
		"another version":      append(append([]byte{}, whole[:prefix+1]...), append([]byte{9}, whole[prefix+2:]...)...),
		"descriptors missing":  missing.appendFrame(nil, "\x80"),
		"second hello":         second.appendFrame(nil, ""),
		"bytes behind a frame": append(binary.BigEndian.AppendUint32(nil, uint32(len(whole)-prefix+1)), append(append([]byte{}, whole[prefix:]...), 0)...),
	} {
		c := dialRaw(t, b)
		c.hello(b, "unix:/raw-"+name)
		c.write(whole) // so far, so good
		c.write(bytes)
		c.mustClose()
	}
	// Before the handshake, too.
	c := dialRaw(t, b)
	c.write([]byte("GET / HTTP/1.1\r\n\r\n"))
	c.mustClose()
	a.mustPong(t, echoPID)
	eventually(t, "a link is left", func() bool {
		for _, p := range b.Peers() {
			if p.Address != a.Address() && p.State == "up" {
				return false
			}
		}
		return true
	})
}

func TestPayloadThatIsNotWhatItClaims(t *testing.T) {
	_, b, _ := pair(t)
	c := dialRaw(t, b)
	c.hello(b, "unix:/raw")
	deep := make([]byte, 2<<20)
	for i := range deep {
		deep[i] = 0x91
	}
	for name, payload := range map[string]string{
		"test.note":  string(deep),
		"test.ping":  "short",
		"test.count": "\x81\xa1N\xa1x",
		"test.pong":  "",
	} {
		h := header{kind: kindUser, target: "echo", sender: "me", serial: 5, code: typeID(b, name)}
		c.write(h.appendFrame(nil, payload))
		if e := c.frame(); e.kind != kindError || Code(e.code) != Malformed || string(e.target) != "me" || e.serial != 5 {
			t.Errorf("%s: kind %d code %s %s", name, e.kind, Code(e.code), e.payload)
		}
	}
	h := header{kind: kindUser, target: "echo", sender: "me", serial: 6, code: 1 << 40}
	c.write(h.appendFrame(nil, ""))
	if e := c.frame(); Code(e.code) != UnknownType || e.serial != 6 {
		t.Errorf("code %s", Code(e.code))
	}
}

func TestUndeliverableDescriptorsAreClosed(t *testing.T) {
	leakCheck(t)
	a, b, echoPID := pair(t)
	a.mustPong(t, echoPID)
	before := openDescriptors(t)
	pipe := func() (*os.File, *parcel) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		fd, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		return r, &parcel{fds: []int{fd}}
	}
	mustHangUp := func(what string, r *os.File, m *parcel) {
		t.Helper()
		_ = r.SetReadDeadline(time.Now().Add(patience))
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the pipe is still open: %v", what, err)
		}
		_ = r.Close()
		if m.fds != nil {
			t.Errorf("%s: the message still names descriptors", what)
		}
	}
	r, m := pipe()
	a.root.Send(actor.NewPID(b.Address(), "nobody"), m)
	mustHangUp("no such actor", r, m)
	r, m = pipe()
	a.root.Send(actor.NewPID(Address(t.TempDir()+"/none"), "x"), m)
	mustHangUp("no such peer", r, m)

	// A message that must not carry any, from a peer that does not play by the rules.
	c := dialRaw(t, b)
	c.hello(b, "unix:/raw")
	r, m = pipe()
	h := header{kind: kindUser, target: "echo", sender: "me", code: typeID(b, "test.ping"), fds: 1}
	if _, _, err := c.WriteMsgUnix(h.appendFrame(nil, "12345678"), unix.UnixRights(m.fds...), nil); err != nil {
		t.Fatal(err)
	}
	CloseDescriptors(m)
	if e := c.frame(); Code(e.code) != Malformed {
		t.Errorf("code %s", Code(e.code))
	}
	mustHangUp("wrong type", r, m)
	// Descriptors that no frame counts stay until the link ends.
	r, m = pipe()
	ping := header{kind: kindPing}
	if _, _, err := c.WriteMsgUnix(ping.appendFrame(nil, ""), unix.UnixRights(m.fds...), nil); err != nil {
		t.Fatal(err)
	}
	CloseDescriptors(m)
	_ = c.Close()
	mustHangUp("not counted", r, m)
	eventually(t, "descriptors leak", func() bool { return openDescriptors(t) <= before })
}

// TestFloodIsBusyNotMemory floods a peer that has stopped reading.
func TestFloodIsBusyNotMemory(t *testing.T) {
	leakCheck(t)
	const limit = 1 << 20
	p := start(t, t.TempDir()+"/a", func(o *Options) { o.QueueBytes, o.QueueMessages = limit, 500 })
	echoPID := p.spawn(t, "echo", echo)
	c := dialRaw(t, p)
	c.hello(p, "unix:/raw")
	back, answers := p.collect(t, "back")
	to := actor.NewPID("unix:/raw", "sink")
	queued := func() int { return p.Peers()[0].QueuedBytes }

	data := make([]byte, 10<<10)
	var busy *Failure
	var sent uint64
	for busy == nil {
		sent++
		began := time.Now()
		p.root.RequestWithCustomSender(to, &ping{Serial: sent, Data: data}, back)
		if took := time.Since(began); took > time.Second {
			t.Fatalf("a send took %s", took)
		}
		select {
		case r := <-answers:
			busy = mustFail(t, r.msg, Busy)
		default:
		}
		if queued() > limit {
			t.Fatalf("%d bytes queued", queued())
		}
	}
	// Most of it is in the queue; what is more is in the socket's buffer.
	if queued() < limit/2 || busy.Serial < 80 || p.Peers()[0].Requests > int(sent) {
		t.Errorf("busy at request %d with %d bytes queued", busy.Serial, queued())
	}

	// Replies may still go, to twice the limit; then the asker is told in fewer bytes.
	p.root.Send(to, &ping{Serial: 1, Data: data})
	for range 300 {
		p.root.Send(to, &pong{Serial: 9, Data: data})
	}
	if q := queued(); q < limit+limit/2 || q > 2*limit+100*200 {
		t.Errorf("%d bytes queued by replies", q)
	}
	// The peer asks on and on and never reads: that ends the link.
	h := header{kind: kindUser, target: echoPID.Id, sender: "me", code: typeID(p, "test.ping")}
	frame := h.appendFrame(nil, "12345678")
	for i := 0; ; i++ {
		if _, err := c.Write(frame); err != nil {
			break
		}
		if i > 100000 {
			t.Fatal("the link is still up")
		}
	}
	eventually(t, "the link is still up, or something is left behind", func() bool {
		s := p.Peers()[0]
		return s.State == "down" && s.QueuedBytes == 0 && s.Queued == 0 && s.Requests == 0
	})
}
