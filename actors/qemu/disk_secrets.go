package qemu

import (
	"context"
	"crypto/rand"
	"os"
	"strings"

	"github.com/google/uuid"

	"virtree/actors/qemu/command"
	"virtree/actors/secret"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// secrets gets the values that images and the keys of certificates need, and keeps them as QEMU will see them: encrypted with the guest's master key, so
// that none stands on a command line, in a log, or in a monitor's record.
func (p *launchPlan) secrets(ctx context.Context, wanted []command.SecretWanted) error {
	if len(wanted) == 0 {
		return nil
	}
	key, err := os.ReadFile(p.rt.MasterKeyPath())
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to read master key file '%s'", p.rt.MasterKeyPath())
	}
	defer clear(key)
	if p.rt.Secrets == nil {
		p.rt.Secrets = map[string]command.Secret{}
	}
	for i := range wanted {
		value, err := p.drv.secretValue(ctx, &wanted[i])
		if err != nil {
			return err
		}
		var iv [16]byte
		_, _ = rand.Read(iv[:])
		p.rt.Secrets[wanted[i].ID], err = command.EncryptSecret(key, iv[:], value)
		clear(value)
		if err != nil {
			return liberr.New(liberr.FromQemu, liberr.InternalError, "failed to encrypt the data: '%v'", err)
		}
	}
	return nil
}

// secretValue asks the secret driver. The caller wipes what it gets.
func (s *shared) secretValue(ctx context.Context, w *command.SecretWanted) ([]byte, error) {
	if w.Use == command.SecretCookie {
		var b strings.Builder
		for i, c := range w.Cookies {
			if i > 0 {
				b.WriteString("; ")
			}
			b.WriteString(c.Name + "=" + c.Value)
		}
		return []byte(b.String()), nil
	}
	ask := secret.Ask{ByUsage: w.UUID == "", UsageType: usageOf(w), UsageID: w.Usage}
	if !ask.ByUsage {
		u, err := uuid.Parse(w.UUID)
		if err != nil {
			return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "invalid secret uuid '%s'", w.UUID)
		}
		ask.UUID = protocol.UUID(u)
	}
	return secret.Fetch(ctx, s.system.Root, s.env.Branch("secret"), ask)
}

// usageOf is the kind of secret that a use wants.
func usageOf(w *command.SecretWanted) int32 {
	switch w.Use {
	case command.SecretEncryption:
		return virt.SecretUsageTypeVolume
	case command.SecretTLS:
		return virt.SecretUsageTypeTLS
	case command.SecretTPM:
		return virt.SecretUsageTypeVtpm
	}
	switch w.Type {
	case "ceph":
		return virt.SecretUsageTypeCeph
	case "iscsi":
		return virt.SecretUsageTypeIscsi
	}
	return virt.SecretUsageTypeNone
}
