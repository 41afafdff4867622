package secret

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/liberr"
)

// Fetch asks the secret branch, at to, for a value, from a goroutine: never from an actor's Receive. The caller owns the
// value and wipes it after use. Its errors are libvirt's.
func Fetch(ctx context.Context, root *actor.RootContext, to *actor.PID, a Ask) ([]byte, error) {
	if to == nil {
		return nil, liberr.New(from, liberr.NoConnect, "Failed to find a secret storage driver")
	}
	patience := 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	a.Serial = 1
	answer, err := root.RequestFuture(to, &a, max(patience, time.Millisecond)).Result()
	if err != nil {
		return nil, liberr.New(liberr.FromRPC, liberr.OperationTimeout, "the secret driver does not answer").WithCause(err)
	}
	v, ok := answer.(*Value)
	switch {
	case !ok:
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)
	case v.Err != nil:
		return nil, v.Err
	}
	return v.Value, nil
}
