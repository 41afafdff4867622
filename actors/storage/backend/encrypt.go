package backend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"virtree/actors/internal/disk"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// Encrypted images are made by qemu-img, which gets passphrases through descriptors of memory that has no name, so that
// they stand neither in an argument nor in a folder.

// Secrets returns the value of a secret. The caller owns it and wipes it after use.
type Secrets func(ctx context.Context, name def.EncryptionSecret) ([]byte, error)

type secretsKey struct{}

// WithSecrets makes ctx one in which jobs can ask for the values of secrets.
func WithSecrets(ctx context.Context, s Secrets) context.Context {
	return context.WithValue(ctx, secretsKey{}, s)
}

// secretValue asks whom the context knows.
func secretValue(ctx context.Context, name def.EncryptionSecret) ([]byte, error) {
	if s, _ := ctx.Value(secretsKey{}).(Secrets); s != nil {
		return s(ctx, name)
	}
	return nil, liberr.New(liberr.FromSecret, liberr.NoConnect, "Failed to find a secret storage driver")
}

// needsTool tells whether an image is made by qemu-img, not by us.
func needsTool(v *def.Volume) bool { return v.Format != "raw" || v.Encryption != nil }

// imaging is one run of qemu-img, or several that need the same passphrases.
type imaging struct {
	objects []string // --object arguments
	files   []*os.File
}

// close lets the passphrases go.
func (i *imaging) close() {
	for _, f := range i.files {
		_ = f.Close()
	}
}

// secret makes the passphrase of a volume known to the tool, and returns the id it goes by.
func (i *imaging) secret(ctx context.Context, v *def.Volume) (id string, err error) {
	if len(v.Encryption.Secrets) != 1 {
		return "", liberr.New(from, liberr.InvalidArg, "A single <secret type='passphrase'...> element is expected in encryption description")
	}
	value, err := secretValue(ctx, v.Encryption.Secrets[0])
	if err != nil {
		return "", err
	}
	defer clear(value)
	f, err := disk.Unnamed("secret", value)
	if err != nil {
		return "", liberr.System(from, err, "failed to open secret file for write")
	}
	id = fmt.Sprintf("encrypt%d", len(i.files))
	i.files = append(i.files, f)
	i.objects = append(i.objects, "--object", fmt.Sprintf("secret,id=%s,file=/dev/fd/%d", id, 2+len(i.files)))
	return id, nil
}

// slowClock is what qemu-img says when it could not measure how long a key takes to derive, on a busy machine. The next
// attempt can.
const slowClock = "Unable to get accurate CPU usage"

