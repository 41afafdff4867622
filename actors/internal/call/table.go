package call

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Request is a call in the hands of its server, who answers it exactly once with Reply, ReplyRaw or
// Fail; later answers are dropped. It may be answered from any goroutine, so a job may hold it.
type Request struct {
	*Call
	to     *actor.PID
	system *actor.ActorSystem
	by     *actor.PID // its server
	open   *Open      // where its server lists it until it is answered; may be nil
	owed   atomic.Bool
}

// NewRequest wraps the call that ctx is receiving.
func NewRequest(ctx actor.Context, c *Call) *Request {
	return &Request{Call: c, to: ctx.Sender(), by: ctx.Self(), system: ctx.ActorSystem()}
}

// owe lists the request as one that its server answers later.
func (r *Request) owe() {
	if r.open != nil {
		r.open.enter(r)
	}
	r.owed.Store(true)
	kit.Owe(r.system, r.by.Id, r)
}

// Reply answers with a result; nil for procedures that have none.
func (r *Request) Reply(ret protocol.Encoder) {
	var b []byte
	if ret != nil {
		b = ret.AppendXDR(nil)
	}
	r.ReplyRaw(&Reply{Ret: b})
}

// ReplyRaw answers with a reply that may carry descriptors or a stream.
func (r *Request) ReplyRaw(reply *Reply) {
	first := r.settle()
	if r.open != nil {
		r.open.leave(r)
	}
	if r.owed.Load() {
		kit.Settle(r.system, r.by.Id, r)
	}
	if !first {
		reply.Discard()
		return
	}
	reply.Serial = r.Serial
	if r.to != nil {
		r.system.Root.Send(r.to, reply)
	}
}

// Fail answers with an error. What is not a libvirt error becomes an internal one.
func (r *Request) Fail(err error) {
	r.ReplyRaw(&Reply{Err: liberr.From(liberr.FromNone, err)})
}

// Finish answers with the error, or when it is nil with the result.
func (r *Request) Finish(ret protocol.Encoder, err error) {
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(ret)
}

// Answered tells whether the call has its answer.
func (r *Request) Answered() bool { return r.answered.Load() }

// Client is the actor that called and will get the answer.
func (r *Request) Client() *actor.PID { return r.to }

type handler[T any] func(t T, ctx actor.Context, r *Request) error

// Table names the handlers of one kind of actor: the table of contents of a driver.
type Table[T any] struct {
	programs map[uint32][]handler[T]
}

// NewTable collects routes.
func NewTable[T any](routes ...Route[T]) *Table[T] {
	t := &Table[T]{programs: map[uint32][]handler[T]{}}
	for _, r := range routes {
		hs := t.programs[r.proc.Program]
		for int(r.proc.Number) >= len(hs) {
			hs = append(hs, nil)
		}
		if hs[r.proc.Number] != nil {
			panic("two routes for " + r.proc.Name)
		}
		hs[r.proc.Number] = r.serve
		t.programs[r.proc.Program] = hs
	}
	return t
}

// Has tells whether the table serves the procedure.
func (t *Table[T]) Has(p *protocol.Procedure) bool { return t.find(p) != nil }

func (t *Table[T]) find(p *protocol.Procedure) handler[T] {
	hs := t.programs[p.Program]
	if int(p.Number) >= len(hs) {
		return nil
	}
	return hs[p.Number]
}

// Serve hands the call to its handler; a procedure without one answers libvirt's "not supported by the
// connection driver". Errors that are not libvirt's own become internal ones of the domain from.
func (t *Table[T]) Serve(a T, ctx actor.Context, c *Call, from liberr.Domain) {
	t.serve(a, ctx, NewRequest(ctx, c), from)
}

// ServeOpen is Serve, and lists calls that are not answered at once in open.
func (t *Table[T]) ServeOpen(open *Open, a T, ctx actor.Context, c *Call, from liberr.Domain) {
	r := NewRequest(ctx, c)
	r.open = open
	t.serve(a, ctx, r, from)
}

func (t *Table[T]) serve(a T, ctx actor.Context, r *Request, from liberr.Domain) {
	h := t.find(r.Proc)
	if h == nil {
		CloseFDs(r.FDs)
		r.Fail(Unsupported(r.Proc))
		return
	}
	if err := h(a, ctx, r); err != nil {
		r.Fail(liberr.From(from, err))
	}
}

// Unsupported is the answer to a procedure that no route names.
func Unsupported(p *protocol.Procedure) *liberr.Error {
	name := p.API
	if name == "" || name == "-" {
		name = p.Name
	}
	return liberr.NoSupport(DomainOf(p), name)
}

