package qemu

import (
	"context"
	"math"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// What a domain that migrates nowhere answers about migrations.

// migrationParameter asks QEMU for one of its parameters of migration.
func (d *domain) migrationParameter(ctx actor.Context, r *call.Request, name string, ret func(uint64) protocol.Encoder) error {
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		params, err := qmp.QueryMigrateParameters(jc, mon)
		if err != nil {
			return nil, err
		}
		n, ok := params[name].(float64)
		if !ok {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "unable to get migration parameter '%s'", name)
		}
		return ret(uint64(n)), nil
	})
}

func (d *domain) migrateMaxDowntime(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateGetMaxDowntimeArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMigrateGetMaxDowntime"); err != nil {
		return err
	}
	return d.migrationParameter(ctx, r, "downtime-limit", func(ms uint64) protocol.Encoder {
		return &protocol.DomainMigrateGetMaxDowntimeRet{Downtime: ms}
	})
}

func (d *domain) migrateSetMaxDowntime(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateSetMaxDowntimeArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMigrateSetMaxDowntime"); err != nil {
		return err
	}
	return d.setMigrationParameter(ctx, r, "downtime-limit", a.Downtime)
}

func (d *domain) migrateCompressionCache(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateGetCompressionCacheArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMigrateGetCompressionCache"); err != nil {
		return err
	}
	return d.migrationParameter(ctx, r, "xbzrle-cache-size", func(size uint64) protocol.Encoder {
		return &protocol.DomainMigrateGetCompressionCacheRet{CacheSize: size}
	})
}

func (d *domain) migrateSetCompressionCache(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateSetCompressionCacheArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMigrateSetCompressionCache"); err != nil {
		return err
	}
	return d.setMigrationParameter(ctx, r, "xbzrle-cache-size", a.CacheSize)
}

func (d *domain) setMigrationParameter(ctx actor.Context, r *call.Request, name string, value uint64) error {
	if err := d.running(); err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		return qmp.MigrateSetParameters(jc, mon, map[string]any{name: value})
	}, nil)
}

// maxBandwidth is libvirt's QEMU_DOMAIN_MIG_BANDWIDTH_MAX in MiB/s: no limit.
const maxBandwidth = math.MaxInt64 >> 20

// migratePostcopySpeed is VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY.
const migratePostcopySpeed = 1

func (d *domain) migrateMaxSpeed(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateGetMaxSpeedArgs) error {
	if err := call.CheckFlags(a.Flags, migratePostcopySpeed, liberr.FromQemu, "qemuDomainMigrateGetMaxSpeed"); err != nil {
		return err
	}
	if a.Flags&migratePostcopySpeed != 0 {
		return d.migrationParameter(ctx, r, "max-postcopy-bandwidth", func(n uint64) protocol.Encoder {
			return &protocol.DomainMigrateGetMaxSpeedRet{Bandwidth: n >> 20}
		})
	}
	r.Reply(&protocol.DomainMigrateGetMaxSpeedRet{Bandwidth: d.migrateSpeed})
	return nil
}

// migrateSetMaxSpeed serves virDomainMigrateSetMaxSpeed, in MiB/s. It is remembered until the daemon ends.
func (d *domain) migrateSetMaxSpeed(ctx actor.Context, r *call.Request, a *protocol.DomainMigrateSetMaxSpeedArgs) error {
	if err := call.CheckFlags(a.Flags, migratePostcopySpeed, liberr.FromQemu, "qemuDomainMigrateSetMaxSpeed"); err != nil {
		return err
	}
	if a.Bandwidth > maxBandwidth {
		return liberr.New(liberr.FromQemu, liberr.Overflow, "bandwidth must be less than %d", uint64(maxBandwidth+1))
	}
	speed, name := a.Bandwidth, "max-bandwidth"
	if a.Flags&migratePostcopySpeed != 0 {
		name = "max-postcopy-bandwidth"
	} else if !d.active() {
		d.migrateSpeed = speed
		r.Reply(nil)
		return nil
	}
	if err := d.running(); err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		return qmp.MigrateSetParameters(jc, mon, map[string]any{name: speed << 20})
	}, func(d *domain, _ actor.Context) (protocol.Encoder, error) {
		if name == "max-bandwidth" {
			d.migrateSpeed = speed
		}
		return nil, nil
	})
}

// migrateStartPostCopy serves virDomainMigrateStartPostCopy.
func (d *domain) migrateStartPostCopy(_ actor.Context, _ *call.Request, a *protocol.DomainMigrateStartPostCopyArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMigrateStartPostCopy"); err != nil {
		return nil, err
	}
	if err := d.running(); err != nil {
		return nil, err
	}
	return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "post-copy can only be started while outgoing migration is in progress")
}
