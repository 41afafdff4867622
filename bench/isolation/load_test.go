package isolation

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
)

// server answers every call, unless it is held.
type server struct {
	net.Listener
	hold sync.RWMutex // who has it stalls all answers
	mu   sync.Mutex
	open []net.Conn
}

func serve(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	t.Cleanup(func() { l.Close(); s.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
			go s.answer(c)
		}
	}()
	return s
}

func (s *server) answer(c net.Conn) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		p := make([]byte, binary.BigEndian.Uint32(head[:])-4)
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		s.hold.RLock()
		out := append([]byte{0, 0, 0, headerSize}, p[:headerSize-4]...)
		if binary.BigEndian.Uint32(p) != protocol.KeepaliveProgram {
			binary.BigEndian.PutUint32(out[16:], replyType)
		}
		_, _ = c.Write(out)
		s.hold.RUnlock()
	}
}

// cut ends all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}

// probing drives a call, a keepalive and new connections against the server, 100 of each a second.
func probing(t *testing.T, s *server) *load {
	t.Helper()
	to := func() *line { return &line{socket: s.Addr().String(), uri: "test:///", fd: -1} }
	packet := lab.Packet(protocol.ConnectGetLibVersion.Procedure, nil)
	var all []*probe
	for _, p := range []*probe{{name: "call", packet: func() []byte { return packet }}, {name: "ping", ping: true}, {name: "open", opens: true}} {
		p.group, p.every, p.line = p.name, 10*time.Millisecond, to()
		all = append(all, p)
	}
	l, err := newLoad(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func TestAStallIsFeltByEveryCallThatIsDueInIt(t *testing.T) {
	s := serve(t)
	l := probing(t, s)
	l.start()
	time.Sleep(200 * time.Millisecond)
	s.hold.Lock()
	time.Sleep(500 * time.Millisecond)
	s.hold.Unlock()
	time.Sleep(100 * time.Millisecond)
	samples, _, _ := l.stop(20 * time.Second)
	felt := map[string]int{}
	for _, m := range samples {
		if !m.ok {
			t.Errorf("%s failed: %s", m.probe.name, m.why)
		}
		if m.took > int64(100*time.Millisecond) {
			felt[m.probe.name]++
		}
	}
	for _, name := range []string{"call", "ping", "open"} {
		if felt[name] < 35 || felt[name] > 60 { // 40 were due more than 100 ms before its end
			t.Errorf("%d of about 40 calls of %s felt the stall", felt[name], name)
		}
	}
}

func TestWhatIsNeverAnsweredHasFailed(t *testing.T) {
	s := serve(t)
	l := probing(t, s)
	l.start()
	time.Sleep(100 * time.Millisecond)
	s.hold.Lock()
	defer s.hold.Unlock()
	time.Sleep(200 * time.Millisecond)
	samples, _, _ := l.stop(50 * time.Millisecond)
	silent := 0
	for _, m := range samples {
		if !m.ok && m.why == errSilent.Error() {
			silent++
		}
	}
	if silent < 45 || silent > 66 { // 20 of each kind
		t.Errorf("%d of about 60 calls failed", silent)
	}
}

func TestALostConnectionFailsItsCallsAndIsOpenedAgain(t *testing.T) {
	s := serve(t)
	l := probing(t, s)
	l.start()
	time.Sleep(100 * time.Millisecond)
	s.hold.Lock()
	time.Sleep(50 * time.Millisecond)
	s.cut()
	s.hold.Unlock()
	time.Sleep(200 * time.Millisecond)
	samples, _, _ := l.stop(20 * time.Second)
	failed, last := 0, sample{}
	for _, m := range samples {
		if m.probe.name == "call" {
			if !m.ok {
				failed++
			}
			if m.due > last.due {
				last = m
			}
		}
	}
	if failed < 2 || failed > 10 { // those of 50 ms
		t.Errorf("%d calls failed", failed)
	}
	if !last.ok {
		t.Errorf("the last call failed too: %s", last.why)
	}
}