// run runs qemu-img.
func (i *imaging) run(ctx context.Context, args ...string) error {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		return liberr.New(from, liberr.InternalError, "creation of non-raw file images is not supported without qemu-img.").WithCause(err)
	}
	for attempt := 1; ; attempt++ {
		for _, f := range i.files {
			if _, err := f.Seek(0, 0); err != nil { // /dev/fd shares no position, other ways to open may
				return liberr.System(from, err, "failed to read secret file")
			}
		}
		err := i.once(ctx, tool, args)
		if err == nil || attempt == 8 || !strings.Contains(err.Error(), slowClock) {
			return err
		}
		select {
		case <-time.After(time.Duration(attempt) * 50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (i *imaging) once(ctx context.Context, tool string, args []string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	cmd.ExtraFiles = i.files
	var stderr strings.Builder
	cmd.Stderr = &limited{&stderr, 64 << 10}
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	how := err.Error()
	if x, ok := err.(*exec.ExitError); ok {
		how = "unexpected " + x.String()
		if x.ExitCode() < 0 {
			how = "unexpected fatal " + x.String()
		}
	}
	return liberr.New(from, liberr.InternalError, "Child process (%s) %s: %s", strings.Join(append([]string{tool}, args...), " "), how, stderr.String()).WithCause(err)
}

// checkEncryption refuses what qemu-img does not make.
func checkEncryption(v *def.Volume) error {
	e := v.Encryption
	switch {
	case v.Format == "raw" && e.Format != "luks":
		return liberr.New(from, liberr.InternalError, "Only luks encryption is supported for raw files")
	case v.Format == "raw":
		return nil
	case v.Format != "qcow2":
		return liberr.New(from, liberr.ConfigUnsupported, "volume encryption unsupported with format %s", v.Format)
	case e.Format == "qcow" || e.Format == "default":
		return liberr.New(from, liberr.ConfigUnsupported, "creation of qcow2 encrypted image is not supported")
	case e.Format != "luks":
		return liberr.New(from, liberr.ConfigUnsupported, "unsupported volume encryption format %d", e.Number())
	}
	return nil
}

// encryptOptions are the creation options of an encrypted image.
func encryptOptions(v *def.Volume, id string) []string {
	prefix, o := "", []string(nil)
	if v.Format != "raw" {
		prefix = "encrypt."
		o = append(o, "encrypt.format=luks")
	}
	o = append(o, prefix+"key-secret="+id)
	if c := v.Encryption.Cipher; c != nil {
		o = append(o, fmt.Sprintf("%scipher-alg=%s-%d", prefix, c.Name, c.Size))
		if c.Mode != "" {
			o = append(o, prefix+"cipher-mode="+c.Mode)
		}
		if c.Hash != "" {
			o = append(o, prefix+"hash-alg="+c.Hash)
		}
	}
	if g := v.Encryption.IVGen; g != nil {
		o = append(o, prefix+"ivgen-alg="+g.Name)
		if g.Hash != "" {
			o = append(o, prefix+"ivgen-hash-alg="+g.Hash)
		}
	}
	return o
}

// driverName is qemu-img's name of what a volume's file holds.
func driverName(v *def.Volume) string {
	if v.Format == "raw" && v.Encryption != nil {
		return "luks"
	}
	return toolFormat(v.Format)
}

// imageOptions names an image with the key to it, as --image-opts wants it.
func imageOptions(v *def.Volume, path, id string) string {
	o := "driver=" + driverName(v) + ",file.filename=" + strings.ReplaceAll(path, ",", ",,")
	switch {
	case id == "":
		return o
	case driverName(v) == "luks":
		return o + ",key-secret=" + id
	}
	return o + ",encrypt.key-secret=" + id
}

// create makes an image; id is that of its passphrase, "" for none.
func (i *imaging) create(ctx context.Context, path string, v *def.Volume, id string, flags uint32, backing *def.Backing) error {
	var o []string
	if v.Encryption != nil {
		if err := checkEncryption(v); err != nil {
			return err
		}
		o = encryptOptions(v, id)
		for k := range o {
			o[k] = strings.ReplaceAll(o[k], ",", ",,")
		}
	}
	args := []string{"create", "-f", driverName(v)}
	if backing != nil {
		args = append(args, "-b", backing.Path)
	}
	args = append(args, i.objects...)
	if rest := options(v, flags, backing); rest != "" {
		o = append(o, rest)
	}
	if len(o) > 0 {
		args = append(args, "-o", strings.Join(o, ","))
	}
	args = append(args, path)
	if v.CapacityGiven || backing == nil {
		args = append(args, fmt.Sprintf("%dK", (v.Capacity+1023)/1024))
	}
	return i.run(ctx, args...)
}

// createEncryptedImage makes an image whose passphrase a secret is.
func createEncryptedImage(ctx context.Context, path string, v *def.Volume, flags uint32) error {
	var i imaging
	defer i.close()
	id, err := i.secret(ctx, v)
	if err != nil {
		return err
	}
	return i.create(ctx, path, v, id, flags, v.Backing)
}

// convertEncrypted copies a volume where the copy, the source or both are encrypted. The image is made first, with its key,
// and filled then.
func convertEncrypted(ctx context.Context, path string, v, source *def.Volume, flags uint32) error {
	var i imaging
	defer i.close()
	var to, of string
	var err error
	if v.Encryption != nil {
		if to, err = i.secret(ctx, v); err != nil {
			return err
		}
	}
	if source.Encryption != nil {
		if of, err = i.secret(ctx, source); err != nil {
			return err
		}
		if source.Encryption.Format != "luks" {
			return liberr.New(from, liberr.InvalidArg, "encryption format of inputvol must be LUKS")
		}
	}
	if err := i.create(ctx, path, v, to, flags, nil); err != nil {
		return err
	}
	args := append([]string{"convert", "--image-opts", "-n", "--target-image-opts"}, i.objects...)
	return i.run(ctx, append(args, imageOptions(source, source.Path, of), imageOptions(v, path, to))...)
}

// resizeEncrypted changes the size of an image whose header only its key opens.
func resizeEncrypted(ctx context.Context, path string, v *def.Volume, capacity uint64) error {
	switch {
	case v.Encryption.Format != "luks":
		return liberr.New(from, liberr.ConfigUnsupported, "resize of qcow2 encrypted image is not supported")
	case len(v.Encryption.Secrets) == 0:
		return liberr.New(from, liberr.XMLError, "no secret provided for luks encryption")
	case len(v.Encryption.Secrets) > 1:
		return liberr.New(from, liberr.XMLError, "too many secrets for luks encryption")
	}
	var i imaging
	defer i.close()
	id, err := i.secret(ctx, v)
	if err != nil {
		return err
	}
	args := []string{"resize"}
	if capacity < v.Capacity {
		args = append(args, "--shrink")
	}
	args = append(append(args, i.objects...), "--image-opts", imageOptions(v, path, id), fmt.Sprint(capacity))
	return i.run(ctx, args...)
}
