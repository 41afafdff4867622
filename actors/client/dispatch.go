package client

import (
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// packet sorts what came from the socket: calls, stream packets, and what nobody waits for.
func (c *client) packet(ctx actor.Context, p *rpc.Packet) {
	if c.closing {
		p.Release()
		return
	}
	if c.handing != nil {
		c.handing.add(p)
		c.done(p)
		return
	}
	switch p.Type {
	case rpc.Call, rpc.CallWithFDs:
		p.Since = time.Now()
		if !c.ready() || len(c.backlog) > 0 {
			if len(c.backlog) == unreadFew/2 && c.conn.Congested() { // drained ends it, which comes later than this
				c.gate.setUnread(true)
			}
			c.backlog = append(c.backlog, p) // the gate holds the reader before these are too many
			return
		}
		c.call(ctx, p)
	case rpc.Stream, rpc.StreamHole:
		c.streamPacket(ctx, p)
	default:
		c.done(p)
	}
}

// ready tells whether a call may be served now: not while the opening of the connection is under way, so many are in flight
// as may be, or the client leaves its replies unread.
func (c *client) ready() bool {
	return !c.opening && c.inFlight < c.conf.Limits.InFlight && !c.conn.Congested()
}

// unread is how many bytes a client may leave unread before its further calls wait, and with them, in the end, its socket. A
// stream has its own measure.
const unread = 64 << 10

// unreadEvents is how many bytes a client may leave unread when an event comes for it.
const unreadEvents = 4 << 20

// drained tells that the client has read what it had left unread.
type drained struct{}

// Urgent lets the calls that wait go before those that come.
func (*drained) Urgent() bool { return true }

// Discard does nothing: the connection has ended.
func (*drained) Discard() {}

// done gives a packet back that needs no further answer.
func (c *client) done(p *rpc.Packet) {
	c.gate.leave(held(p))
	p.Release()
}

// refuse answers a call with an error.
func (c *client) refuse(p *rpc.Packet, err error) {
	_ = c.conn.SendError(p.Header, err)
	c.conf.figures.served(p.Program, p.Proc, p.Since, err)
	c.done(p)
}

// call decides by the header who serves the packet, if anybody may.
func (c *client) call(ctx actor.Context, p *rpc.Packet) {
	proc, err := c.lookup(p.Header)
	if err != nil {
		c.refuse(p, err)
		return
	}
	if !c.authed && !proc.NoAuth {
		c.refuse(p, liberr.New(liberr.FromRPC, liberr.RPC, "authentication required"))
		return
	}
	if h := local[proc]; h != nil {
		if c.opened && c.caller.ReadOnly && proc.RefusedReadOnly(p.Payload) {
			c.refuse(p, readOnlyError(proc))
			return
		}
		ret, err := h(c, ctx, p)
		switch {
		case err == errLater:
			return // the handler owns the packet
		case err != nil:
			c.refuse(p, err)
		default:
			c.respond(p, ret)
		}
		return
	}
	to, err := c.route(proc)
	if err != nil {
		c.refuse(p, err)
		return
	}
	if c.caller.ReadOnly && proc.RefusedReadOnly(p.Payload) {
		c.refuse(p, readOnlyError(proc))
		return
	}
	c.forward(ctx, p, proc, to)
}

// errLater is what a local handler returns that answers later.
var errLater = errors.New("answered later")

func (c *client) respond(p *rpc.Packet, ret protocol.Encoder) {
	if ret == nil {
		_ = c.conn.Send(p.Header.ReplyTo(rpc.OK), nil)
	} else {
		_ = c.conn.SendBody(p.Header.ReplyTo(rpc.OK), ret)
	}
	c.conf.figures.served(p.Program, p.Proc, p.Since, nil)
	c.done(p)
}

// lookup finds the procedure, or libvirt's answer to a header that names none.
func (c *client) lookup(h rpc.Header) (*protocol.Procedure, error) {
	if !slices.Contains(c.conf.Programs, h.Program) {
		return nil, liberr.New(liberr.FromRPC, liberr.RPC, "Cannot find program %d version %d", h.Program, h.Version)
	}
	proc, err := protocol.Lookup(h.Program, h.Version, h.Proc)
	switch {
	case errors.Is(err, protocol.ErrVersion):
		return nil, liberr.New(liberr.FromRPC, liberr.RPC, "Cannot find program %d version %d", h.Program, h.Version)
	case err != nil || proc.Kind == protocol.KindEvent || proc.Kind == protocol.KindMessage:
		return nil, liberr.New(liberr.FromRPC, liberr.RPC, "unknown procedure: %d", h.Proc)
	case h.Status != rpc.OK:
		return nil, liberr.New(liberr.FromRPC, liberr.RPC, "Unexpected message status %d", uint32(h.Status))
	}
	return proc, nil
}

// notOpen is the answer to a call that needs the connection to be open.
func notOpen(proc *protocol.Procedure) error {
	if secondaries[proc.Driver] != "" {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "connection not open")
	}
	return liberr.New(liberr.FromRPC, liberr.InternalError, "hypervisor connection not open")
}

