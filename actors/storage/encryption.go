package storage

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/secret"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"

	"github.com/google/uuid"
)

// secretUsages are the uses of a secret by what asks for it; volumes are asked for without saying so.
var secretUsages = map[string]int32{"iscsi": virt.SecretUsageTypeIscsi, "ceph": virt.SecretUsageTypeCeph}

// secrets is how a job gets the passphrases of volumes and what proves to servers who we are: it asks the secret branch, and
// keeps nothing.
func (p *pool) secrets(root *actor.RootContext) backend.Secrets {
	env := p.env
	return func(ctx context.Context, name def.EncryptionSecret) ([]byte, error) {
		ask := secret.Ask{ByUsage: name.UUID == "", UsageType: virt.SecretUsageTypeVolume, UsageID: name.Usage}
		if usage, ok := secretUsages[name.Type]; ok {
			ask.UsageType = usage
		}
		if !ask.ByUsage {
			u, err := uuid.Parse(name.UUID)
			if err != nil {
				return nil, liberr.New(from, liberr.InvalidArg, "invalid secret uuid '%s'", name.UUID)
			}
			ask.UUID = protocol.UUID(u)
		}
		return secret.Fetch(ctx, root, env.Branch("secret"), ask)
	}
}

// keyed gives what a look has found the names of its secrets, which no image has in it, from what was known before.
//
// Compat: libvirt forgets them at the next refresh, and the volume cannot be cloned or resized any more.
func keyed(v, known *def.Volume) *def.Volume {
	if v == nil || known == nil || v.Encryption == nil || known.Encryption == nil ||
		v.Encryption.Format != known.Encryption.Format || len(v.Encryption.Secrets) > 0 {
		return v
	}
	c := *v
	c.Encryption = known.Encryption
	return &c
}
