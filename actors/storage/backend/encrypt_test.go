package backend_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

const passphrase = "not for others' eyes"

// keys is a context that knows one secret, and what was handed out.
func keys(t *testing.T) (ctx context.Context, handed *[][]byte) {
	handed = &[][]byte{}
	return backend.WithSecrets(t.Context(), func(_ context.Context, name def.EncryptionSecret) ([]byte, error) {
		if name.Usage != "key" {
			return nil, liberr.New(liberr.FromSecret, liberr.NoSecret, "no secret with matching usage '%s'", name.Usage)
		}
		value := []byte(passphrase)
		*handed = append(*handed, value)
		return value, nil
	}), handed
}

func encrypted(name, format string) *def.Volume {
	return &def.Volume{Name: name, Format: format, Capacity: 3 << 20, CapacityGiven: true, Permissions: def.NoPermissions,
		Encryption: &def.Encryption{Format: "luks", Secrets: []def.EncryptionSecret{{Type: "passphrase", Usage: "key"}}}}
}

// opens tells whether qemu-io reads the image with a passphrase, and finds there what the pattern says.
func opens(t *testing.T, v *def.Volume, phrase, command string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(file, []byte(phrase), 0o600); err != nil {
		t.Fatal(err)
	}
	o := "driver=luks,key-secret=s,file.filename=" + v.Path
	if v.Format == "qcow2" {
		o = "driver=qcow2,encrypt.key-secret=s,file.filename=" + v.Path
	}
	out, err := exec.Command("qemu-io", "--object", "secret,id=s,file="+file, "--image-opts", o, "-c", command).CombinedOutput()
	return err == nil && !bytes.Contains(out, []byte("failed"))
}

