package lockd

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/remoting"
)

// How the tree's own drivers hold leases for a guest: several in one question, all or none, until the guest's process ends.
// No client can send this.

// Lease names one resource and how it is to be held.
type Lease struct {
	Space  string // folder of the lockspace; "" is the default one, whose resources are files themselves
	Name   string
	Shared bool
	Make   bool // make lockspace and file if they are not there; the file goes with the lease
}

// What an Ask is for.
const (
	Take    = "take"    // hold all of the leases that the process does not hold, or on an error none of those
	TakeNew = "takenew" // the same, but to hold one of them already is an error
	Drop    = "drop"    // let go of the leases; one that is not held is no error
	DropAll = "dropall" // let go of all that the process holds
)

// Ask changes what a process holds. Its end, which the branch itself watches, is a DropAll.
type Ask struct {
	Serial uint64
	Do     string
	PID    int32
	Since  uint64 // start time of the process in clock ticks since boot
	Leases []Lease
}

// RequestSerial pairs it with Answer.
func (a *Ask) RequestSerial() uint64 { return a.Serial }

// Refuse makes the answer to a question that could not be delivered.
func (a *Ask) Refuse(err *liberr.Error) any { return &Answer{Serial: a.Serial, Err: err} }

// Answer answers Ask, when all is done.
type Answer struct {
	Serial uint64
	Err    *liberr.Error // VIR_ERR_RESOURCE_BUSY for what somebody else holds
}

// ReplySerial pairs it with Ask.
func (a *Answer) ReplySerial() uint64 { return a.Serial }

// Urgent puts answers before ordinary work in a mailbox.
func (*Answer) Urgent() bool { return true }

// AppendRemoting appends the wire form between processes, which is that of a reply.
func (a *Answer) AppendRemoting(b []byte) ([]byte, error) {
	return (&call.Reply{Serial: a.Serial, Err: a.Err}).AppendRemoting(b)
}

// DecodeRemoting reads the wire form.
func (a *Answer) DecodeRemoting(b []byte) error {
	var r call.Reply
	err := r.DecodeRemoting(b)
	a.Serial, a.Err = r.Serial, r.Err
	return err
}

func init() {
	remoting.Register("lockd.Ask", 1, (*Ask)(nil))
	remoting.Register("lockd.Answer", 1, (*Answer)(nil))
}

// Request asks the lockd branch, at to, from a goroutine: never from an actor's Receive. Its errors are libvirt's.
func Request(ctx context.Context, root *actor.RootContext, to *actor.PID, a Ask) error {
	if to == nil {
		return liberr.New(space, liberr.NoConnect, "Failed to find a lock daemon")
	}
	wait := 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	a.Serial = 1
	answer, err := root.RequestFuture(to, &a, max(wait, time.Millisecond)).Result()
	if err != nil {
		return liberr.New(liberr.FromRPC, liberr.OperationTimeout, "the lock daemon does not answer").WithCause(err)
	}
	v, ok := answer.(*Answer)
	switch {
	case !ok:
		return liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)
	case v.Err != nil:
		return v.Err
	}
	return nil
}

// guest is a process that leases are held for.
type guest struct {
	since   uint64
	end     func() // ends the watch and lets the daemon go idle
	current bool   // false once it is gone: what is still on its way for it is let go again
}

// guestGone is the end of a guest's process.
type guestGone struct{ guest *guest }

// ask serves an Ask.
func (d *driver) ask(ctx actor.Context, m *Ask) {
	to, serial := ctx.Sender(), m.Serial
	answer := func(ctx actor.Context, err error) {
		a := &Answer{Serial: serial}
		if err != nil {
			a.Err = liberr.From(space, err)
		}
		if to != nil {
			ctx.Send(to, a)
		}
	}
	pid := uint32(m.PID)
	g := d.guests[pid]
	if g != nil && g.since != m.Since { // its number has another process now
		d.forgetGuest(ctx, g, nil)
		g = nil
	}
	switch m.Do {
	case Take, TakeNew:
		if g == nil {
			var err error
			if g, err = d.watchGuest(ctx, m.PID, m.Since); err != nil {
				answer(ctx, liberr.New(space, liberr.OperationInvalid, "process %d is not running", m.PID).WithCause(err))
				return
			}
			d.guests[pid] = g
		}
		d.takeNext(ctx, m, g, 0, nil, answer)
	case Drop:
		d.dropEach(ctx, pid, m.Leases, func(ctx actor.Context) { answer(ctx, nil) })
	case DropAll:
		if g == nil {
			answer(ctx, nil)
			return
		}
		d.forgetGuest(ctx, g, func(ctx actor.Context) { answer(ctx, nil) })
	default:
		answer(ctx, liberr.New(space, liberr.InvalidArg, "unknown request %q", m.Do))
	}
}

