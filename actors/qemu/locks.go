package qemu

import (
	"context"
	"slices"
	"sync"
	"time"

	"virtree/actors/internal/kit"
	"virtree/actors/lockd"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// locks sees to it that a guest that runs holds the leases on its disks, as lock_manager = "lockd" asks for:
//
//	begun --cont--> held --stop, STOP of QEMU--> released --cont--> held ... --process ends--> gone
//
// It stands between the driver and the monitor's `cont` and `stop` (guard), so that nobody can forget it. It is used by
// jobs, never by an actor's Receive. A nil *locks is no lock manager, and all of its methods do nothing.
//
// Compat: as with libvirt, a guest that is not running has no leases, but QEMU's own locks on the images stay.
type locks struct {
	conf lockConf
	drv  *shared

	mu     sync.Mutex
	guests map[protocol.UUID]*guestLocks
}

// guestLocks are the leases of one run of a guest. turn is had by who looks at or changes the rest.
type guestLocks struct {
	pid   int32
	since uint64
	turn  chan struct{}
	want  []lockd.Lease
	held  bool
}

func newLocks(drv *shared) *locks {
	if !drv.conf.locks.on {
		return nil
	}
	return &locks{conf: drv.conf.locks, drv: drv, guests: map[protocol.UUID]*guestLocks{}}
}

// begin makes a guest's process known, before its CPUs run.
func (l *locks) begin(u protocol.UUID, proc *process, want []lockd.Lease) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guests[u] = &guestLocks{pid: int32(proc.pid), since: proc.since, turn: make(chan struct{}, 1), want: want}
}

// end lets go of everything when the guest's process is gone. lockd would notice by itself, but not before the next call.
func (l *locks) end(u protocol.UUID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	g := l.guests[u]
	delete(l.guests, u)
	l.mu.Unlock()
	if g == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	if err := l.request(ctx, g, lockd.DropAll, nil); err != nil {
		l.drv.env.Log.Warn().Err(err).Stringer("uuid", u).Msg("the lock daemon was not told of a guest's end, and finds out by itself")
	}
}

// lockPatience is how long what must not be held up waits for lockd.
const lockPatience = 5 * time.Second

// any tells whether guests run that leases may be held for.
func (l *locks) any() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.guests) > 0
}

// enter gives the guest's leases to the caller until leave is called; nil for a guest without.
func (l *locks) enter(ctx context.Context, u protocol.UUID) (g *guestLocks, leave func(), err error) {
	nothing := func() {}
	if l == nil {
		return nil, nothing, nil
	}
	l.mu.Lock()
	g = l.guests[u]
	l.mu.Unlock()
	if g == nil {
		return nil, nothing, nil
	}
	select {
	case g.turn <- struct{}{}:
		return g, func() { <-g.turn }, nil
	case <-ctx.Done():
		return nil, nothing, context.Cause(ctx)
	}
}

// request asks lockd. One whose process has just died is being started again, and is asked again for a while.
func (l *locks) request(ctx context.Context, g *guestLocks, do string, leases []lockd.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, branchPatience+30*time.Second)
	defer cancel()
	giveUp := time.Now().Add(branchPatience)
	for {
		err := lockd.Request(ctx, l.drv.system.Root, l.drv.env.Branch("lockd"), lockd.Ask{Do: do, PID: g.pid, Since: g.since, Leases: leases})
		if err == nil || final(err) || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return err
		}
	}
}

// take acquires all that the guest is to hold.
func (l *locks) take(ctx context.Context, g *guestLocks) error {
	if len(g.want) > 0 {
		if err := l.request(ctx, g, lockd.Take, g.want); err != nil {
			return err
		}
	}
	g.held = true
	return nil
}

// drop releases all of it. What cannot be released now ends with the process at the latest.
func (l *locks) drop(ctx context.Context, u protocol.UUID, g *guestLocks) {
	g.held = false
	if len(g.want) == 0 {
		return
	}
	if err := l.request(ctx, g, lockd.Drop, g.want); err != nil {
		l.drv.env.Log.Warn().Err(err).Stringer("uuid", u).Msg("cannot release a guest's leases")
	}
}

