package mailbox

import (
	"context"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Urgent marks a message that goes before ordinary requests and is never refused: replies, results, cancels, ticks.
type Urgent interface{ Urgent() bool }

// Reason says why a message was not delivered.
type Reason uint8

const (
	Busy   Reason = iota + 1 // the normal lane is full
	Gone                     // the actor stopped
	Stuck                    // the actor was abandoned with this message in its queue, or before it came
	InHand                   // the actor was abandoned in this message, and may still use all that it holds
)

func (r Reason) String() string { return [...]string{"", "busy", "gone", "stuck", "in hand"}[r] }

// Answerer answers a message that will not be delivered. sender is nil for a message sent without one; the message may
// still name somebody to answer. It runs in the goroutine of whoever met the refusal and must not block.
type Answerer func(system *actor.ActorSystem, self, sender *actor.PID, msg any, why Reason)

// Options of one kind of actor. A pointer to it is shared by all mailboxes of that kind: constant after first use.
type Options struct {
	Kind   string   // "domain", "client": what the actor is, for whoever looks at the tree
	Limit  int      // of the normal lane; 0 = none. See fair.full
	Answer Answerer // nil: refused messages are only counted
	Crash  Crasher  // nil: the supervisor gets the bare panic value

	// A message that takes longer than Slow is for the watchdog to report, longer than Abandon for the supervisor to give
	// the actor up; 0 = the watchdog's own limits.
	Slow, Abandon time.Duration
}

// Crasher is told of a panic on the panicking stack, so that debug.Stack still shows it. It answers whoever waits for
// the lost message and returns the reason that the supervisor will see.
type Crasher func(system *actor.ActorSystem, self, sender *actor.PID, msg, panicked any) (reason any)

// Producer makes mailboxes for actor.WithMailbox.
func Producer(o *Options) actor.MailboxProducer {
	return func() actor.Mailbox { return New(o) }
}

const (
	system = iota
	urgent
	normal // in turns, see fair
)

// Mailbox implements actor.Mailbox. One lock guards all of it; it is never held while the actor or an Answerer runs.
//
//	unborn --Start--> idle <--> running ---stopped---> dead
//	                     \        /
//	                     abandoned ---(Receive came back, stopped)---> dead
type Mailbox struct {
	opts *Options

	// constant after RegisterHandlers
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	loop       func() // m.work, made once: a method value allocates
	system     *actor.ActorSystem
	self       *actor.PID
	parent     *actor.PID
	process    actor.Process // what the registry holds for self while we live
	labels     context.Context

	mu        sync.Mutex
	lane      [normal]ring
	requests  fair
	current   any   // message in Receive; nil when idle
	since     int64 // coarse time at which current was taken
	running   bool  // a goroutine has this mailbox
	started   bool
	suspended bool // failed, the supervisor is thinking; only system messages run
	stopping  bool // a Stop was seen: a Restart may not undo it
	abandoned bool
	dead      bool
	watchers  []*actor.PID // who must be told if we are abandoned
	counters
}

// counters are kept under mu.
type counters struct {
	processed uint64 // messages taken out, all lanes
	refused   uint64 // answered with Busy
	max       int    // deepest the user lanes ever were
}

// New makes a mailbox. A nil o means no limit and no answers.
func New(o *Options) *Mailbox {
	if o == nil {
		o = &Options{}
	}
	return &Mailbox{opts: o}
}

// RegisterHandlers implements actor.Mailbox; the name is registered by now.
func (m *Mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher, m.loop = invoker, dispatcher, m.work
	ctx, ok := invoker.(actor.Context)
	if !ok {
		return // a bare invoker, in tests: no name, no registry
	}
	m.system, m.self, m.parent = ctx.ActorSystem(), ctx.Self(), ctx.Parent()
	m.process, _ = m.system.ProcessRegistry.GetLocal(m.self.Id)
	m.labels = pprof.WithLabels(context.Background(), pprof.Labels("actor", m.self.Id))
}

// Start implements actor.Mailbox: from here on messages are worked off.
func (m *Mailbox) Start() {
	m.register()
	m.mu.Lock()
	m.started = true
	run := m.claim()
	m.mu.Unlock()
	if run {
		m.dispatcher.Schedule(m.loop)
	}
}

// PostUserMessage implements actor.Mailbox.
func (m *Mailbox) PostUserMessage(message any) {
	inner := message
	if env, ok := message.(*actor.MessageEnvelope); ok {
		inner = env.Message
	}
	lane := laneOf(inner)
	var flow Flow
	if lane == normal {
		flow = flowOf(inner)
	}
	at := stamp()

	m.mu.Lock()
	if m.dead || m.abandoned {
		why := Gone
		if m.abandoned {
			why = Stuck
		}
		m.mu.Unlock()
		m.answer(message, why)
		return
	}
	if lane == normal {
		switch {
		case exempt(inner):
			m.requests.seal(entry{message, at})
		case m.opts.Limit > 0 && m.started && m.requests.full(flow, m.opts.Limit):
			m.refused++
			m.mu.Unlock()
			m.answer(message, Busy)
			return
		default:
			m.requests.push(entry{message, at}, flow)
		}
	} else {
		m.lane[lane].push(entry{message, at})
	}
	m.max = max(m.max, m.requests.n+m.lane[urgent].n)
	run := m.claim()
	m.mu.Unlock()
	if run {
		m.dispatcher.Schedule(m.loop)
	}
}

// PostSystemMessage implements actor.Mailbox.
func (m *Mailbox) PostSystemMessage(message any) {
	at := stamp()
	m.mu.Lock()
	watch, late := message.(*actor.Watch)
	late = late && (m.dead || m.abandoned)
	if m.dead || late {
		m.mu.Unlock()
		if late {
			m.tell(watch.Watcher, &actor.Terminated{Who: m.self})
		}
		return
	}
	m.lane[system].push(entry{message, at})
	run := m.claim()
	m.mu.Unlock()
	if run {
		m.dispatcher.Schedule(m.loop)
	}
}

// UserMessageCount implements actor.Mailbox.
func (m *Mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lane[urgent].n + m.requests.n
}

// laneOf sorts user messages. What the framework itself answers counts as a reply.
func laneOf(msg any) int {
	switch msg := msg.(type) {
	case Urgent:
		if msg.Urgent() {
			return urgent
		}
	case *actor.DeadLetterResponse, *actor.Touched, *actor.Touch:
		return urgent
	}
	return normal
}

// exempt from the limit: the message that works the queue off cannot be refused by a full queue.
func exempt(msg any) bool {
	_, poison := msg.(*actor.PoisonPill)
	return poison
}

// claim takes the right to run, when there is something to do and nobody does it. Call with mu held.
func (m *Mailbox) claim() bool {
	if m.running || !m.started || !m.ready() {
		return false
	}
	m.running = true
	return true
}

func (m *Mailbox) ready() bool {
	return m.lane[system].n > 0 || (!m.suspended && m.lane[urgent].n+m.requests.n > 0)
}

// next takes the next message, or gives up the right to run. Both under one lock, so no message is left behind.
func (m *Mailbox) next() (msg any, lane int, ok bool) {
	at := stamp()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready() {
		m.current, m.since, m.running = nil, 0, false
		return nil, 0, false
	}
	for lane < normal && m.lane[lane].n == 0 {
		lane++
	}
	if lane < normal {
		msg = m.lane[lane].pop().msg
	} else {
		msg = m.requests.pop().msg
	}
	m.current, m.since = msg, at
	m.processed++
	return msg, lane, true
}

// work runs in a goroutine of its own until there is nothing to do.
func (m *Mailbox) work() {
	if m.labels != nil {
		pprof.SetGoroutineLabels(m.labels)
	}
	for m.burst() {
	}
}

// burst handles messages until the mailbox is empty (false) or a message panicked (true).
func (m *Mailbox) burst() (again bool) {
	var msg any
	var lane int
	clean := false
	defer func() {
		if clean {
			return
		}
		if reason := recover(); reason != nil {
			m.failed(reason, msg, lane)
			again = true
			return
		}
		// runtime.Goexit: this goroutine dies with the right to run. Go on in another one.
		m.failed(errGoexit, msg, lane)
		m.dispatcher.Schedule(m.loop)
	}()
	throughput := m.dispatcher.Throughput()
	for i := 0; ; i++ {
		if i > throughput {
			i = 0
			runtime.Gosched()
		}
		var ok bool
		if msg, lane, ok = m.next(); !ok {
			clean = true
			return false
		}
		if lane == system {
			m.invokeSystem(msg)
		} else if i, ok := msg.(*Injected); ok {
			i.Fault.Inject()
		} else {
			m.invoker.InvokeUserMessage(msg)
		}
	}
}

func (m *Mailbox) invokeSystem(msg any) {
	switch msg := msg.(type) {
	case *actor.SuspendMailbox:
		m.setSuspended(true)
	case *actor.ResumeMailbox:
		m.setSuspended(false)
	case *actor.Restart:
		if m.isStopping() {
			return // a restart that crossed a stop would bring back what was told to go
		}
		m.invoker.InvokeSystemMessage(msg)
	case *actor.Stop:
		m.mu.Lock()
		m.stopping = true
		m.mu.Unlock()
		m.invoker.InvokeSystemMessage(msg)
		m.bury()
	case *actor.Terminated:
		m.invoker.InvokeSystemMessage(msg)
		m.bury()
	case *actor.Watch:
		m.addWatcher(msg.Watcher)
		m.invoker.InvokeSystemMessage(msg)
	case *actor.Unwatch:
		m.dropWatcher(msg.Watcher)
		m.invoker.InvokeSystemMessage(msg)
	default:
		m.invoker.InvokeSystemMessage(msg)
	}
}

func (m *Mailbox) setSuspended(on bool) {
	m.mu.Lock()
	m.suspended = on
	m.mu.Unlock()
}

func (m *Mailbox) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}
