package qemu

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
)

// Images that come to a running guest may be encrypted: they are made with the passphrase in a descriptor, and opened with a
// secret object of their own.

// checkKey refuses what cannot be made or opened.
func (l chainLayer) checkKey(target string) error {
	e := l.source.Encryption
	switch {
	case e == nil:
		return nil
	case e.Format != "luks" || l.format != "raw" && l.format != "qcow2":
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "encryption '%s' of a '%s' image of disk '%s' is not supported", e.Format, l.format, target)
	case len(e.Secrets) != 1:
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "exactly one secret is needed for the encrypted image of disk '%s'", target)
	}
	return nil
}

// formatNow is the format as qemu-img knows it: an encrypted raw image is one of LUKS.
func (l chainLayer) formatNow() string {
	if l.format == "raw" && l.source != nil && l.source.Encryption != nil && l.source.Encryption.Format == "luks" {
		return "luks"
	}
	return l.format
}

// passphrase fetches the value of the layer's secret. The caller wipes it.
func (s *shared) passphrase(ctx context.Context, l chainLayer) ([]byte, error) {
	one := l.source.Encryption.Secrets[0]
	return s.secretValue(ctx, &command.SecretWanted{Use: command.SecretEncryption, UUID: one.UUID, Usage: one.Usage})
}

// unlock tells a running QEMU the secret of an image that it is to open.
func (s *shared) unlock(ctx context.Context, mon *qmp.Client, undo *kit.Undo, dir string, l chainLayer) error {
	if l.source.Encryption == nil {
		return nil
	}
	source := *l.source
	source.Index = l.index
	p := &launchPlan{drv: s}
	p.rt.LibDir = dir
	wanted := command.SecretsOfDisk(&libvirtxml.DomainDisk{Source: &source, Target: &libvirtxml.DomainDiskTarget{}})
	if err := p.secrets(ctx, wanted); err != nil {
		return err
	}
	for id, value := range p.rt.Secrets {
		if err := qmp.ObjectAdd(ctx, mon, command.SecretProps(id, value)); err != nil {
			return err
		}
		undo.Add("forget "+id, func(ctx context.Context) error { return qmp.ObjectDel(ctx, mon, id) })
	}
	return nil
}

// sizeBelow stands for the size of the image below, which nobody has open.
const sizeBelow = ^uint64(0)

// createImage formats an image. Its backing file is not opened: a guest may have it locked; but for its size, where that is
// asked for.
func (s *shared) createImage(ctx context.Context, l chainLayer, size uint64, under *chainLayer) error {
	args := []string{"create", "-q", "-f", l.formatNow()}
	var files []*os.File
	if l.source.Encryption != nil {
		value, err := s.passphrase(ctx, l)
		if err != nil {
			return err
		}
		defer clear(value)
		f, err := disk.Unnamed("secret", value)
		if err != nil {
			return liberr.System(liberr.FromQemu, err, "failed to open secret file for write")
		}
		defer f.Close()
		files = append(files, f)
		args = append(args, "--object", "secret,id=key,file=/dev/fd/3", "-o", "key-secret=key")
		if l.format == "qcow2" {
			args[len(args)-1] = "encrypt.format=luks,encrypt.key-secret=key"
		}
	}
	if under != nil {
		args = append(args, "-F", under.formatNow(), "-b", under.path)
	}
	switch {
	case size == sizeBelow:
		args = append(args, "--", l.path)
	case under != nil:
		args = append(args, "-u", "--", l.path, strconv.FormatUint(size, 10))
	default:
		args = append(args, "--", l.path, strconv.FormatUint(size, 10))
	}
	for attempt := 1; ; attempt++ {
		cmd := exec.CommandContext(ctx, "qemu-img", args...)
		cmd.ExtraFiles = files
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if l.source.Encryption != nil && attempt < slowAttempts && strings.Contains(string(out), slowClock) && ctx.Err() == nil {
			continue
		}
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Unable to create image '%s': %s", l.path, strings.TrimSpace(string(out))).WithCause(err)
	}
}

// slowClock is what qemu-img says when it could not measure how long a key takes to derive, on a busy machine. The next
// attempt can.
const (
	slowClock    = "Unable to get accurate CPU usage"
	slowAttempts = 8
)

// keyed adds to the node of a format how its content is encrypted.
func keyed(format map[string]any, l chainLayer) {
	e := l.source.Encryption
	if e == nil {
		return
	}
	key := command.EncryptionSecret(l.index)
	if l.format == "raw" {
		format["driver"], format["key-secret"] = "luks", key
		return
	}
	format["encrypt"] = map[string]any{"format": e.Format, "key-secret": key}
}