// guard goes around the commands that let a guest run and stop.
func (l *locks) guard(u protocol.UUID) func(ctx context.Context, x qmp.Executor, name string, send func() error) error {
	if l == nil {
		return nil
	}
	return func(ctx context.Context, x qmp.Executor, name string, send func() error) error {
		g, leave, err := l.enter(ctx, u)
		if err != nil {
			return err
		}
		defer leave()
		if g == nil {
			return send()
		}
		if name == "cont" && !g.held {
			if err := l.take(ctx, g); err != nil {
				return err
			}
		}
		if err := send(); err == nil && name == "cont" {
			return nil
		} else if err != nil {
			l.restIfStopped(context.WithoutCancel(ctx), u, g, x)
			return err
		}
		l.drop(context.WithoutCancel(ctx), u, g)
		return nil
	}
}

// rest releases the leases of a guest that stands still, however it came to that.
func (l *locks) rest(ctx context.Context, u protocol.UUID, x qmp.Executor) {
	g, leave, err := l.enter(ctx, u)
	if err != nil || g == nil {
		return
	}
	defer leave()
	l.restIfStopped(ctx, u, g, x)
}

// restIfStopped asks QEMU, whose word counts: while it may be running the leases stay.
func (l *locks) restIfStopped(ctx context.Context, u protocol.UUID, g *guestLocks, x qmp.Executor) {
	if !g.held {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if now, err := qmp.QueryStatus(ctx, x); err == nil && !now.Running && now.Status != "suspended" {
		l.drop(ctx, u, g)
	}
}

// reclaim makes sure that lockd knows of the leases of a guest that runs: after a start of ours or of lockd's, and when QEMU
// let the guest run by itself. x may be nil for a guest whose QEMU does not answer: it counts as running.
func (l *locks) reclaim(ctx context.Context, u protocol.UUID, x qmp.Executor) error {
	g, leave, err := l.enter(ctx, u)
	if err != nil || g == nil {
		return err
	}
	defer leave()
	if x != nil {
		short, cancel := context.WithTimeout(ctx, lockPatience)
		now, err := qmp.QueryStatus(short, x)
		cancel()
		if err == nil && !now.Running && now.Status != "suspended" {
			l.drop(ctx, u, g) // it may have stopped while nobody looked
			return nil
		}
	}
	return l.take(ctx, g)
}

// grow acquires leases that a guest is to hold from now on. undo lets go of them again.
func (l *locks) grow(ctx context.Context, u protocol.UUID, undo *kit.Undo, more []lockd.Lease) error {
	if len(more) == 0 {
		return nil
	}
	g, leave, err := l.enter(ctx, u)
	if err != nil || g == nil {
		return err
	}
	defer leave()
	for _, m := range more {
		if slices.ContainsFunc(g.want, func(o lockd.Lease) bool { return sameLease(o, m) && !(o.Shared && m.Shared) }) {
			return liberr.New(liberr.FromLockspace, liberr.ResourceBusy, "Lockspace resource '%s' is locked", m.Name)
		}
	}
	if g.held {
		if err := l.request(ctx, g, lockd.TakeNew, more); err != nil {
			return err
		}
	}
	g.want = append(slices.Clone(g.want), more...)
	undo.Add("let go of leases", func(ctx context.Context) error {
		l.shrink(ctx, u, more)
		return nil
	})
	return nil
}

// shrink lets go of leases that a guest needs no more. One that it does not have is passed over.
func (l *locks) shrink(ctx context.Context, u protocol.UUID, less []lockd.Lease) {
	if len(less) == 0 {
		return
	}
	g, leave, err := l.enter(ctx, u)
	if err != nil || g == nil {
		return
	}
	defer leave()
	var gone []lockd.Lease
	for _, m := range less {
		if i := slices.IndexFunc(g.want, func(o lockd.Lease) bool { return sameLease(o, m) }); i >= 0 {
			gone = append(gone, g.want[i])
			g.want = slices.Delete(slices.Clone(g.want), i, i+1)
		}
	}
	if !g.held || len(gone) == 0 {
		return
	}
	if err := l.request(ctx, g, lockd.Drop, gone); err != nil {
		l.drv.env.Log.Warn().Err(err).Stringer("uuid", u).Msg("cannot release leases of a running guest")
	}
}

func sameLease(a, b lockd.Lease) bool { return a.Space == b.Space && a.Name == b.Name }
