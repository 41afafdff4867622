package supervisors

import (
	"io"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
)

func discard(*actor.ActorSystem) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}
