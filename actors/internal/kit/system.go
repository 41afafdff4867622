package kit

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/mailbox"
	"virtree/wire/liberr"
)

// NewSystem makes an actor system. address is what its PIDs carry, "unix:/run/..." where other processes reach it; it is
// set before the first spawn because PIDs made earlier would claim to be everybody's own. Empty: nobody reaches it.
func NewSystem(address string, logger zerolog.Logger) *actor.ActorSystem {
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(bridge{zerolog.NewSlogHandler(logger)}) }),
		func(c *actor.Config) { c.DeadLetterRequestLogging = false }, // an asker gets an answer; that is enough
	)
	if address != "" {
		system.ProcessRegistry.Address = address
	}
	mailbox.Attach(system)
	system.Extensions.Register(&jobRegistry{live: make(map[*Running]struct{})})
	system.Extensions.Register(&debts{open: map[string]map[Debt]struct{}{}})
	system.EventStream.Subscribe(func(event any) { deadLetter(system, event) })
	return system
}

// deadLetter answers requests to a name that nobody has: the framework's own answer does not say which request it is for.
// It runs in the goroutine of whoever sent the request.
func deadLetter(system *actor.ActorSystem, event any) {
	d, ok := event.(*actor.DeadLetterEvent)
	if !ok || d.PID == nil {
		return
	}
	switch m := d.Message.(type) {
	case Answerable, interface{ RequestSerial() uint64 }:
		Refuse(system, d.Sender, m, liberr.New(liberr.FromRPC, liberr.InternalError, "%s is gone", d.PID.Id))
	case interface{ Discard() }:
		m.Discard() // a result for an actor that died
	}
}

// bridge takes protoactor's records to zerolog. It prints PIDs as protobuf text and messages whole, under the key that
// zerolog uses for the text of the line; and what it calls information is noise to an operator.
type bridge struct{ next slog.Handler }

func (b bridge) Enabled(ctx context.Context, level slog.Level) bool {
	return b.next.Enabled(ctx, level)
}

func (b bridge) Handle(ctx context.Context, r slog.Record) error {
	level := r.Level
	if noise[r.Message] {
		level = demote(level)
	}
	if !b.next.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(plain(a))
		return true
	})
	return b.next.Handle(ctx, out)
}

func (b bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = plain(a)
	}
	return bridge{b.next.WithAttrs(out)}
}

func (b bridge) WithGroup(name string) slog.Handler { return bridge{b.next.WithGroup(name)} }

// noise is what the framework reports as information although the tree reports it better, or nobody wants it.
var noise = map[string]bool{
	"actor system started": true, "[ACTOR] Recovering": true, "[DeadLetter]": true, "[SUPERVISION]": true,
}

func demote(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}

func plain(a slog.Attr) slog.Attr {
	if a.Key == "message" {
		return slog.String("type", fmt.Sprintf("%T", a.Value.Any()))
	}
	if pid, ok := a.Value.Any().(*actor.PID); ok {
		return slog.String(a.Key, pid.GetId())
	}
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, err.Error())
	}
	return a
}
