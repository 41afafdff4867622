package backend

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// mounted is a folder that a file system is mounted on: of a device (fs) or of a server (netfs).
type mounted struct {
	dir
	*Host
	from string // what is mounted, where the definition's source is not it
}

// source is what is mounted, as the table of mounts names it.
func (m mounted) source(p *def.Pool) (string, error) {
	s := &p.Source
	if m.from != "" {
		return m.from, nil
	}
	if p.Kind.Name == "fs" {
		if len(s.Devices) != 1 {
			return "", liberr.New(from, liberr.InternalError, "missing source device")
		}
		return s.Device(), nil
	}
	switch {
	case len(s.Hosts) != 1:
		return "", liberr.New(from, liberr.ConfigUnsupported, "expected exactly 1 host for the storage pool")
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
	f, err := os.Open(m.at("/proc/self/mounts"))
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
	return m.run(ctx, "mount", mountArgs(p, source)...)
}

// mountArgs are libvirt's: nothing on a pool is run, whatever is in it, unless the definition asks for it.
func mountArgs(p *def.Pool, source string) []string {
	options, format := []string{"nodev,nosuid,noexec"}, p.Source.Format
	switch {
	case format == "cifs":
		options = append(options, "guest")
	case format == "glusterfs":
		options = append(options, "direct-io-mode=1")
	case format == "nfs" && p.Source.Protocol != "":
		options = append(options, "nfsvers="+p.Source.Protocol)
	}
	for _, o := range p.Options {
		options = append(options, o.Name)
	}
	args := []string{"-o", strings.Join(options, ",")}
	if p.Kind.Name != "netfs" || format != "auto" {
		args = append(args, "-t", format)
	}
	return append(args, source, p.Path)
}

func (m mounted) Stop(ctx context.Context, p *def.Pool) error {
	if up, err := m.Active(ctx, p); !up || err != nil {
		return err
	}
	return m.run(ctx, "umount", p.Path)
}

// FindSources asks a server what it exports.
func (m mounted) FindSources(ctx context.Context, at *def.Source) ([]def.Source, error) {
	if len(at.Hosts) != 1 {
		return nil, liberr.New(from, liberr.InvalidArg, "%s", "Expected exactly 1 host for the storage pool")
	}
	host := at.Hosts[0].Name
	var found []def.Source
	out, err := m.output(ctx, "showmount", "--no-headers", "--exports", host)
	for _, line := range strings.Split(string(out), "\n") { // PATH CLIENTS
		if f := strings.Fields(line); err == nil && len(f) > 0 && strings.HasPrefix(f[0], "/") {
			found = append(found, def.Source{Hosts: []def.Host{{Name: host}}, Dir: f[0], Format: "nfs"})
		}
	}
	if volumes, e := (gluster{Host: m.Host}).FindSources(ctx, at); e == nil {
		for _, v := range volumes {
			found = append(found, def.Source{Hosts: v.Hosts, Dir: v.Name, Format: "glusterfs"})
		}
	}
	if len(found) == 0 {
		return nil, liberr.New(from, liberr.OperationFailed, "no storage pools were found on host '%s'", host).WithCause(err)
	}
	return found, nil
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
		if err := m.mustBeBlank(ctx, device, p.Source.Format); err != nil {
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
	return m.run(ctx, "mkfs", append(args, device)...)
}

// mustBeBlank refuses a device on which blkid finds anything.
func (h *Host) mustBeBlank(ctx context.Context, device, format string) error {
	found, err := h.probe(ctx, device)
	switch {
	case err != nil || found == "":
		return err
	case found == format:
		return liberr.New(from, liberr.StoragePoolBuilt, "Device '%s' already formatted using '%s'", device, format)
	}
	return liberr.New(from, liberr.OperationInvalid, "Format of device '%s' does not match the expected format '%s', forced overwrite is necessary", device, format)
}

// probe returns what blkid finds on a device: a file system or a partition table; "" for nothing.
func (h *Host) probe(ctx context.Context, device string) (string, error) {
	out, err := h.output(ctx, "blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", device)
	switch {
	case exitCode(err) == 2: // nothing was found
		return "", nil
	case err != nil:
		return "", liberr.New(from, liberr.StorageProbeFailed, "cannot tell what is on device '%s'", device).WithCause(err)
	}
	return strings.TrimSpace(string(out)), nil
}
