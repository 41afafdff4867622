package secret

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (d *driver) count(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfSecretsRet, error) {
	return &protocol.ConnectNumOfSecretsRet{Num: int32(len(d.secrets))}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListSecretsArgs) (*protocol.ConnectListSecretsRet, error) {
	if err := call.CheckMax(a.Maxuuids, protocol.RemoteSecretListMax, "maxuuids", "REMOTE_SECRET_LIST_MAX"); err != nil {
		return nil, err
	}
	ret := &protocol.ConnectListSecretsRet{}
	for _, o := range d.sorted() {
		if len(ret.Uuids) == int(a.Maxuuids) {
			break
		}
		ret.Uuids = append(ret.Uuids, o.def.uuid.String())
	}
	return ret, nil
}

const listFlags = virt.ConnectListSecretsEphemeral | virt.ConnectListSecretsNoEphemeral |
	virt.ConnectListSecretsPrivate | virt.ConnectListSecretsNoPrivate

// listAll filters in two groups; a group of which no flag is set does not filter.
func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllSecretsArgs) (*protocol.ConnectListAllSecretsRet, error) {
	if err := call.CheckFlags(a.Flags, listFlags, from, "secretConnectListAllSecrets"); err != nil {
		return nil, err
	}
	pass := func(is bool, yes, no uint32) bool {
		return a.Flags&(yes|no) == 0 || is && a.Flags&yes != 0 || !is && a.Flags&no != 0
	}
	ret := &protocol.ConnectListAllSecretsRet{}
	for _, o := range d.sorted() {
		if !pass(o.def.ephemeral, virt.ConnectListSecretsEphemeral, virt.ConnectListSecretsNoEphemeral) ||
			!pass(o.def.private, virt.ConnectListSecretsPrivate, virt.ConnectListSecretsNoPrivate) {
			continue
		}
		ret.Ret++
		if a.NeedResults != 0 {
			ret.Secrets = append(ret.Secrets, o.def.wire())
		}
	}
	return ret, nil
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.SecretLookupByUUIDArgs) (*protocol.SecretLookupByUUIDRet, error) {
	o, err := d.find(a.UUID)
	if err != nil {
		return nil, err
	}
	return &protocol.SecretLookupByUUIDRet{Secret: o.def.wire()}, nil
}

func (d *driver) lookupByUsage(_ actor.Context, _ *call.Request, a *protocol.SecretLookupByUsageArgs) (*protocol.SecretLookupByUsageRet, error) {
	o := d.findUsage(a.UsageType, a.UsageID)
	if o == nil {
		return nil, noUsage(a.UsageID)
	}
	return &protocol.SecretLookupByUsageRet{Secret: o.def.wire()}, nil
}

func noUsage(id string) *liberr.Error {
	return liberr.New(from, liberr.NoSecret, "no secret with matching usage '%s'", id)
}

func (d *driver) xml(_ actor.Context, _ *call.Request, a *protocol.SecretGetXMLDescArgs) (*protocol.SecretGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "secretGetXMLDesc"); err != nil {
		return nil, err
	}
	o, err := d.find(a.Secret.UUID)
	if err != nil {
		return nil, err
	}
	return &protocol.SecretGetXMLDescRet{XML: o.def.format()}, nil
}

// value is for clients, who never get that of a private secret. The plain value is wiped once it is encoded.
func (d *driver) value(_ actor.Context, r *call.Request, a *protocol.SecretGetValueArgs) (*protocol.SecretGetValueRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "secretGetValue"); err != nil {
		return nil, err
	}
	o, err := d.find(a.Secret.UUID)
	if err != nil {
		return nil, err
	}
	if o.def.private {
		return nil, liberr.New(from, liberr.InvalidSecret, "secret is private")
	}
	value, err := d.reveal(o)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	r.Reply(&protocol.SecretGetValueRet{Value: value})
	return nil, nil
}

func (d *driver) reveal(o *object) ([]byte, error) {
	if o.sealed == nil {
		return nil, liberr.New(from, liberr.NoSecret, "secret '%s' does not have a value", o.def.uuid)
	}
	return d.seal.open(o.def.uuid, o.sealed)
}

// ask is for the other branches.
func (d *driver) ask(ctx actor.Context, m *Ask) {
	reply := &Value{Serial: m.Serial}
	o := d.secrets[m.UUID]
	switch {
	case m.ByUsage:
		if o = d.findUsage(m.UsageType, m.UsageID); o == nil {
			reply.Err = noUsage(m.UsageID)
		}
	case o == nil:
		_, err := d.find(m.UUID)
		reply.Err = liberr.From(from, err)
	case m.UsageType > 0 && int(m.UsageType) < len(usages) && o.def.usageType != m.UsageType:
		reply.Err = liberr.New(from, liberr.InvalidArg, "secret with uuid %s is of type '%s' not expected '%s' type",
			o.def.uuid, usages[o.def.usageType].name, usages[m.UsageType].name)
		o = nil
	}
	if o != nil {
		var err error
		if reply.Value, err = d.reveal(o); err != nil {
			reply.Err = liberr.From(from, err)
		}
	}
	ctx.Respond(reply)
}
