package secret

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// define makes a secret, or gives one a new definition; its value stays.
func (d *driver) define(ctx actor.Context, r *call.Request, a *protocol.SecretDefineXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.SecretDefineValidate, from, "secretDefineXML"); err != nil {
		return err
	}
	def, err := parse([]byte(a.XML), a.Flags&virt.SecretDefineValidate != 0)
	if err != nil {
		return err
	}
	d.begin(ctx, r, func() (plan, error) { return d.planDefine(def) })
	return nil
}

func (d *driver) planDefine(def *definition) (plan, error) {
	old := d.secrets[def.uuid]
	if err := d.mayDefine(def, old); err != nil {
		return plan{}, err
	}
	o := &object{def: def}
	if old != nil {
		o.sealed = old.sealed
	}
	p := plan{
		ret: &protocol.SecretDefineXMLRet{Secret: def.wire()},
		apply: func(ctx actor.Context) {
			d.secrets[def.uuid] = o
			d.lifecycle(ctx, def, virt.SecretEventDefined)
		},
	}
	s, seal := d.store, d.seal
	switch {
	case !def.ephemeral:
		p.write = func() error { return s.save(o, seal) }
	case old != nil && !old.def.ephemeral:
		p.write = func() error { return s.remove(def.uuid) }
	}
	return p, nil
}

// mayDefine refuses what libvirt refuses: another use for a secret, a second secret for a use, and making a private
// secret public.
func (d *driver) mayDefine(def *definition, old *object) error {
	if old != nil && old.def.usageID != def.usageID {
		id := old.def.usageID
		if id == "" {
			id = "(null)" // Compat: what the C library prints for a missing string
		}
		return liberr.New(from, liberr.InternalError, "a secret with UUID %s is already defined for use with %s", def.uuid, id)
	}
	if old != nil && old.def.private && !def.private {
		return liberr.New(from, liberr.InternalError, "cannot change private flag on existing secret")
	}
	// Compat: libvirt does not look when the secret exists, so that a change of the usage's type may make two secrets for
	// one use, of which a lookup finds either.
	if other := d.findUsage(def.usageType, def.usageID); other != nil && other.def.uuid != def.uuid {
		return liberr.New(from, liberr.InternalError, "a secret with UUID %s already defined for use with %s", other.def.uuid, def.usageID)
	}
	return nil
}

// setValue seals the value at once; what is in the clear is wiped before the call leaves this function.
func (d *driver) setValue(ctx actor.Context, r *call.Request, a *protocol.SecretSetValueArgs) error {
	defer clear(a.Value)
	defer clear(r.Args)
	if len(a.Value) == 0 {
		e := liberr.Raw(from, liberr.InvalidArg, "value in virSecretSetValue must not be NULL")
		e.Str1, e.Str2 = "virSecretSetValue", "value"
		return e
	}
	if err := call.CheckFlags(a.Flags, 0, from, "secretSetValue"); err != nil {
		return err
	}
	id := a.Secret.UUID
	sealed := d.seal.seal(id, a.Value)
	d.begin(ctx, r, func() (plan, error) { return d.planValue(id, sealed) })
	return nil
}

func (d *driver) planValue(id protocol.UUID, sealed []byte) (plan, error) {
	old, err := d.find(id)
	if err != nil {
		return plan{}, err
	}
	p := plan{
		ret: &protocol.Void{},
		apply: func(ctx actor.Context) {
			d.secrets[id] = &object{def: old.def, sealed: sealed}
			d.publish(ctx, old.def, virt.SecretEventIDValueChanged, &protocol.SecretEventValueChangedMsg{Secret: old.def.wire()})
		},
	}
	if !old.def.ephemeral {
		s, seal := d.store, d.seal
		p.write = func() error { return s.saveValue(id, sealed, seal) }
	}
	return p, nil
}

func (d *driver) undefine(ctx actor.Context, r *call.Request, a *protocol.SecretUndefineArgs) error {
	d.begin(ctx, r, func() (plan, error) {
		old, err := d.find(a.Secret.UUID)
		if err != nil {
			return plan{}, err
		}
		p := plan{
			ret: &protocol.Void{},
			apply: func(ctx actor.Context) {
				delete(d.secrets, old.def.uuid)
				d.lifecycle(ctx, old.def, virt.SecretEventUndefined)
			},
		}
		if !old.def.ephemeral {
			s := d.store
			p.write = func() error { return s.remove(old.def.uuid) }
		}
		return p, nil
	})
	return nil
}

func (d *driver) lifecycle(ctx actor.Context, def *definition, event int32) {
	d.env.Log.Info().Str("uuid", def.uuid.String()).Bool("defined", event == virt.SecretEventDefined).Msg("secret changed")
	d.publish(ctx, def, virt.SecretEventIDLifecycle, &protocol.SecretEventLifecycleMsg{Secret: def.wire(), Event: event})
}

// callbackID is the size of the id that the client's actor puts before an event.
const callbackID = 4

func (d *driver) publish(ctx actor.Context, def *definition, id int32, m protocol.Encoder) {
	if d.bus.Subscribers() == 0 {
		return
	}
	d.bus.Publish(ctx, &call.Event{Object: "secret", ID: id, UUID: def.uuid, Payload: m.AppendXDR(nil)[callbackID:]})
}
