package client

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/wire/rpc"

	"os"
)

// Server is the actor above the clients of one server: it admits connections up to the limits and knows
// who is connected.
type server struct {
	conf    *Config
	nextID  uint64
	clients map[uint64]*member
	unauth  int
	paused  bool // shutting down: nobody is let in
}

// member is one connected client as the server sees it.
type member struct {
	pid    *actor.PID
	authed bool
	since  time.Time
	peer   sockets.Peer
}

// NewServer makes the actor of a server. Connections reach it with Serve.
func NewServer(conf *Config) actor.Producer {
	conf.calls = &atomic.Int64{}
	return func() actor.Actor { return &server{conf: conf, clients: map[uint64]*member{}} }
}

// accepted is a connection that is ready to speak the protocol.
type accepted struct {
	conn *sockets.Conn
	peer sockets.Peer
}

// Discard closes a connection that no server took.
func (a *accepted) Discard() { _ = a.conn.Close() }

// authDone tells that a client is authenticated.
type authDone struct{ id uint64 }

// List asks for a Members.
type List struct{}

// Urgent lets an operator look while clients flood.
func (*List) Urgent() bool { return true }

// Members answers List.
type Members struct {
	Clients []Member
	Unauth  int
	Limits  Limits
	Calls   *atomic.Int64 // being served
}

// Member describes one connected client.
type Member struct {
	ID       uint64
	PID      *actor.PID
	Peer     sockets.Peer
	ReadOnly bool
	Since    time.Time
	Authed   bool
}

// SetLimits changes the limits of new connections and of the server.
type SetLimits struct{ Limits Limits }

// Drain closes all connections and admits no more; for shutdown.
type Drain struct{}

// Serve accepts until the listener is closed and passes each connection to the server's actor. It runs in
// a goroutine of its own, and starts one more for each TLS handshake.
func Serve(root *actor.RootContext, to *actor.PID, l *sockets.Listener, conf *Config) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if l.Kind == sockets.TLS {
			go admit(root, to, conn, conf)
			continue
		}
		admit(root, to, conn, conf)
	}
}

// handshakeTimeout bounds how long a silent TLS peer is kept.
const handshakeTimeout = 10 * time.Second

func admit(root *actor.RootContext, to *actor.PID, conn *sockets.Conn, conf *Config) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := conn.Handshake(ctx); err != nil {
		conf.Log.Warn().Err(err).Msg("client refused in the handshake")
		_ = conn.Close()
		return
	}
	peer, err := conn.Peer()
	if err != nil {
		conf.Log.Warn().Err(err).Msg("client refused: its identity is unknown")
		_ = conn.Close()
		return
	}
	root.Send(to, &accepted{conn, peer})
}

// Receive is the server's table of contents.
func (s *server) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *accepted:
		s.accept(ctx, m)
	case *Adopt:
		s.adopt(ctx, m)
	case *authDone:
		if c := s.clients[m.id]; c != nil && !c.authed {
			c.authed = true
			s.unauth--
		}
	case *actor.Terminated:
		s.left(m.Who)
	case *List:
		ctx.Respond(s.list())
	case *SetLimits:
		conf := *s.conf
		conf.Limits = m.Limits
		s.conf = &conf
		if ctx.Sender() != nil {
			ctx.Respond(s.list())
		}
	case *Drain:
		s.paused = true
		for _, c := range s.clients {
			ctx.Stop(c.pid)
		}
	case *actor.Started, *actor.Stopping, *actor.Restarting:
	default:
		kit.Unhandled(ctx, m)
	}
}

// accept starts the actor of a new client, unless the server is full.
func (s *server) accept(ctx actor.Context, a *accepted) {
	if why := s.admit(ctx, a.conn.Transport(), a.peer, nil); why != "" {
		_ = a.conn.Close()
	}
}

// admit starts a client's actor on a connection, or says why not. handed is what comes with a connection that
// another process has begun with: its client is authenticated.
func (s *server) admit(ctx actor.Context, conn net.Conn, peer sockets.Peer, handed *Adopt) (why string) {
	l := s.conf.Limits
	full := len(s.clients) >= l.Clients
	// Only clients that must authenticate can be anonymous; the others are done when they connect.
	must := handed == nil && s.conf.Auth(peer.Kind) != AuthNone && !(peer.UID == 0 && peer.Kind.Unix())
	if s.paused || full || must && s.unauth >= l.Unauth {
		s.conf.Log.Error().Int("clients", len(s.clients)).Int("max", l.Clients).Int("unauthenticated", s.unauth).
			Msg("Too many active clients, dropping connection from " + peer.RemoteAddr())
		return "too many clients are connected"
	}
	if peer.Kind == sockets.Admin && peer.UID != uint32(os.Geteuid()) {
		s.conf.Log.Error().Uint32("uid", peer.UID).Msg("admin client refused: it is another user")
		return "another user"
	}
	s.nextID++
	id := s.nextID
	c := &client{
		conf: s.conf, id: id, kind: peer.Kind, peer: peer,
		gate: newGate(l.BytesHeld), since: time.Now(), server: ctx.Self(),
		log:    s.conf.Log.With().Uint64("client", id).Logger(),
		caller: CallerOf(peer, id, peer.Kind == sockets.ReadOnly, s.conf.Session),
		authed: !must,
	}
	opts := &rpc.Options{}
	if handed != nil {
		opts.Ahead, c.pings = handed.Ahead, handed.Keepalive
	}
	c.conn = rpc.NewConn(conn, opts)
	pid, err := ctx.SpawnNamed(kit.Props(func() actor.Actor { return c }, kit.Kind("client"), kit.Limit(0)), fmt.Sprintf("client-%d", id))
	if err != nil {
		s.conf.Log.Error().Err(err).Msg("cannot start a client's actor")
		return err.Error()
	}
	s.clients[id] = &member{pid: pid, authed: !must, since: c.since, peer: peer}
	if must {
		s.unauth++
	}
	s.changed()
	return ""
}

// left forgets a client that is gone.
func (s *server) left(who *actor.PID) {
	for id, c := range s.clients {
		if c.pid.Id == who.Id {
			if !c.authed {
				s.unauth--
			}
			delete(s.clients, id)
			s.changed()
			return
		}
	}
}

func (s *server) changed() {
	if s.conf.IdleChange != nil {
		s.conf.IdleChange(len(s.clients))
	}
}

func (s *server) list() *Members {
	m := &Members{Unauth: s.unauth, Limits: s.conf.Limits, Calls: s.conf.calls}
	for id, c := range s.clients {
		m.Clients = append(m.Clients, Member{ID: id, PID: c.pid, Peer: c.peer, ReadOnly: c.peer.Kind == sockets.ReadOnly, Since: c.since, Authed: c.authed})
	}
	return m
}

// infoRequest asks a client for what only it knows.
type infoRequest struct{}

// Info answers infoRequest.
type Info struct {
	URI      string
	InFlight int
	Backlog  int
	Streams  int
	Events   int
}

func (c *client) info() *Info {
	return &Info{URI: c.uri, InFlight: c.inFlight, Backlog: len(c.backlog), Streams: len(c.streams), Events: len(c.events.list)}
}

// files makes os.File of descriptors that are about to be sent.
func files(fds []int) []*os.File {
	out := make([]*os.File, len(fds))
	for i, fd := range fds {
		_ = unix.SetNonblock(fd, false)
		out[i] = os.NewFile(uintptr(fd), "reply")
	}
	return out
}
