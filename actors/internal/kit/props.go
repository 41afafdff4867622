package kit

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/mailbox"
	"virtree/wire/remoting/dispatch"
)

// DefaultLimit of requests that wait for one actor. A client is stopped at its own socket long before; this is the
// second line, against a flood inside the tree.
const DefaultLimit = 4096

// Dispatcher runs all actors of the process. A goroutine that reads messages from a socket can be its host (package
// dispatch), which spares a call the goroutines between the socket and its answer.
var Dispatcher = dispatch.New()

// Option changes what Props assembles.
type Option func(*config)

type config struct {
	box   mailbox.Options
	props []actor.PropsOption
}

// Kind names what the actor is ("domain", "client"); `virtree tree` shows it.
func Kind(name string) Option { return func(c *config) { c.box.Kind = name } }

// Limit sets how many requests may wait; 0 = no limit.
func Limit(n int) Option { return func(c *config) { c.box.Limit = n } }

// Slow sets how long one message may take before the watchdog reports it.
func Slow(d time.Duration) Option { return func(c *config) { c.box.Slow = d } }

// Abandon sets how long one message may take before the supervisor gives the actor up.
func Abandon(d time.Duration) Option { return func(c *config) { c.box.Abandon = d } }

// Answer replaces the answer to refused and left-over messages.
func Answer(f mailbox.Answerer) Option { return func(c *config) { c.box.Answer = f } }

// With passes options to the framework; one that replaces the mailbox undoes what this package is for.
func With(opts ...actor.PropsOption) Option {
	return func(c *config) { c.props = append(c.props, opts...) }
}

// Props describes an actor of the tree.
func Props(producer actor.Producer, opts ...Option) *actor.Props {
	return actor.PropsFromProducer(producer, PropsOptions(opts...)...)
}

// Func is Props for an actor that is only a function.
func Func(receive actor.ReceiveFunc, opts ...Option) *actor.Props {
	return Props(func() actor.Actor { return receive }, opts...)
}

// PropsOptions is the same for packages that may not import this one and take their props from outside.
func PropsOptions(opts ...Option) []actor.PropsOption {
	c := &config{box: mailbox.Options{Limit: DefaultLimit, Answer: refused, Crash: crashed}}
	for _, o := range opts {
		o(c)
	}
	return append([]actor.PropsOption{actor.WithDispatcher(Dispatcher), actor.WithMailbox(mailbox.Producer(&c.box))}, c.props...)
}
