package client

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/supervisors"
	"virtree/wire/rpc"
)

// Server is the actor above the clients of one server: it admits connections up to the limits and knows
// who is connected.
type server struct {
	conf    *Config
	nextID  uint64
	clients map[uint64]*member
	unauth  int
	waiting []*accepted // for a place, first come first
	paused  bool        // shutting down: nobody is let in
}

// member is one connected client as the server sees it.
type member struct {
	pid    *actor.PID
	conn   *rpc.Conn
	authed bool
	since  time.Time
	peer   sockets.Peer
}

// NewServer makes the actor of a server. Connections reach it with Serve.
func NewServer(conf *Config) actor.Producer {
	conf.calls = &atomic.Int64{}
	conf.figures = newFigures(conf.Name, conf.calls)
	conf.seats = make(chan struct{}, waitingRoom)
	return func() actor.Actor { return &server{conf: conf, clients: map[uint64]*member{}} }
}

// Figures are what the server counts; there after NewServer.
func (c *Config) Figures() *Figures { return c.figures }

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
			s.next(ctx)
		}
	case *actor.Terminated:
		s.left(m.Who)
		s.next(ctx)
	case *supervisors.ChildStuck:
		s.stuck(ctx, m)
	case *List:
		ctx.Respond(s.list())
	case *SetLimits:
		conf := *s.conf
		conf.Limits = m.Limits
		s.conf = &conf
		s.next(ctx)
		if ctx.Sender() != nil {
			ctx.Respond(s.list())
		}
	case *Drain:
		s.paused = true
		s.turnAway()
		for _, c := range s.clients {
			ctx.Stop(c.pid)
		}
	case *actor.Started:
		s.conf.figures.none()
		s.changed() // also after a crash, which took all clients along
	case *actor.Stopping, *actor.Restarting:
		s.turnAway()
	default:
		kit.Unhandled(ctx, m)
	}
}

// accept lets a connection in, or keeps it until there is room, as libvirt does: a crowd is served in turn and
// not turned away.
func (s *server) accept(ctx actor.Context, a *accepted) {
	if s.paused {
		a.Discard()
		return
	}
	s.waiting = append(s.waiting, a)
	s.next(ctx)
	if n := len(s.waiting); n > 0 && s.waiting[n-1] == a {
		s.conf.Log.Warn().Int("clients", len(s.clients)).Int("max", s.conf.Limits.Clients).Int("unauthenticated", s.unauth).
			Msg("too many active clients: connection from " + a.peer.RemoteAddr() + " waits")
	}
}

// next lets those in for whom there is room.
func (s *server) next(ctx actor.Context) {
	still := s.waiting[:0]
	for _, a := range s.waiting {
		if !s.room(s.must(a.peer, nil)) {
			still = append(still, a)
			continue
		}
		if why := s.admit(ctx, a.conn.Transport(), a.peer, nil); why != "" {
			_ = a.conn.Close()
		}
		a.decided()
	}
	clear(s.waiting[len(still):])
	s.waiting = still
}

// turnAway closes what waits.
func (s *server) turnAway() {
	for _, a := range s.waiting {
		a.Discard()
	}
	s.waiting = nil
}

// must tells whether a client has to authenticate. A connection that another process has begun with is
// authenticated.
func (s *server) must(peer sockets.Peer, handed *Adopt) bool {
	return handed == nil && s.conf.Auth(peer.Kind) != AuthNone
}

// room tells whether one more client may be let in. Only clients that must authenticate can be anonymous; the
// others are done when they connect.
func (s *server) room(must bool) bool {
	l := s.conf.Limits
	return !s.paused && len(s.clients) < l.Clients && (!must || s.unauth < l.Unauth)
}

// admit starts a client's actor on a connection, or says why not. handed is what comes with a connection that
// another process has begun with.
func (s *server) admit(ctx actor.Context, conn net.Conn, peer sockets.Peer, handed *Adopt) (why string) {
	must := s.must(peer, handed)
	if !s.room(must) {
		s.conf.Log.Error().Int("clients", len(s.clients)).Int("max", s.conf.Limits.Clients).
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
		gate: newGate(s.conf.Limits), since: time.Now(), server: ctx.Self(),
		log:    s.conf.Log.With().Uint64("client", id).Logger(),
		caller: CallerOf(peer, id, peer.Kind == sockets.ReadOnly, s.conf.Session),
		authed: !must,
	}
	root, self := ctx.ActorSystem().Root, ctx.ActorSystem().NewLocalPID(fmt.Sprintf("%s/client-%d", ctx.Self().Id, id))
	opts := &rpc.Options{HighWater: unread, LowWater: unread / 4, OnDrain: func() { root.Send(self, &drained{}) }}
	if handed != nil {
		opts.Ahead, c.pings = handed.Ahead, handed.Keepalive
	}
	c.conn = rpc.NewConn(conn, opts)
	pid, err := ctx.SpawnNamed(kit.Props(func() actor.Actor { return c }, kit.Kind("client"), kit.Limit(0)), fmt.Sprintf("client-%d", id))
	if err != nil {
		s.conf.Log.Error().Err(err).Msg("cannot start a client's actor")
		return err.Error()
	}
	s.clients[id] = &member{pid: pid, conn: c.conn, authed: !must, since: c.since, peer: peer}
	s.conf.figures.joined(peer.Kind)
	if must {
		s.unauth++
	}
	s.changed()
	return ""
}

// stuck ends a connection whose actor does not come back from a message: its client is told, and can connect again.
func (s *server) stuck(ctx actor.Context, m *supervisors.ChildStuck) {
	for _, c := range s.clients {
		if c.pid.Id == m.Child.Id {
			s.conf.Log.Error().Str("peer", c.peer.RemoteAddr()).Str("in", m.Message).Msg("client's actor is stuck: closing its connection")
			_ = c.conn.Close()
			kit.Observe(ctx.ActorSystem()).Abandon(m.Child.Id) // which tells us that it has left
			return
		}
	}
}

// left forgets a client that is gone.
func (s *server) left(who *actor.PID) {
	for id, c := range s.clients {
		if c.pid.Id == who.Id {
			if !c.authed {
				s.unauth--
			}
			delete(s.clients, id)
			s.conf.figures.left(c.peer.Kind)
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
	Held     int // bytes of packets that are not done with
	Unread   int // bytes that the client has not read yet
}

func (c *client) info() *Info {
	return &Info{URI: c.uri, InFlight: c.inFlight, Backlog: len(c.backlog), Streams: len(c.streams), Events: len(c.events.list), Held: c.gate.holds(), Unread: c.conn.Queued()}
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
