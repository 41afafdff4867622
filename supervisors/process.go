package supervisors

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Command is what to run for a branch that is a process.
type Command struct {
	Path       string   // of the binary; "" = the one that runs now
	Args       []string // argv; Args[0] is the daemon's name, by which the binary knows what to be
	Env        []string // added to our own, less what systemd meant for us alone
	Dir        string
	ExtraFiles []*os.File // from descriptor 3 on
	Stdout     *os.File   // nil = ours
	Stderr     *os.File
	Watchdog   time.Duration // it must send WATCHDOG=1 at least so often; 0 = not
	OnDemand   bool          // an exit with 0 means: nothing to do. It is started again by Tree.Wake
}

// killLimit is how long a process may take to die of SIGKILL before it is counted as lost (a hung device does that).
const killLimit = 2 * time.Second

// process is the actor of a branch that runs in a process of its own.
//
//	        fork     READY=1        exits, killed, silent
//	down ---------> starting ---> up --------------------> waiting --delay--> starting
//	  ^                 \--Startup over--> killed ----------^    \ too often
//	  |                                                           quarantined --parole, wake--> starting
//	  +-- wake -- idle <--exit 0, OnDemand-- up
//	up, starting --Shutdown--> stopping --exit, or limits over--> ShutdownDone
type process struct {
	tree    *Tree
	branch  Branch
	command Command
	history *History

	state   processState
	since   time.Time
	step    uint64  // of the state; timers of earlier ones are void
	run     *keeper // the process; nil when there is none
	lastErr error
	beat    time.Time // last WATCHDOG=1
	note    string    // its STATUS=
	dying   error     // why we killed it
	asker   *actor.PID
}

type processState string

const (
	down        processState = "down"
	starting    processState = "starting"
	up          processState = "running"
	restarting  processState = "restarting"
	quarantined processState = "quarantined"
	idle        processState = "idle"
	stopping    processState = "stopping"
)

// What the keeper and the timers send. Each names its process or step, since a late one may be about another life.
type (
	processForked struct{ of *keeper }
	processNotice struct {
		of   *keeper
		text string
	}
	processExited struct {
		of  *keeper
		err error // of fork, or of Wait; nil after an exit with 0
	}
	processDue struct{ step uint64 }
)

func (*processForked) Urgent() bool { return true }
func (*processNotice) Urgent() bool { return true }
func (*processExited) Urgent() bool { return true }
func (*processDue) Urgent() bool    { return true }

func processProps(t *Tree, b Branch, c Command) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		return &process{tree: t, branch: b, command: c, history: NewHistory(b.Process), state: down}
	}, t.opts.Props...)
}

func (p *process) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		p.fork(ctx)
	case *actor.Stopping, *actor.Restarting:
		p.letGo()
	case *processForked:
		if m.of == p.run {
			p.publish(ctx)
		}
	case *processNotice:
		if m.of == p.run {
			p.notice(ctx, m.text)
		}
	case *processExited:
		if m.of == p.run {
			p.exited(ctx, m.err)
		}
	case *processDue:
		if m.step == p.step {
			p.due(ctx)
		}
	case *Shutdown:
		p.shutdown(ctx)
	case *Reload:
		if p.run != nil && p.state == up {
			p.run.signal(syscall.SIGHUP)
		}
	case *wake:
		if p.state == idle || p.state == quarantined || p.state == restarting {
			p.history.Release()
			p.fork(ctx)
		}
	case actor.AutoReceiveMessage, actor.SystemMessage:
	default:
		if p.tree.opts.Refuse != nil {
			p.tree.opts.Refuse(ctx.ActorSystem(), ctx.Sender(), m, elsewhere(p.branch))
		}
	}
}

// to begins a state. After limit (0 = none) a processDue comes, unless another state began before.
func (p *process) to(ctx actor.Context, s processState, limit time.Duration) {
	p.state, p.since = s, time.Now()
	p.step++
	if limit > 0 {
		later(ctx.ActorSystem(), ctx.Self(), limit, &processDue{p.step})
	}
	p.publish(ctx)
}

func (p *process) fork(ctx actor.Context) {
	system, self := ctx.ActorSystem(), ctx.Self()
	p.run = keep(p.command, func(msg any) { system.Root.Send(self, msg) })
	p.dying, p.note = nil, ""
	p.to(ctx, starting, p.branch.Startup)
}

// notice is what the process says in sd_notify's words.
func (p *process) notice(ctx actor.Context, text string) {
	for line := range strings.Lines(text) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); {
		case key == "READY" && value == "1":
			if p.state != starting {
				continue // the end of a reload
			}
			p.beat = time.Now()
			p.to(ctx, up, p.command.Watchdog)
			p.log().Int("pid", p.run.pid()).Dur("took", time.Since(p.run.began)).Msg("branch is up")
			ctx.Request(ctx.Parent(), &Ready{})
		case key == "WATCHDOG" && value == "1":
			p.beat = time.Now()
		case key == "STATUS":
			p.note = value
			p.publish(ctx)
		}
	}
}