// DomainOf is the error domain of the public function behind a procedure: in libvirt that function refuses
// what needs no driver to be refused.
func DomainOf(p *protocol.Procedure) liberr.Domain {
	switch {
	case p.Program == protocol.AdminProgram:
		return liberr.FromAdmin
	case p.Program != protocol.RemoteProgram:
		return liberr.FromNone
	case strings.HasPrefix(p.API, "virDomainSnapshot"), strings.HasPrefix(p.API, "virDomainRevertToSnapshot"):
		return liberr.FromDomainSnapshot
	case strings.HasPrefix(p.API, "virDomainCheckpoint"):
		return liberr.FromDomainCheckpoint
	case strings.HasPrefix(p.API, "virNodeDevice"):
		return liberr.FromNodedev
	}
	switch p.Driver {
	case "network":
		return liberr.FromNetwork
	case "storage":
		return liberr.FromStorage
	case "nodedev":
		return liberr.FromNodedev
	case "secret":
		return liberr.FromSecret
	case "nwfilter":
		return liberr.FromNwfilter
	case "interface":
		return liberr.FromInterface
	}
	return liberr.FromDomain
}

// From is the error domain of the driver that serves the call.
func (c *Call) From() liberr.Domain {
	if from := DomainOf(c.Proc); from != liberr.FromDomain {
		return from
	}
	return liberr.FromQemu
}

// Route is one line of a Table.
type Route[T any] struct {
	proc  *protocol.Procedure
	serve handler[T]
}

// Decodable is satisfied by pointers to the generated structs of arguments.
type Decodable[A any] interface {
	*A
	protocol.Decodable
}

// Encodable is satisfied by pointers to the generated structs of results.
type Encodable[R any] interface {
	*R
	protocol.Encoder
}

// Answer routes a procedure to a handler that knows the result at once.
func Answer[T, A, R any, PA Decodable[A], PR Encodable[R]](p protocol.Proc[A, R], h func(t T, ctx actor.Context, r *Request, a PA) (PR, error)) Route[T] {
	return Route[T]{p.Procedure, func(t T, ctx actor.Context, r *Request) error {
		var a A
		if err := decode(r, PA(&a)); err != nil {
			return err
		}
		ret, err := h(t, ctx, r, &a)
		if err != nil {
			return err
		}
		if ret == nil {
			r.Reply(nil)
			return nil
		}
		r.Reply(ret)
		return nil
	}}
}

// Later routes a procedure to a handler that starts something and keeps the request, which it or a job
// answers; an error that it returns is the answer.
func Later[T, A, R any, PA Decodable[A]](p protocol.Proc[A, R], h func(t T, ctx actor.Context, r *Request, a PA) error) Route[T] {
	return Route[T]{p.Procedure, func(t T, ctx actor.Context, r *Request) error {
		var a A
		if err := decode(r, PA(&a)); err != nil {
			return err
		}
		r.owe()
		return h(t, ctx, r, &a)
	}}
}

// Forward routes a procedure to a handler that passes the undecoded call on.
func Forward[T, A, R any](p protocol.Proc[A, R], h func(t T, ctx actor.Context, r *Request)) Route[T] {
	return Route[T]{p.Procedure, func(t T, ctx actor.Context, r *Request) error {
		h(t, ctx, r)
		return nil
	}}
}

func decode(r *Request, v protocol.Decodable) error {
	if err := protocol.UnmarshalArgs(r.Args, v); err != nil {
		return liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload").WithCause(err)
	}
	return nil
}

// CheckMax refuses a number of results that the protocol does not allow, as libvirt's RPC layer does: field is the
// argument's name there ("maxnames") and bound the limit's.
func CheckMax(n, limit int32, field, bound string) error {
	switch {
	case n < 0:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, field+" must be non-negative")
	case n > limit:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, field+" > "+bound)
	}
	return nil
}

// CheckFlags refuses flags outside allowed in libvirt's words; fn is the name of libvirt's own function,
// which its message contains.
func CheckFlags(flags, allowed uint32, from liberr.Domain, fn string) error {
	if bad := flags &^ allowed; bad != 0 {
		e := liberr.Raw(from, liberr.InvalidArg, fmt.Sprintf("unsupported flags (0x%x) in function %s", bad, fn))
		e.Str1, e.Str2, e.Int1, e.Int2 = fn, "flags", 0, 0
		return e
	}
	return nil
}

// ErrBusy is what a caller hears when a mailbox is full.
var ErrBusy = errors.New("too many calls are waiting")

// Busy is the libvirt error for a full mailbox of the named object.
func Busy(name string) *liberr.Error {
	return liberr.New(liberr.FromRPC, liberr.ResourceBusy, "%s", fmt.Sprintf("too many calls are waiting for '%s'", name)).WithCause(ErrBusy)
}
