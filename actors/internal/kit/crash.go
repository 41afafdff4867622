package kit

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/supervisors"
	"virtree/wire/liberr"
)

// Crash is the reason of a failure, as supervisors see it: what a bare panic value leaves out.
type Crash struct {
	Actor   string // id of the actor
	Message string // type of the message in hand
	Panic   any
	Stack   string
}

// Error is short on purpose: the framework prints it in several places. The stack has been logged where it happened.
func (c *Crash) Error() string {
	return fmt.Sprintf("%s: panic in %s: %v", c.Actor, c.Message, c.Panic)
}

// Unwrap gives the panic value when it was an error.
func (c *Crash) Unwrap() error {
	err, _ := c.Panic.(error)
	return err
}

// crashed is the mailbox's Crasher: the panic is logged with its stack, whoever supervises the actor, and the asker of the
// lost message gets an error now instead of at its deadline.
func crashed(system *actor.ActorSystem, self, sender *actor.PID, msg, panicked any) any {
	c := &Crash{Actor: self.Id, Message: fmt.Sprintf("%T", msg), Panic: panicked, Stack: string(debug.Stack())}
	system.Logger().Error("actor crashed", slog.String("actor", c.Actor), slog.String("type", c.Message),
		slog.String("panic", fmt.Sprint(panicked)), slog.String("stack", c.Stack))
	supervisors.Report(system, supervisors.Trouble{Kind: supervisors.TroubleCrash, Actor: c.Actor, Message: c.Message, Reason: fmt.Sprint(panicked), Stack: belowPanic(c.Stack)})
	if !lifecycle(msg) {
		Refuse(system, sender, msg, liberr.New(liberr.FromRPC, liberr.InternalError, "%s failed: %v", self.Id, panicked))
	}
	return c
}

// belowPanic is the part of a stack that led to the panic, without what handles it.
func belowPanic(stack string) string {
	const marker = "\npanic("
	if i := strings.LastIndex(stack, marker); i >= 0 {
		rest := stack[i+1:]
		for range 2 { // the panic itself and its place
			_, rest, _ = strings.Cut(rest, "\n")
		}
		return rest
	}
	return stack
}