// due: the state has lasted as long as it may.
func (p *process) due(ctx actor.Context) {
	switch p.state {
	case starting:
		p.kill(ctx, fmt.Errorf("not ready within %v", p.branch.Startup), unix.SIGKILL)
	case up:
		if left := p.command.Watchdog - time.Since(p.beat); left > 0 {
			later(ctx.ActorSystem(), ctx.Self(), left, &processDue{p.step})
			return
		}
		p.kill(ctx, fmt.Errorf("no sign of life for %v", p.command.Watchdog), unix.SIGABRT) // a Go program prints its stacks
	case restarting:
		p.fork(ctx)
	case quarantined:
		p.history.Release()
		p.fork(ctx)
	case stopping:
		if p.dying == nil {
			p.kill(ctx, errors.New("did not stop in time"), unix.SIGKILL)
			return
		}
		p.log().Int("pid", p.run.pid()).Msg("process does not die")
		p.done(ctx, 1)
	}
}

// kill ends a process that does not do its duty. What follows its death is decided by exited.
func (p *process) kill(ctx actor.Context, why error, with syscall.Signal) {
	p.dying = why
	p.log().Int("pid", p.run.pid()).Err(why).Msg("killing branch process")
	p.run.signal(with)
	p.run.killAfter(time.Second)
	if p.state == stopping {
		p.to(ctx, stopping, killLimit)
	} else {
		p.step++ // no second time
	}
}

func (p *process) exited(ctx actor.Context, err error) {
	pid, lived := p.run.pid(), time.Since(p.run.began)
	p.run = nil
	if p.state == stopping {
		p.log().Int("pid", pid).AnErr("exit", err).Msg("branch has stopped")
		p.done(ctx, 0)
		return
	}
	if err == nil && p.dying == nil && p.command.OnDemand {
		p.log().Int("pid", pid).Msg("branch left for want of work")
		p.to(ctx, idle, 0)
		return
	}
	switch {
	case p.dying != nil:
		err = p.dying
	case err == nil:
		err = errors.New("exited unasked")
	}
	p.lastErr = err
	v := p.history.Fail(time.Now())
	Report(ctx.ActorSystem(), Trouble{Kind: TroubleExit, Actor: ctx.Self().Id, Reason: fmt.Sprintf("process %d of %s: %v", pid, p.branch.Daemon, err)})
	line := p.log().Int("pid", pid).Err(err).Dur("lived", lived).Int("failures", p.history.Total()).Dur("delay", v.Delay)
	switch {
	case !v.GiveUp:
		line.Msg("branch process ended, restarting")
		p.to(ctx, restarting, max(v.Delay, time.Millisecond))
	case p.branch.Vital:
		line.Msg("branch process ends too often")
		p.tree.fail(fmt.Errorf("branch %s: %w", p.branch.Name, err))
	default:
		line.Msg("branch process ends too often, quarantined")
		p.to(ctx, quarantined, v.Delay)
		ctx.Request(ctx.Parent(), &Ready{}) // those that wait for it may go on
	}
}

func (p *process) shutdown(ctx actor.Context) {
	p.asker = ctx.Sender()
	if p.run == nil {
		p.done(ctx, 0)
		return
	}
	if p.state == stopping {
		return
	}
	p.dying = nil
	p.to(ctx, stopping, p.branch.Shutdown)
	p.run.signal(syscall.SIGTERM)
}

func (p *process) done(ctx actor.Context, lost int) {
	p.to(ctx, down, 0)
	if p.asker != nil {
		ctx.Request(p.asker, &ShutdownDone{Lost: lost})
		p.asker = nil
	}
}

// letGo: we are stopped without having been asked to shut down. The process must not outlive us.
func (p *process) letGo() {
	if p.run != nil {
		p.run.signal(syscall.SIGTERM)
		p.run.killAfter(p.branch.Shutdown)
		p.run = nil
	}
}

func (p *process) log() *zerolog.Event {
	return p.tree.opts.Log.Info().Str("branch", p.branch.Name)
}

// elsewhere is the answer to a request that was sent to the keeper of a process instead of to the branch in it.
func elsewhere(b Branch) *liberr.Error {
	return liberr.New(liberr.FromRPC, liberr.InternalError, "branch %s runs in the process %s", b.Name, b.Daemon)
}

func (p *process) publish(ctx actor.Context) {
	f := Facts{Kind: "process", Title: p.note, State: string(p.state), Restarts: p.history.Total(), Since: p.since}
	if p.run != nil {
		f.OSPid = p.run.pid()
	}
	if p.lastErr != nil {
		f.LastError = p.lastErr.Error()
	}
	Describe(ctx, f)
}

// childEnv is our environment without what systemd said to us alone.
func childEnv(notify string, c Command) []string {
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		switch key {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "MAINPID":
		default:
			env = append(env, kv)
		}
	}
	env = append(env, "NOTIFY_SOCKET="+notify)
	if c.Watchdog > 0 {
		env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(c.Watchdog.Microseconds(), 10))
	}
	return append(env, c.Env...)
}