// takeNext takes the i-th lease and goes on with those behind it. taken are those that are to be let go on an error.
func (d *driver) takeNext(ctx actor.Context, m *Ask, g *guest, i int, taken []Lease, answer func(actor.Context, error)) {
	pid := uint32(m.PID)
	failed := func(ctx actor.Context, err error) {
		d.dropEach(ctx, pid, taken, func(ctx actor.Context) { answer(ctx, err) })
	}
	if !g.current {
		failed(ctx, liberr.New(space, liberr.OperationInvalid, "process %d is not running", m.PID))
		return
	}
	if i == len(m.Leases) {
		answer(ctx, nil)
		return
	}
	want := m.Leases[i]
	if _, ok := d.spaces[want.Space]; !ok && want.Make {
		d.job(ctx, "lockspace "+want.Space, func() (any, error) { return nil, makeSpace(want.Space) }, func(ctx actor.Context, _ any, err error) {
			if err != nil {
				failed(ctx, err)
				return
			}
			d.spaces[want.Space] = want.Space
			d.takeNext(ctx, m, g, i, taken, answer)
		})
		return
	}
	k, err := d.resource(want.Space, want.Name)
	if err != nil {
		failed(ctx, err)
		return
	}
	d.inOrder(ctx, k, func(ctx actor.Context) {
		next := func(ctx actor.Context, err error, mine bool) {
			d.done(ctx, k)
			if err != nil {
				failed(ctx, err)
				return
			}
			if mine {
				taken = append(taken, want)
			}
			d.takeNext(ctx, m, g, i+1, taken, answer)
		}
		if l := d.held[k]; l != nil {
			again := m.Do == Take && l.shared == want.Shared && l.ownedBy(pid) && !contains(taken, want)
			switch {
			case again:
				next(ctx, nil, false)
			case l.shared && want.Shared:
				l.owners = append(l.owners, pid)
				next(ctx, nil, true)
			default:
				next(ctx, locked(k), false)
			}
			return
		}
		d.job(ctx, "acquire "+k.path(), func() (any, error) { return openLease(k, want.Shared, want.Make) }, func(ctx actor.Context, v any, err error) {
			if err != nil {
				next(ctx, err, false)
				return
			}
			l := &lease{fd: v.(int), shared: want.Shared, auto: want.Make, owners: []uint32{pid}}
			if !g.current {
				d.free(ctx, k, l, nil)
				failed(ctx, liberr.New(space, liberr.OperationInvalid, "process %d is not running", m.PID))
				return
			}
			d.held[k] = l
			next(ctx, nil, true)
		})
	})
}

func contains(list []Lease, l Lease) bool {
	for _, o := range list {
		if o.Space == l.Space && o.Name == l.Name {
			return true
		}
	}
	return false
}

func (l *lease) ownedBy(pid uint32) bool {
	for _, o := range l.owners {
		if o == pid {
			return true
		}
	}
	return false
}

// dropEach lets go of leases one after the other.
func (d *driver) dropEach(ctx actor.Context, pid uint32, leases []Lease, then func(actor.Context)) {
	if len(leases) == 0 {
		then(ctx)
		return
	}
	k, rest := key{leases[0].Space, leases[0].Name}, leases[1:]
	d.inOrder(ctx, k, func(ctx actor.Context) {
		goOn := func(ctx actor.Context) { d.dropEach(ctx, pid, rest, then) }
		l := d.held[k]
		if l == nil || !l.ownedBy(pid) {
			d.done(ctx, k)
			goOn(ctx)
			return
		}
		for i, o := range l.owners {
			if o == pid {
				l.owners = append(l.owners[:i:i], l.owners[i+1:]...)
				break
			}
		}
		if len(l.owners) > 0 {
			d.done(ctx, k)
			goOn(ctx)
			return
		}
		d.freeThen(ctx, k, l, goOn)
	})
}

// freeThen is free, which goes on in the actor's Receive when the lease is gone.
func (d *driver) freeThen(ctx actor.Context, k key, l *lease, then func(actor.Context)) {
	delete(d.held, k)
	path, fd, auto := k.path(), l.fd, l.auto
	d.job(ctx, "release "+path, func() (any, error) { return nil, closeLease(path, fd, auto) }, func(ctx actor.Context, _ any, err error) {
		if err != nil {
			d.env.Log.Warn().Err(err).Str("resource", path).Msg("lease was not let go cleanly")
		}
		d.done(ctx, k)
		then(ctx)
	})
}

// forgetGuest lets go of everything that is held for a process.
func (d *driver) forgetGuest(ctx actor.Context, g *guest, then func(actor.Context)) {
	var leases []Lease
	pid := uint32(0)
	for p, o := range d.guests {
		if o == g {
			pid = p
		}
	}
	if g.current {
		g.current = false
		g.end()
		delete(d.guests, pid)
		for k, l := range d.held {
			for _, o := range l.owners {
				if o == pid {
					leases = append(leases, Lease{Space: k.space, Name: k.name})
				}
			}
		}
	}
	if then == nil {
		then = func(actor.Context) {}
	}
	d.dropEach(ctx, pid, leases, then)
}
