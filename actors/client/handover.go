package client

import (
	"net"
	"os"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/sockets"
	"virtree/wire/liberr"
	"virtree/wire/remoting"
	"virtree/wire/rpc"
)

// Handing a connection over: virtproxyd opens the door, finds out where the client wants to go, and gives the
// connection itself to the daemon that serves it. From then on the client talks to that daemon, and neither
// a call nor a byte of a stream passes the proxy.
//
//	client --CONNECT_OPEN--> proxy: reader detaches --Adopt{socket, bytes read ahead}--> virtqemud's server
//	client <-----------------------------------------------------CONNECT_OPEN's reply--- virtqemud's client
//
// What cannot be handed over (TLS, whose keys are in this process) is relayed call by call.

func init() {
	remoting.Register("client.Adopt", 1, (*Adopt)(nil))
	remoting.Register("client.AdoptResult", 1, (*AdoptResult)(nil))
}

// Adopt gives a connection to another server. The descriptor travels beside the message.
type Adopt struct {
	Serial    uint64
	Peer      sockets.Peer
	Keepalive bool   // the client understands pings
	Ahead     []byte // packets of the client that were read and not answered, CONNECT_OPEN first

	fd int
}

// RequestSerial pairs it with AdoptResult.
func (a *Adopt) RequestSerial() uint64 { return a.Serial }

// Descriptors returns the socket.
func (a *Adopt) Descriptors() []int { return []int{a.fd} }

// SetDescriptors puts the socket in place.
func (a *Adopt) SetDescriptors(fds []int) {
	a.fd = -1
	if len(fds) == 1 {
		a.fd = fds[0]
	}
}

// Refuse makes the answer to a connection that could not be delivered.
func (a *Adopt) Refuse(err *liberr.Error) any {
	return &AdoptResult{Serial: a.Serial, Refused: err.Message, Lost: true}
}

// AdoptResult answers Adopt: Refused says why not, empty when the connection is taken. Lost is set when the other
// server has not decided anything, because Adopt did not come there.
type AdoptResult struct {
	Serial  uint64
	Refused string
	Lost    bool
}

// ReplySerial pairs it with Adopt.
func (a *AdoptResult) ReplySerial() uint64 { return a.Serial }

// Urgent keeps answers before work.
func (*AdoptResult) Urgent() bool { return true }

// handing is a connection on its way: its reader is stopping, or the other server has been asked.
type handing struct {
	server *actor.PID
	open   rpc.Header
	ahead  []byte
	socket string // where the other server is reached, for people
	again  bool   // this is the second attempt
}

// add keeps a packet that was read before the reader stopped.
func (h *handing) add(p *rpc.Packet) { h.ahead = rpc.AppendPacket(h.ahead, p.Header, p.Payload) }

// mayHandOver tells whether the connection can go on in another process.
func (c *client) mayHandOver() bool {
	return c.conf.Elsewhere != nil && c.kind != sockets.TLS && len(c.streams) == 0 && c.inFlight == 0
}

// handOver begins: the reader must stop before anybody else may read.
func (c *client) handOver(server *actor.PID, p *rpc.Packet) {
	c.handing = &handing{server: server, open: p.Header, socket: strings.TrimPrefix(server.Address, "unix:")}
	c.handing.add(p)
	c.done(p)
	c.reader.giveAway()
}

// detached goes on when the reader has stopped.
func (c *client) detached(ctx actor.Context, m *detached) {
	h := c.handing
	if h == nil || c.closing {
		call.CloseFDs([]int{m.fd})
		return
	}
	if m.err != nil {
		c.log.Error().Err(m.err).Msg("cannot hand a connection over")
		c.close(ctx)
		return
	}
	spare, _ := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 3) // to tell the client why, if it is not taken
	serial, _ := c.asks.Add(h.server, time.Time{}, &pending{then: func(ctx actor.Context, answer any) {
		why, lost := "", false
		switch a := answer.(type) {
		case *AdoptResult:
			why, lost = a.Refused, a.Lost
		case *call.Reply:
			why, lost = a.Err.Message, true
		}
		if lost && !h.again && spare >= 0 { // an idle daemon may have been about to leave: another one comes in its place
			h.again = true
			c.detached(ctx, &detached{fd: spare, ahead: m.ahead})
			return
		}
		if why != "" {
			c.log.Error().Str("why", why).Str("server", h.server.Id).Msg("connection was not taken over")
			c.apologize(spare, h, why)
		} else {
			call.CloseFDs([]int{spare})
		}
		c.close(ctx)
	}})
	c.watch(ctx, h.server)
	ctx.Request(h.server, &Adopt{Serial: serial, Peer: c.peer, Keepalive: c.keepalive != nil, Ahead: append(h.ahead, m.ahead...), fd: m.fd})
}

// apologize answers the CONNECT_OPEN of a connection that nobody took, and closes it.
func (c *client) apologize(fd int, h *handing, why string) {
	f := os.NewFile(uintptr(fd), "not taken")
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return
	}
	last := rpc.NewConn(conn, nil)
	_ = last.SendError(h.open, liberr.New(liberr.FromRPC, liberr.SystemError, "Failed to connect socket to '%s': %s", h.socket, why))
	last.CloseAfterFlush()
}

// adopt takes a connection that another process gives.
func (s *server) adopt(ctx actor.Context, m *Adopt) {
	refuse := func(why string) { ctx.Respond(&AdoptResult{Serial: m.Serial, Refused: why}) }
	if m.fd < 0 {
		refuse("the socket did not come along")
		return
	}
	f := os.NewFile(uintptr(m.fd), "handed over")
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		refuse(err.Error())
		return
	}
	if why := s.admit(ctx, conn, m.Peer, m); why != "" {
		_ = conn.Close()
		refuse(why)
		return
	}
	refuse("")
}
