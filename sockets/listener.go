package sockets

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Kind is what a listener is for. It decides what a client may do and how it authenticates.
type Kind int

// Kinds of listeners.
const (
	ReadWrite Kind = iota // UNIX
	ReadOnly              // UNIX; connections are read-only from the start
	Admin                 // UNIX; speaks the admin program only
	TCP                   // plain
	TLS                   // the handshake begins at once
)

var kindNames = [...]string{"rw", "ro", "admin", "tcp", "tls"}

func (k Kind) String() string {
	if k >= 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Unix reports whether the kind is a UNIX socket.
func (k Kind) Unix() bool { return k <= Admin }

// unitSuffix is what follows the daemon's name in the name of the systemd unit.
var unitSuffix = [...]string{".socket", "-ro.socket", "-admin.socket", "-tcp.socket", "-tls.socket"}

// UnixSocket is where and how a UNIX socket is made. Without a Path there is none.
type UnixSocket struct {
	Path  string
	Mode  os.FileMode // permission bits
	Group string      // name or number; "" leaves the process's own group
}

// Spec is what one daemon listens on when systemd does not say otherwise.
type Spec struct {
	Daemon string // "virtqemud": units are called virtqemud.socket, virtqemud-ro.socket, ...

	RW, RO, Admin UnixSocket

	ListenTCP, ListenTLS bool
	Addr                 string // "" is every address
	TCPPort, TLSPort     string // number or service name; "" is 16509, 16514

	TLS *TLSContext // needed for a TLS listener, activated ones included

	Backlog, AdminBacklog int // max_queued_clients; 0 is the system's maximum
}

func (s *Spec) unix(k Kind) UnixSocket {
	return [...]UnixSocket{ReadWrite: s.RW, ReadOnly: s.RO, Admin: s.Admin}[k]
}

func (s *Spec) backlog(k Kind) int {
	n := s.Backlog
	if k == Admin {
		n = s.AdminBacklog
	}
	if n <= 0 {
		n = 4096
	}
	return n
}

func (s *Spec) port(k Kind) string {
	if k == TLS {
		return orDefault(s.TLSPort, "16514")
	}
	return orDefault(s.TCPPort, "16509")
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// Listener accepts clients of one kind.
type Listener struct {
	Kind      Kind
	Activated bool // passed in by systemd, which also owns the socket file

	inner net.Listener
	tls   *TLSContext
	owned *ownedFile // nil for TCP and when activated

	once sync.Once
	err  error
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept waits for the next client. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (*Conn, error) {
	nc, err := l.inner.Accept()
	if err != nil {
		return nil, err
	}
	c := &Conn{Kind: l.Kind, raw: nc, transport: nc, Since: time.Now()}
	if l.Kind == TLS {
		c.tlsContext = l.tls
		c.tls = tls.Server(nc, l.tls.serverConfig())
		c.transport = c.tls
	}
	return c, nil
}

// Close stops listening and removes the socket file if this listener made it and it is still the same.
func (l *Listener) Close() error {
	l.once.Do(func() {
		var rm error
		if l.owned != nil {
			rm = l.owned.remove()
		}
		l.err = errors.Join(rm, l.inner.Close())
	})
	return l.err
}

// Set is what one daemon listens on.
type Set struct {
	Listeners []*Listener
	Activated bool
	// Extra holds passed sockets whose name is none of the daemon's five, by that name: for the caller, who
	// may have units of its own.
	Extra map[string][]*os.File
}

// Close closes every listener.
func (s *Set) Close() error {
	var errs []error
	for _, l := range s.Listeners {
		errs = append(errs, l.Close())
	}
	for _, files := range s.Extra {
		for _, f := range files {
			f.Close()
		}
	}
	return errors.Join(errs...)
}

// Of returns the listeners of a kind.
func (s *Set) Of(k Kind) []*Listener {
	var out []*Listener
	for _, l := range s.Listeners {
		if l.Kind == k {
			out = append(out, l)
		}
	}
	return out
}

// Listen makes the daemon's listeners: from act if there is an activation, else from the Spec. It makes all or none.
func Listen(spec Spec, act *Activation) (*Set, error) {
	set := &Set{}
	var err error
	if act != nil && len(act.files) > 0 {
		err = set.adopt(&spec, act)
	} else {
		err = set.create(&spec)
	}
	if err != nil {
		set.Close()
		return nil, err
	}
	return set, nil
}

func (s *Set) create(spec *Spec) error {
	for k := ReadWrite; k <= Admin; k++ {
		if spec.unix(k).Path == "" {
			continue
		}
		l, err := listenUnix(spec.unix(k), spec.backlog(k))
		if err != nil {
			return err
		}
		l.Kind = k
		s.Listeners = append(s.Listeners, l)
	}
	for _, k := range []Kind{TCP, TLS} {
		if (k == TCP && !spec.ListenTCP) || (k == TLS && !spec.ListenTLS) {
			continue
		}
		if err := s.addIP(spec, k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) addIP(spec *Spec, k Kind) error {
	if k == TLS && spec.TLS == nil {
		return errNoTLS
	}
	l, err := listenIP(spec.Addr, spec.port(k), spec.backlog(k))
	if err != nil {
		return err
	}
	s.Listeners = append(s.Listeners, &Listener{Kind: k, inner: l, tls: spec.TLS})
	return nil
}
