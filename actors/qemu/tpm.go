package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// emulators starts the helpers a guest needs beside QEMU: the TPM emulator.
func (p *launchPlan) emulators(ctx context.Context, undo *kit.Undo) error {
	p.rt.TPMs = map[string]command.TPM{}
	p.forgetIfNotStarted(undo)
	for i := range p.def.Devices.TPMs {
		t := &p.def.Devices.TPMs[i]
		if t.Backend == nil || t.Backend.Emulator == nil || t.Alias == nil {
			continue
		}
		socket, err := p.startTPM(ctx, t, undo)
		if err != nil {
			return err
		}
		p.rt.TPMs[t.Alias.Name] = command.TPM{Socket: socket}
	}
	return nil
}

// tpmRun is where the TPM emulators of running guests have their sockets and pid files.
func (s *shared) tpmRun() string { return filepath.Join(s.env.Paths.DriverRun("qemu"), "swtpm") }

// startTPM makes the state of a new TPM and starts swtpm on it. It ends by itself when QEMU hangs up.
func (p *launchPlan) startTPM(ctx context.Context, t *libvirtxml.DomainTPM, undo *kit.Undo) (string, error) {
	version := t.Backend.Emulator.Version
	if version == "" || version == "default" {
		version = "2.0"
	}
	state := p.drv.tpmState(p.uuid.String(), version)
	run := p.drv.tpmRun()
	for _, dir := range []string{state, run} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return "", liberr.System(liberr.FromQemu, err, "Cannot create TPM directory '%s'", dir)
		}
	}
	log := filepath.Join(p.drv.env.Paths.Log(), "swtpm", "qemu", p.name+"-swtpm.log")
	_ = os.MkdirAll(filepath.Dir(log), 0o711)
	two := []string{}
	if version == "2.0" {
		two = []string{"--tpm2"}
	}
	var keys []*os.File // the passphrase, for each option that reads one
	if e := t.Backend.Emulator.Encryption; e != nil {
		var err error
		if keys, err = p.tpmPassphrase(ctx, e.Secret); err != nil {
			return "", err
		}
		defer func() {
			for _, f := range keys {
				_ = f.Close()
			}
		}()
	}
	if empty(state) {
		args := append([]string{"--tpm-state", state, "--vmid", p.name + ":" + p.uuid.String(), "--logfile", log,
			"--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite"}, two...)
		if keys != nil {
			if err := rewind(keys); err != nil {
				return "", err
			}
			args = append(args, "--pwdfile-fd", "3", "--cipher", tpmCipher)
		}
		setup := exec.CommandContext(ctx, "swtpm_setup", args...)
		setup.ExtraFiles = keys
		if out, err := setup.CombinedOutput(); err != nil {
			_ = os.RemoveAll(state)
			if errors.Is(err, exec.ErrNotFound) {
				return "", liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "Unable to find 'swtpm_setup' binary in $PATH")
			}
			return "", liberr.New(liberr.FromQemu, liberr.InternalError, "Could not run '%s'. exitstatus: %s; Check error log '%s' for details.",
				"swtpm_setup", strings.TrimSpace(string(out)), log).WithCause(err)
		}
	}
	socket, pidfile := filepath.Join(run, p.tpmName()+".sock"), filepath.Join(run, p.tpmName()+".pid")
	_ = os.Remove(socket)
	args := append([]string{"socket", "--ctrl", "type=unixio,path=" + socket + ",mode=0600", "--tpmstate", "dir=" + state + ",mode=0600",
		"--log", "file=" + log, "--terminate", "--pid", "file=" + pidfile, "--daemon"}, two...)
	if keys != nil {
		if err := rewind(keys); err != nil {
			return "", err
		}
		args = append(args, "--key", "pwdfd=3,mode="+tpmCipher, "--migration-key", "pwdfd=4,mode="+tpmCipher)
	}
	swtpm := exec.CommandContext(ctx, "swtpm", args...)
	swtpm.ExtraFiles = keys
	if out, err := swtpm.CombinedOutput(); err != nil {
		return "", liberr.New(liberr.FromQemu, liberr.InternalError, "swtpm died unexpectedly: %s", strings.TrimSpace(string(out))).WithCause(err)
	}
	undo.Add("end the TPM", func(context.Context) error { stopTPM(p.drv, p.name); return nil })
	return socket, nil
}

// tpmCipher is how swtpm encrypts the state of a TPM that has a secret.
const tpmCipher = "aes-256-cbc"

// tpmPassphrase puts the value of a secret where swtpm reads it: two files in memory, since each option reads one to its
// end and closes it.
func (p *launchPlan) tpmPassphrase(ctx context.Context, id string) (files []*os.File, err error) {
	value, err := p.drv.secretValue(ctx, &command.SecretWanted{Use: command.SecretTPM, UUID: id})
	if err != nil {
		return nil, err
	}
	defer clear(value)
	for range 2 {
		f, err := disk.Unnamed("secret", value)
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, liberr.System(liberr.FromQemu, err, "failed to open secret file for write")
		}
		files = append(files, f)
	}
	return files, nil
}

// rewind has the next program read the files from their start: their position is shared with the one before.
func rewind(files []*os.File) error {
	for _, f := range files {
		if _, err := f.Seek(0, 0); err != nil {
			return liberr.System(liberr.FromQemu, err, "cannot rewind the passphrase of the TPM")
		}
	}
	return nil
}

func (p *launchPlan) tpmName() string { return p.name + "-swtpm" }

func empty(dir string) bool {
	files, err := os.ReadDir(dir)
	return err != nil || len(files) == 0
}

// stopTPM ends the emulator that belongs to a domain, if one still runs.
func stopTPM(s *shared, name string) {
	base := filepath.Join(s.tpmRun(), name+"-swtpm")
	b, err := os.ReadFile(base + ".pid")
	if err != nil {
		return
	}
	defer func() {
		_ = os.Remove(base + ".pid")
		_ = os.Remove(base + ".sock")
	}()
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return
	}
	cmdline, err := os.ReadFile("/proc/" + itoa(pid) + "/cmdline")
	if err != nil || !strings.Contains(string(cmdline), base) {
		return // the number belongs to somebody else now
	}
	proc, err := openProcess(pid, 0)
	if err != nil {
		return
	}
	defer proc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := proc.End(ctx, time.Second, true); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.env.Log.Warn().Err(err).Str("domain", name).Msg("cannot end the TPM emulator")
	}
}
