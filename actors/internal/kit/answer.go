package kit

import (
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/mailbox"
	"virtree/supervisors"
	"virtree/wire/liberr"
)

// Answerable is a request that can make the reply that says it failed. It also gives back what the request owns
// (descriptors). Whoever could not deliver or finish the request calls Refuse; nil means that it has its answer.
type Answerable interface {
	Refuse(err *liberr.Error) (reply any)
}

// Held is a request that can be answered for while an actor which does not come back may still use all that it holds. nil
// means that it has its answer.
type Held interface {
	Overdue(err *liberr.Error) (reply any)
}

// Failed is the reply to a request that is not Answerable. Serial is the request's, if it has one.
type Failed struct {
	Serial uint64
	Err    *liberr.Error
}

// Urgent puts it before ordinary work.
func (*Failed) Urgent() bool { return true }

// ReplySerial pairs it with the request.
func (f *Failed) ReplySerial() uint64 { return f.Serial }

// Refuse answers msg with err. A reply is never answered with another one.
func Refuse(system *actor.ActorSystem, sender *actor.PID, msg any, err *liberr.Error) {
	var reply any
	switch m := msg.(type) {
	case Answerable:
		reply = m.Refuse(err)
	case interface{ RequestSerial() uint64 }:
		reply = &Failed{Serial: m.RequestSerial(), Err: err}
	case interface{ ReplySerial() uint64 }:
		return
	default:
		reply = &Failed{Err: err}
	}
	if sender != nil && reply != nil {
		system.Root.Send(sender, reply)
	}
}

// overdue is what a caller hears whose call an actor holds that does not come back: what libvirt says when an object's
// lock is not to be had.
func overdue(msg any) *liberr.Error {
	from := liberr.FromRPC
	if m, ok := msg.(interface{ From() liberr.Domain }); ok {
		from = m.From()
	}
	return liberr.New(from, liberr.OperationTimeout, "cannot acquire state change lock")
}

// answerHeld answers for the message in the hands of an actor that was given up, and touches nothing of it.
func answerHeld(system *actor.ActorSystem, sender *actor.PID, msg any) {
	if sender == nil {
		return
	}
	switch m := msg.(type) {
	case Held:
		if reply := m.Overdue(overdue(m)); reply != nil {
			system.Root.Send(sender, reply)
		}
	case interface{ RequestSerial() uint64 }:
		system.Root.Send(sender, &Failed{Serial: m.RequestSerial(), Err: overdue(m)})
	}
}

// refused is the mailbox's Answerer.
func refused(system *actor.ActorSystem, self, sender *actor.PID, msg any, why mailbox.Reason) {
	if why == mailbox.InHand {
		answerHeld(system, sender, msg)
		return
	}
	if lifecycle(msg) {
		return
	}
	if d, ok := msg.(interface{ Discard() }); ok {
		d.Discard() // a job's result, with what it holds
		return
	}
	if sender == nil {
		system.Logger().Warn("message lost", slog.String("actor", self.Id), slog.String("type", fmt.Sprintf("%T", msg)),
			slog.String("why", why.String()))
	}
	err := liberr.New(liberr.FromRPC, liberr.InternalError, "%s is gone", self.Id)
	switch why {
	case mailbox.Busy:
		err = liberr.New(liberr.FromRPC, liberr.ResourceBusy, "%s has too many requests waiting", self.Id)
	case mailbox.Stuck:
		err = overdue(msg)
	}
	Refuse(system, sender, msg, err)
}

// Unhandled is the default case of a Receive: it logs a message that nobody expected and answers its sender. What the
// framework sends to every actor may be ignored, and is ignored here.
func Unhandled(ctx actor.Context, msg any) {
	if lifecycle(msg) {
		return
	}
	if _, ok := msg.(*supervisors.Shutdown); ok { // nothing below us to stop: the framework's stop may follow
		ctx.Request(ctx.Sender(), &supervisors.ShutdownDone{})
		return
	}
	ctx.Logger().Warn("unhandled message", slog.String("actor", ctx.Self().Id), slog.String("type", fmt.Sprintf("%T", msg)))
	Refuse(ctx.ActorSystem(), ctx.Sender(), msg,
		liberr.New(liberr.FromRPC, liberr.InternalError, "%s does not understand %T", ctx.Self().Id, msg))
}

// lifecycle messages are notices: ignoring one harms nobody.
func lifecycle(msg any) bool {
	switch msg.(type) {
	case actor.AutoReceiveMessage, actor.SystemMessage, *actor.DeadLetterResponse, *actor.Touch, *actor.Touched,
		*actor.ReceiveTimeout, *Failed, *supervisors.ChildStuck, *supervisors.Reload:
		return true
	}
	return false
}