func TestEncryptedVolumes(t *testing.T) {
	for _, tool := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	ctx, handed := keys(t)
	place := func(v *def.Volume) *def.Volume {
		if err := b.Place(p, v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	look := func(v *def.Volume, capacity uint64) {
		seen, err := b.Look(t.Context(), p, v.Name)
		if err != nil || seen.Format != v.Format || seen.Capacity != capacity || seen.Encryption == nil || seen.Encryption.Format != "luks" {
			t.Errorf("%s looks like %+v, %v", v.Name, seen, err)
		}
	}
	// Every use of a key takes a second of processor time, so each volume serves for several questions.
	raw := place(encrypted("raw", "raw"))
	if err := b.Create(ctx, &kit.Undo{}, p, raw, 0); err != nil {
		t.Fatal(err)
	}
	look(raw, 3<<20)
	if !opens(t, raw, passphrase, "write -P 7 1M 64k") {
		t.Fatal("the passphrase does not open it")
	}
	if opens(t, raw, "wrong", "read 0 1k") {
		t.Error("any passphrase opens it")
	}
	qcow2 := place(encrypted("qcow2", "qcow2"))
	if err := b.Clone(ctx, &kit.Undo{}, p, qcow2, raw, 0); err != nil {
		t.Fatal(err)
	}
	plain := place(&def.Volume{Name: "plain", Format: "raw", Capacity: 3 << 20, CapacityGiven: true, Permissions: def.NoPermissions})
	if err := b.Clone(ctx, &kit.Undo{}, p, plain, qcow2, 0); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(plain.Path)
	if err != nil || len(data) != 3<<20 || !bytes.Equal(data[1<<20:1<<20+64<<10], bytes.Repeat([]byte{7}, 64<<10)) {
		t.Errorf("the copy of a copy has %d bytes that are not the source's: %v", len(data), err)
	}
	for _, v := range []*def.Volume{raw, qcow2} {
		if err := b.Resize(ctx, p, v, 5<<20, 0); err != nil {
			t.Fatal(err)
		}
		look(v, 5<<20)
		if err := b.Resize(ctx, p, v, 6<<20, virt.StorageVolResizeAllocate); !errors.Is(err, liberr.OperationUnsupported) {
			t.Errorf("%s: allocation: %v", v.Name, err)
		}
	}
	for _, value := range *handed {
		if !bytes.Equal(value, make([]byte, len(passphrase))) {
			t.Error("a passphrase was not wiped after use")
		}
	}
	if len(*handed) == 0 {
		t.Error("nobody asked for a passphrase")
	}
}

// A command line is anybody's to read, and ends up in errors and logs.
func TestNoPassphraseOnACommandLine(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := "#!/bin/sh\nfor a; do echo \"$a\"; case $a in secret,*) f=${a##*file=}; stat -L -c '%a %h' $f; cat $f; echo; esac; done >> " + log + "\necho no disk >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	v := encrypted("v", "qcow2")
	v.Encryption.Cipher = &def.Cipher{Name: "serpent", Size: 256, Mode: "cbc", Hash: "sha512"}
	v.Encryption.IVGen = &def.IVGen{Name: "plain64", Hash: "sha256"}
	if err := b.Place(p, v); err != nil {
		t.Fatal(err)
	}
	ctx, _ := keys(t)
	err := b.Create(ctx, &kit.Undo{}, p, v, 0)
	if err == nil || strings.Contains(err.Error(), passphrase) || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a tool that fails makes %v", err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	want := []string{"create", "-f", "qcow2", "--object", "secret,id=encrypt0,file=/dev/fd/3", "600 0", passphrase, "-o",
		"encrypt.format=luks,encrypt.key-secret=encrypt0,encrypt.cipher-alg=serpent-256,encrypt.cipher-mode=cbc,encrypt.hash-alg=sha512," +
			"encrypt.ivgen-alg=plain64,encrypt.ivgen-hash-alg=sha256,compat=0.10"}
	for i, w := range want {
		if i >= len(lines) || lines[i] != w {
			t.Fatalf("the tool was given\n%s\nwant\n%s", text, strings.Join(want, "\n"))
		}
	}
	if files, _ := os.ReadDir(p.Path); len(files) > 0 {
		t.Errorf("%v is left behind", files)
	}
}

func TestEncryptionThatCannotBeHad(t *testing.T) {
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	key := def.EncryptionSecret{Type: "passphrase", Usage: "key"}
	for _, c := range []struct {
		what string
		v    *def.Volume
		want liberr.Code
		says string
	}{
		{"no secret", &def.Volume{Format: "raw", Encryption: &def.Encryption{Format: "luks"}}, liberr.InvalidArg, "A single <secret type='passphrase'...> element is expected"},
		{"two secrets", &def.Volume{Format: "raw", Encryption: &def.Encryption{Format: "luks", Secrets: []def.EncryptionSecret{key, key}}}, liberr.InvalidArg, "A single <secret"},
		{"an unknown secret", &def.Volume{Format: "vmdk", Encryption: &def.Encryption{Format: "luks", Secrets: []def.EncryptionSecret{{Usage: "x"}}}}, liberr.NoSecret, "no secret with matching usage 'x'"},
		{"a raw file in an old format", &def.Volume{Format: "raw", Encryption: &def.Encryption{Format: "qcow", Secrets: []def.EncryptionSecret{key}}}, liberr.InternalError, "Only luks encryption is supported for raw files"},
		{"qcow2 in an old format", &def.Volume{Format: "qcow2", Encryption: &def.Encryption{Format: "qcow", Secrets: []def.EncryptionSecret{key}}}, liberr.ConfigUnsupported, "creation of qcow2 encrypted image is not supported"},
		{"qcow2 in a new format", &def.Volume{Format: "qcow2", Encryption: &def.Encryption{Format: "luks2", Secrets: []def.EncryptionSecret{key}}}, liberr.ConfigUnsupported, "unsupported volume encryption format 3"},
		{"a format without", &def.Volume{Format: "vmdk", Encryption: &def.Encryption{Format: "luks", Secrets: []def.EncryptionSecret{key}}}, liberr.ConfigUnsupported, "volume encryption unsupported with format vmdk"},
		{"raw above another", &def.Volume{Format: "raw", Backing: &def.Backing{Path: "/dev/null", Format: "raw"}, Encryption: &def.Encryption{Format: "luks", Secrets: []def.EncryptionSecret{key}}}, liberr.ConfigUnsupported, "cannot set backing store for raw volume"},
	} {
		c.v.Name, c.v.Capacity, c.v.CapacityGiven, c.v.Permissions = "v", 1<<20, true, def.NoPermissions
		if err := b.Place(p, c.v); err != nil {
			t.Fatal(err)
		}
		ctx, _ := keys(t)
		undo := &kit.Undo{}
		err := b.Create(ctx, undo, p, c.v, 0)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v", c.what, err, c.says)
		}
		if _, err := os.Lstat(c.v.Path); err == nil {
			t.Errorf("%s: there is a volume", c.what)
		}
	}
}
