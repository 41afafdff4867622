package network

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// affect tells which of its definitions a call is about.
type affect struct{ live, config bool }

// affected resolves the flags CURRENT, LIVE and CONFIG, and refuses what the network does not have.
func (n *network) affected(flags uint32) (affect, error) {
	a := affect{flags&virt.NetworkUpdateAffectLive != 0, flags&virt.NetworkUpdateAffectConfig != 0}
	if !a.live && !a.config {
		a.live = n.live != nil
		a.config = !a.live
	}
	if a.live && n.live == nil {
		return a, liberr.New(from, liberr.OperationInvalid, "network is not running")
	}
	if a.config && n.config == nil {
		return a, liberr.New(from, liberr.OperationInvalid, "cannot change persistent config of a transient network")
	}
	return a, nil
}

const affectFlags = virt.NetworkUpdateAffectLive | virt.NetworkUpdateAffectConfig

// edit changes definitions in place of the persistent and the live one, as flags say, both by the same function.
type edit struct {
	flags  uint32
	change func(*definition) error // of a copy
	// prepare runs in Receive before the job of an edit that touches the live definition; effect in that job, to bring
	// the running network from the old to the new definition. Both may be nil.
	prepare func(n *network)
	effect  func(jc context.Context, undo *kit.Undo, before, after *definition) error
	then    func(n *network, ctx actor.Context) // after a success; may be nil
	failed  func(n *network, ctx actor.Context) // after a failure; may be nil
}

// edited is what an edit made.
type edited struct {
	live   *status
	config *definition
}

// edit is answered when what is persistent is on disk. The configuration is stored last: a change that the running network
// cannot take must not come back with the next start.
func (n *network) edit(ctx actor.Context, r *call.Request, e edit) {
	drv := n.drv
	t := &task{
		name: "edit", req: r,
		decide: func(n *network) (work, error) {
			aff, err := n.affected(e.flags)
			if err != nil {
				return nil, err
			}
			out := edited{}
			if aff.live {
				out.live = n.live.clone()
				out.live.def = n.live.def.clone()
				if err := e.change(out.live.def); err != nil {
					return nil, err
				}
			}
			if aff.config {
				out.config = n.config.clone()
				if err := e.change(out.config); err != nil {
					return nil, err
				}
			}
			before := n.liveDef()
			if aff.live && e.prepare != nil {
				e.prepare(n)
			}
			old := n.live
			return func(jc context.Context, undo *kit.Undo) (any, error) {
				if aff.live {
					if e.effect != nil {
						if err := e.effect(jc, undo, before, out.live.def); err != nil {
							return nil, err
						}
					}
					undo.Add("put the status back", func(context.Context) error { return drv.storeStatus(old) })
					if err := drv.storeStatus(out.live); err != nil {
						return nil, err
					}
				}
				if aff.config {
					return out, drv.storeConfig(out.config)
				}
				return out, nil
			}, nil
		},
		apply: func(n *network, ctx actor.Context, v any) (protocol.Encoder, error) {
			out := v.(edited)
			if out.live != nil {
				n.live = out.live
			}
			if out.config != nil {
				n.config = out.config
			}
			n.tell(ctx)
			if e.then != nil {
				e.then(n, ctx)
			}
			return nil, nil
		},
	}
	if e.failed != nil {
		t.failed = func(n *network, ctx actor.Context, _ error) { e.failed(n, ctx) }
	}
	n.begin(ctx, t)
}
