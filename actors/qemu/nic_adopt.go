package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// rejoinLimit bounds the attempts to bring an adopted guest's NICs and the other drivers together again; the guest has its
// links all the while.
const rejoinLimit = time.Minute

// rejoinPause is the time between two attempts. Nobody tells when a driver that is away is back.
const rejoinPause = time.Second

// rejoinNetworks sees to it that an adopted guest's NICs have what they had: their ports, their place on a bridge, their
// filters. Whoever kept that may have been away, or started anew, while we were.
func (d *domain) rejoinNetworks(ctx actor.Context) {
	nics := d.nics()
	if len(nics) == 0 {
		return
	}
	def, err := d.live.Def()
	if err != nil {
		return
	}
	run, drv, log := d.run, d.drv, d.log
	d.aside(ctx, &task{
		name: "rejoin networks", limit: rejoinLimit,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, retry(jc, func(ctx context.Context) error { return drv.rejoin(ctx, def) })
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if d.run == run && !run.ending {
				return nil, nil
			}
			// It ended meanwhile, and what was just asked for again is nobody's.
			d.aside(ctx, &task{name: "leave networks", run: func(context.Context, *kit.Undo) (any, error) {
				for i := range nics {
					drv.releaseFilter(&nics[i])
					drv.releasePort(&nics[i])
				}
				return nil, nil
			}})
			return nil, nil
		},
		failed: func(_ *domain, _ actor.Context, err error) error {
			log.Error().Err(err).Msg("cannot bring the guest's interfaces and their networks together again")
			return err
		},
	})
}

// final tells errors that another attempt does not change from those of a driver that is away.
func final(err error) bool {
	for _, away := range []liberr.Code{liberr.RPC, liberr.OperationTimeout, liberr.NoConnect} {
		if errors.Is(err, away) {
			return false
		}
	}
	return true
}

// retry asks another driver until it has answered.
func retry(ctx context.Context, ask func(ctx context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil || final(err) {
			return err
		}
		select {
		case <-time.After(rejoinPause):
		case <-ctx.Done():
			return err
		}
	}
}

// rejoin is one attempt. It does what it can, whatever else fails.
func (s *shared) rejoin(ctx context.Context, def *libvirtxml.Domain) error {
	var all []error
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		name := hostLink(n)
		if n.Source != nil && n.Source.Network != nil && n.Source.Network.PortID != "" {
			all = append(all, s.reclaimPort(ctx, def, n))
		}
		if kind := actualKind(n); name != "" && (kind == "network" || kind == "bridge") && bridgeOf(n) != "" {
			all = append(all, reattachTap(ctx, n, def.UUID))
		}
		if n.FilterRef != nil && name != "" {
			all = append(all, s.rebindFilter(ctx, def, n))
		}
	}
	return errors.Join(all...)
}

// nics are the running guest's, for a job to read; nil when it does not run.
func (d *domain) nics() []libvirtxml.DomainInterface {
	if d.live == nil {
		return nil
	}
	def, err := d.live.Def()
	if err != nil || def.Devices == nil {
		return nil
	}
	return def.Devices.Interfaces
}
