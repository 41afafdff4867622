package kit

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/liberr"
)

// Stash keeps the messages that come before an actor is ready for them. It is touched only inside the actor's
// Receive; the zero value keeps everything.
type Stash struct {
	ready bool
	kept  []*actor.MessageEnvelope
}

// Ready tells whether the actor takes messages as they come.
func (s *Stash) Ready() bool { return s.ready }

// Hold keeps the message in hand until Release, and tells whether it did.
func (s *Stash) Hold(ctx actor.Context) bool {
	if s.ready {
		return false
	}
	s.kept = append(s.kept, &actor.MessageEnvelope{Message: ctx.Message(), Sender: ctx.Sender()})
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
		if e.Sender != nil {
			root.RequestWithCustomSender(self, e.Message, e.Sender)
		} else {
			root.Send(self, e.Message)
		}
	}
}

// Refuse answers what is kept with an error; for Stopping and Restarting.
func (s *Stash) Refuse(ctx actor.Context, err *liberr.Error) {
	kept := s.kept
	s.kept = nil
	for _, e := range kept {
		Refuse(ctx.ActorSystem(), e.Sender, e.Message, err)
	}
}
