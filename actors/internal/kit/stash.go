package kit

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/liberr"
)

// Stash keeps the messages that come before an actor is ready for them. It is touched only inside the actor's
// Receive; the zero value keeps everything.
type Stash struct {
	ready bool
	kept  []*stashed
}

// stashed is a message that is kept. Whoever takes it answers for it: the actor, or the watchdog for an actor that is
// stuck.
type stashed struct {
	system *actor.ActorSystem
	msg    any
	sender *actor.PID
	taken  atomic.Bool
}

// From is the domain of the error, if the message has one.
func (s *stashed) From() liberr.Domain {
	if m, ok := s.msg.(interface{ From() liberr.Domain }); ok {
		return m.From()
	}
	return liberr.FromRPC
}

// Fail refuses the message.
func (s *stashed) Fail(err error) {
	if s.taken.CompareAndSwap(false, true) {
		Refuse(s.system, s.sender, s.msg, liberr.From(s.From(), err))
	}
}

// Ready tells whether the actor takes messages as they come.
func (s *Stash) Ready() bool { return s.ready }

// Hold keeps the message in hand until Release, and tells whether it did.
func (s *Stash) Hold(ctx actor.Context) bool {
	if s.ready {
		return false
	}
	kept := &stashed{system: ctx.ActorSystem(), msg: ctx.Message(), sender: ctx.Sender()}
	s.kept = append(s.kept, kept)
	Owe(kept.system, ctx.Self().Id, kept)
	return true
}

// Close makes the stash keep messages again, as before the first Release.
func (s *Stash) Close() { s.ready = false }

// Release makes the actor ready: what was kept comes again, in order, behind what is in its mailbox.
func (s *Stash) Release(ctx actor.Context) {
	s.ready = true
	kept := s.kept
	s.kept = nil
	root, self := ctx.ActorSystem().Root, ctx.Self()
	for _, e := range kept {
		Settle(e.system, self.Id, e)
		switch {
		case !e.taken.CompareAndSwap(false, true):
		case e.sender != nil:
			root.RequestWithCustomSender(self, e.msg, e.sender)
		default:
			root.Send(self, e.msg)
		}
	}
}

// Refuse answers what is kept with an error; for Stopping and Restarting.
func (s *Stash) Refuse(ctx actor.Context, err *liberr.Error) {
	kept := s.kept
	s.kept = nil
	for _, e := range kept {
		Settle(e.system, ctx.Self().Id, e)
		e.Fail(err)
	}
}
