package qemu

import (
	"context"
	"os"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// define makes the definition persistent: it is answered when it is on disk.
func (d *domain) define(ctx actor.Context, m *define) {
	text, err := m.doc.Stored()
	if err != nil {
		m.req.Fail(err)
		d.dropIfNothing(ctx)
		return
	}
	drv, name := d.drv, d.name
	d.start(ctx, &task{
		kind: jobModify, name: "remoteDispatchDomainDefineXMLFlags", req: m.req,
		run: func(context.Context, *kit.Undo) (any, error) { return nil, drv.storeConfig(name, text) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			detail := int32(virt.DomainEventDefinedAdded)
			if d.config != nil {
				detail = virt.DomainEventDefinedUpdated
			}
			d.config, d.last = m.doc, nil
			d.config.rest()
			d.tell(ctx)
			d.lifecycle(ctx, virt.DomainEventDefined, detail)
			return defineRet(m.req, d.ref()), nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.dropIfNothing(ctx)
			return err
		},
	})
}

// defineRet is the answer in the form of the procedure that was called.
func defineRet(r *call.Request, ref protocol.Domain) protocol.Encoder {
	if r.Proc == protocol.DomainDefineXML.Procedure {
		return &protocol.DomainDefineXMLRet{Dom: ref}
	}
	return &protocol.DomainDefineXMLFlagsRet{Dom: ref}
}

// dropIfNothing ends a domain that was new and could not be defined.
func (d *domain) dropIfNothing(ctx actor.Context) {
	if d.config == nil && d.run == nil {
		d.forget(ctx)
	}
}

const undefineFlags = virt.DomainUndefineManagedSave | virt.DomainUndefineSnapshotsMetadata | virt.DomainUndefineNVRAM |
	virt.DomainUndefineKeepNVRAM | virt.DomainUndefineCheckpointsMetadata | virt.DomainUndefineTPM | virt.DomainUndefineKeepTPM

// undefine serves virDomainUndefineFlags: a running domain goes on as a transient one.
func (d *domain) undefine(ctx actor.Context, r *call.Request, flags uint32) error {
	if err := call.CheckFlags(flags, undefineFlags, liberr.FromQemu, "qemuDomainUndefineFlags"); err != nil {
		return err
	}
	if flags&virt.DomainUndefineNVRAM != 0 && flags&virt.DomainUndefineKeepNVRAM != 0 {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot both keep and delete nvram")
	}
	if flags&virt.DomainUndefineTPM != 0 && flags&virt.DomainUndefineKeepTPM != 0 {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot both keep and delete TPM")
	}
	if d.config == nil {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot undefine transient domain")
	}
	if d.saved && flags&virt.DomainUndefineManagedSave == 0 {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "Refusing to undefine while domain managed save image exists")
	}
	snapshots, err := d.snapshotsOnUndefine(flags)
	if err != nil {
		return err
	}
	nvram, err := d.nvramToRemove(flags)
	if err != nil {
		return err
	}
	drv, name, uuid := d.drv, d.name, d.uuid.String()
	image := ""
	if d.saved {
		image = drv.savePath(name)
	}
	tpm := false
	d.start(ctx, &task{
		kind: jobModify, req: r,
		begin: func(d *domain, _ actor.Context) error {
			if d.config == nil || d.active() {
				return nil // what a run uses goes with the run
			}
			def, err := d.config.Def()
			tpm = err == nil && forgetsTPM(def, flags)
			return err
		},
		run: func(context.Context, *kit.Undo) (any, error) {
			for _, path := range []string{image, nvram} {
				if path == "" {
					continue
				}
				if err := disk.Remove(path); err != nil {
					return nil, liberr.System(liberr.FromQemu, err, "failed to remove '%s'", path)
				}
			}
			if err := removeSnapshotDir(snapshots); err != nil {
				return nil, liberr.System(liberr.FromQemu, err, "failed to remove '%s'", snapshots)
			}
			if err := drv.dropConfig(name); err != nil {
				return nil, liberr.System(liberr.FromDomain, err, "cannot remove config %s", drv.configPath(name))
			}
			if tpm {
				drv.dropTPM(uuid)
			}
			return nil, nil
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.lifecycle(ctx, virt.DomainEventUndefined, virt.DomainEventUndefinedRemoved)
			if d.run != nil {
				d.last = d.config
			}
			d.config, d.autostart, d.saved = nil, false, false
			if d.run == nil {
				d.forget(ctx)
			} else {
				d.tell(ctx)
			}
			return nil, nil
		},
	})
	return nil
}

