package backend

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// mounted is a folder that a file system is mounted on: of a device (fs) or of a server (netfs).
type mounted struct{ dir }

// source is what is mounted, as the table of mounts names it.
func (mounted) source(p *def.Pool) (string, error) {
	s := &p.Source
	if p.Kind.Name == "fs" {
		if len(s.Devices) != 1 {
			return "", liberr.New(from, liberr.InternalError, "missing source device")
		}
		return s.Device(), nil
	}
	switch {
	case len(s.Hosts) != 1:
		return "", liberr.New(from, liberr.XMLError, "Expected exactly 1 host for the storage pool")
	case s.Hosts[0].Name == "":
		return "", liberr.New(from, liberr.InternalError, "missing source host")
	case s.Dir == "":
		return "", liberr.New(from, liberr.InternalError, "missing source path")
	case s.Format == "cifs":
		return "//" + s.Hosts[0].Name + s.Dir, nil
	}
	return s.Hosts[0].Name + ":" + s.Dir, nil
}

// Active looks into the table of mounts, which a dead server cannot hold up.
func (m mounted) Active(_ context.Context, p *def.Pool) (bool, error) {
	source, err := m.source(p)
	if err != nil {
		return false, err
	}
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false, liberr.System(from, err, "cannot read mount list '%s'", "/proc/self/mounts")
	}
	defer f.Close()
	return findMount(bufio.NewScanner(f), source, p.Path), nil
}

// findMount looks for a mount of source on target. Links are followed for devices only: /dev/disk/by-id is full of them.
func findMount(lines *bufio.Scanner, source, target string) bool {
	real := source
	if strings.HasPrefix(source, "/dev/") {
		if r, err := filepath.EvalSymlinks(source); err == nil {
			real = r
		}
	}
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || plain.Replace(f[1]) != target {
			continue
		}
		if s := plain.Replace(f[0]); s == source || s == real || strings.TrimSuffix(s, "/") == source {
			return true
		}
	}
	return false
}

func (m mounted) Start(ctx context.Context, p *def.Pool) error {
	source, err := m.source(p)
	if err != nil {
		return err
	}
	if up, err := m.Active(ctx, p); up || err != nil {
		return err
	}
	return tool(ctx, "mount", mountArgs(p, source)...)
}

// mountArgs are libvirt's: nothing on a pool is run, whatever is in it.
func mountArgs(p *def.Pool, source string) []string {
	options, format := "nodev,nosuid,noexec", p.Source.Format
	switch {
	case p.Kind.Name == "netfs" && format == "auto":
		return []string{"-o", options, source, p.Path}
	case format == "cifs":
		options += ",guest"
	case format == "nfs" && p.Source.Protocol != "":
		options += ",nfsvers=" + p.Source.Protocol
	}
	return []string{"-o", options, "-t", format, source, p.Path}
}

func (m mounted) Stop(ctx context.Context, p *def.Pool) error {
	if up, err := m.Active(ctx, p); !up || err != nil {
		return err
	}
	return tool(ctx, "umount", p.Path)
}

// Build makes the folder, and with the right flag the file system.
func (m mounted) Build(ctx context.Context, p *def.Pool, flags uint32) error {
	const both = virt.StoragePoolBuildOverwrite | virt.StoragePoolBuildNoOverwrite
	switch {
	case flags&^both != 0:
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(flags&^both, "virStorageBackendFileSystemBuild"))
	case flags == both:
		return liberr.Raw(from, liberr.InvalidArg, "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and 'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are mutually exclusive")
	case flags != 0 && p.Kind.Name != "fs":
		return liberr.New(from, liberr.OperationInvalid, "No source device specified when formatting pool '%s'", p.Name)
	}
	if err := buildFolder(p); err != nil || flags == 0 {
		return err
	}
	device, err := m.source(p)
	if err != nil {
		return err
	}
	if _, err := os.Stat(device); err != nil {
		return liberr.New(from, liberr.OperationInvalid, "Source device does not exist when formatting pool '%s'", p.Name)
	}
	if flags == virt.StoragePoolBuildNoOverwrite {
		if err := mustBeBlank(ctx, device, p.Source.Format); err != nil {
			return err
		}
	}
	args := []string{"-t", p.Source.Format}
	switch p.Source.Format {
	case "ext2", "ext3", "ext4":
		args = append(args, "-F") // asks nobody
	case "xfs":
		args = append(args, "-f")
	}
	return tool(ctx, "mkfs", append(args, device)...)
}

// mustBeBlank refuses a device on which blkid finds anything.
func mustBeBlank(ctx context.Context, device, format string) error {
	blkid, err := lookTool("blkid")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, blkid, "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", device).Output()
	x, exited := err.(*exec.ExitError)
	switch {
	case exited && x.ExitCode() == 2: // nothing was found
		return nil
	case err != nil:
		return liberr.New(from, liberr.StorageProbeFailed, "cannot tell what is on device '%s'", device).WithCause(err)
	case strings.TrimSpace(string(out)) == format:
		return liberr.New(from, liberr.StoragePoolBuilt, "Device '%s' already formatted using '%s'", device, format)
	}
	return liberr.New(from, liberr.OperationInvalid, "Format of device '%s' does not match the expected format '%s', forced overwrite is necessary", device, format)
}

// lookTool prefers the folders that libvirt names in its messages.
func lookTool(name string) (string, error) {
	for _, d := range []string{"/bin/", "/sbin/"} {
		if _, err := os.Stat(d + name); err == nil {
			return d + name, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", liberr.New(from, liberr.InternalError, "Cannot find '%s' in path", name)
	}
	return path, nil
}

func tool(ctx context.Context, name string, args ...string) error {
	path, err := lookTool(name)
	if err != nil {
		return err
	}
	return run(ctx, path, args...)
}