// route finds the branch that serves a procedure on this connection.
func (c *client) route(proc *protocol.Procedure) (*actor.PID, error) {
	branch := ""
	switch proc.Driver {
	case "daemon":
		branch = "admin"
	case "virtlogd":
		branch = "logd"
	case "virtlockd":
		branch = "lockd"
	default:
		if !c.opened {
			return nil, notOpen(proc)
		}
		branch = c.branchOf(proc.Driver)
	}
	if branch == "" {
		return nil, call.Unsupported(proc)
	}
	pid := c.conf.Branch(branch)
	if pid == nil {
		return nil, call.Unsupported(proc)
	}
	return pid, nil
}

// branchOf names the branch that serves a driver's procedures on the open connection: on a hypervisor's
// connection the secondary drivers serve theirs; a connection to network:///system knows networks only.
func (c *client) branchOf(driver string) string {
	own := c.conf.Drivers[c.scheme]
	if second := secondaries[driver]; second != "" {
		if hypervisors[c.scheme] || second == own {
			return second
		}
		return ""
	}
	return own
}

// forward sends the call on its way.
func (c *client) forward(ctx actor.Context, p *rpc.Packet, proc *protocol.Procedure, to *actor.PID) {
	header, since := p.Header, p.Since
	pend := &pending{bytes: len(p.Payload) + overhead}
	pend.then = func(ctx actor.Context, answer any) {
		r, ok := answer.(*call.Reply)
		if !ok {
			r = &call.Reply{Err: liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)}
		}
		c.reply(ctx, header, proc, to, r)
		c.conf.figures.served(proc.Program, proc.Number, since, failure(r))
		if r.Err == nil {
			// After an error the arguments may still be in use: by an object whose branch is gone, or by an actor
			// that is stuck and was answered for. They are left to the collector and not given to another packet.
			p.Release()
		}
	}
	serial, _ := c.asks.Add(to, time.Time{}, pend)
	c.watch(ctx, to)
	c.inFlight++
	c.conf.calls.Add(1)
	ctx.Request(to, &call.Call{Proc: proc, Serial: serial, Args: p.Payload, Caller: c.caller, FDs: dupFiles(p)})
}

// failure is what a reply tells of, nil for a result.
func failure(r *call.Reply) error {
	if r.Err == nil {
		return nil // and not a nil of its type
	}
	return r.Err
}

// reply writes a branch's answer to the socket and opens the stream it may carry.
func (c *client) reply(ctx actor.Context, h rpc.Header, proc *protocol.Procedure, from *actor.PID, r *call.Reply) {
	if r.Err != nil {
		if r.Err.Cause != nil {
			c.log.Debug().Str("op", proc.Name).Uint32("serial", h.Serial).Err(r.Err.Cause).Msg(r.Err.Message)
		}
		_ = c.conn.SendError(h, r.Err)
		return
	}
	if r.Stream != nil {
		c.openStream(ctx, h, proc, from, r.Stream)
	}
	head := h.ReplyTo(rpc.OK)
	if len(r.FDs) == 0 {
		switch err := c.conn.Send(head, r.Ret); {
		case errors.Is(err, rpc.ErrTooLarge):
			_ = c.conn.SendError(h, liberr.New(liberr.FromRPC, liberr.RPC, "Unable to encode message payload"))
		case errors.Is(err, rpc.ErrQueueFull):
			c.log.Warn().Str("peer", c.peer.RemoteAddr()).Msg("client does not read its replies: closing")
			_ = c.conn.Close()
		}
		return
	}
	if !c.conn.PassesFDs() {
		call.CloseFDs(r.FDs)
		_ = c.conn.SendError(h, liberr.New(liberr.FromRPC, liberr.RPC, "Unable to pass file descriptors over this connection"))
		return
	}
	head.Type = rpc.ReplyWithFDs
	_ = c.conn.Send(head, r.Ret, files(r.FDs)...)
}

// dupFiles takes a packet's descriptors over as numbers, which the call's receiver owns.
func dupFiles(p *rpc.Packet) []int {
	var fds []int
	for _, f := range p.TakeFDs() {
		raw, err := f.SyscallConn()
		if err == nil {
			_ = raw.Control(func(fd uintptr) {
				if n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err == nil {
					fds = append(fds, n)
				}
			})
		}
		_ = f.Close()
	}
	return fds
}