// nvramToRemove names the variable store that goes with the definition; libvirt wants to be told what to do
// with it while the guest is off.
func (d *domain) nvramToRemove(flags uint32) (string, error) {
	def, err := d.config.Def()
	if err != nil || def.OS == nil || def.OS.NVRam == nil || def.OS.NVRam.NVRam == "" {
		return "", err
	}
	path := def.OS.NVRam.NVRam
	if d.active() || !disk.Exists(path) || flags&virt.DomainUndefineKeepNVRAM != 0 {
		return "", nil
	}
	if flags&virt.DomainUndefineNVRAM == 0 {
		return "", liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot undefine domain with nvram")
	}
	return path, nil
}

// rename serves virDomainRename; the branch holds the new name for it until it hears renamed.
func (d *domain) rename(ctx actor.Context, m *rename) {
	over := func(ok bool) { ctx.Send(d.parent, &renamed{UUID: d.uuid, Old: d.name, New: m.name, OK: ok}) }
	if err := d.mayRename(m.name); err != nil {
		over(false)
		m.req.Fail(err)
		return
	}
	def, err := d.config.Clone()
	if err != nil {
		over(false)
		m.req.Fail(err)
		return
	}
	def.Name = m.name
	doc := newDocument(def, &d.drv.xmlEnv)
	text, err := doc.Stored()
	if err != nil {
		over(false)
		m.req.Fail(err)
		return
	}
	drv, old, auto := d.drv, d.name, d.autostart
	d.start(ctx, &task{
		kind: jobModify, req: m.req,
		run: func(_ context.Context, undo *kit.Undo) (any, error) {
			if err := drv.storeConfig(m.name, text); err != nil {
				return nil, err
			}
			undo.Add("remove the new definition", func(context.Context) error { return drv.dropConfig(m.name) })
			if auto {
				if err := disk.Symlink(drv.configPath(m.name), drv.autostartPath(m.name)); err != nil {
					return nil, err
				}
			}
			return nil, drv.dropConfig(old)
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.lifecycle(ctx, virt.DomainEventUndefined, virt.DomainEventUndefinedRenamed)
			d.name, d.config = m.name, doc
			d.log = d.drv.env.Log.With().Str("domain", d.name).Stringer("uuid", d.uuid).Logger()
			ctx.Send(d.parent, &renamed{UUID: d.uuid, Old: old, New: m.name, OK: true})
			d.tell(ctx)
			d.lifecycle(ctx, virt.DomainEventDefined, virt.DomainEventDefinedRenamed)
			return &protocol.DomainRenameRet{}, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			ctx.Send(d.parent, &renamed{UUID: d.uuid, Old: old, New: m.name})
			return err
		},
	})
}

func (d *domain) mayRename(name string) error {
	switch {
	case d.active():
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot rename active domain")
	case d.config == nil:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot rename a transient domain")
	case d.life.State != virt.DomainShutoff:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain has to be shutoff before renaming")
	case d.saved:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain with a managed saved state can't be renamed")
	}
	return nil
}

// setAutostart serves virDomainSetAutostart.
func (d *domain) setAutostart(ctx actor.Context, r *call.Request, a *protocol.DomainSetAutostartArgs) error {
	if d.config == nil {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot set autostart for transient domain")
	}
	on := a.Autostart != 0
	if on == d.autostart {
		r.Reply(nil)
		return nil
	}
	drv, name := d.drv, d.name
	d.start(ctx, &task{
		kind: jobModify, req: r,
		run: func(context.Context, *kit.Undo) (any, error) {
			if on {
				if err := disk.Symlink(drv.configPath(name), drv.autostartPath(name)); err != nil {
					return nil, liberr.System(liberr.FromQemu, err, "Failed to create symlink '%s' to '%s'", drv.autostartPath(name), drv.configPath(name))
				}
				return nil, nil
			}
			if err := disk.Remove(drv.autostartPath(name)); err != nil && !os.IsNotExist(err) {
				return nil, liberr.System(liberr.FromQemu, err, "Failed to delete symlink '%s'", drv.autostartPath(name))
			}
			return nil, nil
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.autostart = on
			d.tell(ctx)
			return nil, nil
		},
	})
	return nil
}
