package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// The save image that a domain keeps itself, and starts from.

// managedRemove serves virDomainManagedSaveRemove; one that is not there is gone already.
func (d *domain) managedRemove(ctx actor.Context, r *call.Request, a *protocol.DomainManagedSaveRemoveArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainManagedSaveRemove"); err != nil {
		return err
	}
	path := d.drv.savePath(d.name)
	d.start(ctx, &task{
		kind: jobModify, req: r,
		run: func(context.Context, *kit.Undo) (any, error) {
			if err := disk.Remove(path); err != nil {
				return nil, liberr.System(liberr.FromQemu, err, "Failed to remove managed save file '%s'", path)
			}
			return nil, nil
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.saved = false
			d.tell(ctx)
			return nil, nil
		},
	})
	return nil
}

func (d *domain) managedXML(ctx actor.Context, r *call.Request, a *protocol.DomainManagedSaveGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainSaveImageXMLSecure, liberr.FromQemu, "qemuDomainManagedSaveGetXMLDesc"); err != nil {
		return err
	}
	path, env, flags := d.drv.savePath(d.name), d.drv.xmlEnv, a.Flags
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		if !disk.Exists(path) {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain does not have managed save image")
		}
		text, err := imageText(path, flags, env)
		if err != nil {
			return nil, err
		}
		return &protocol.DomainManagedSaveGetXMLDescRet{XML: text}, nil
	})
	return nil
}

func (d *domain) managedDefine(ctx actor.Context, r *call.Request, a *protocol.DomainManagedSaveDefineXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainSaveRunning|virt.DomainSavePaused, liberr.FromQemu, "qemuDomainSaveImageDefineXML"); err != nil {
		return err
	}
	path, env, flags, dxml := d.drv.savePath(d.name), d.drv.xmlEnv, a.Flags, ""
	if a.Dxml != nil {
		dxml = *a.Dxml
	}
	d.start(ctx, &task{kind: jobModify, req: r, run: func(context.Context, *kit.Undo) (any, error) {
		if !disk.Exists(path) {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain does not have managed save image")
		}
		return nil, redefineImage(path, dxml, flags, env)
	}})
	return nil
}
