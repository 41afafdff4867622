package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/lockd"
	"virtree/wire/liberr"
)

// Which leases a guest needs.

// wanted lists the leases of a definition: its <lease> elements, then its disks, with the images that copies of them and
// commits write to.
func (c lockConf) wanted(ctx context.Context, def *libvirtxml.Domain) ([]lockd.Lease, error) {
	if def.Devices == nil {
		return nil, nil
	}
	var list []lockd.Lease
	for i := range def.Devices.Leases {
		l, err := leaseOf(&def.Devices.Leases[i])
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	for i := range def.Devices.Disks {
		d := &def.Devices.Disks[i]
		list = append(list, c.ofDisk(ctx, d)...)
		if m := d.Mirror; m != nil && m.Source != nil {
			list = append(list, c.ofSource(ctx, m.Source, d)...)
		}
	}
	if c.require && len(list) == 0 && writesDisks(def) {
		return nil, liberr.New(liberr.FromLocking, liberr.ConfigUnsupported, "read/write, exclusive access, disks were present, but no leases specified")
	}
	return list, nil
}

// leaseOf is the resource of a <lease> element: a file in the folder of its lockspace, which somebody else has made.
func leaseOf(l *libvirtxml.DomainLease) (lockd.Lease, error) {
	t := l.Target
	switch {
	case t != nil && t.Offset != 0:
		return lockd.Lease{}, liberr.New(liberr.FromLocking, liberr.InternalError, "Offset must be zero for this lock manager")
	case t == nil || t.Path == "" || l.Lockspace == "":
		return lockd.Lease{}, liberr.New(liberr.FromLocking, liberr.InternalError, "Missing path or lockspace for lease resource")
	}
	return lockd.Lease{Space: t.Path + "/" + l.Lockspace, Name: l.Key}, nil
}

// ofDisk is the lease of a disk's present image, if it needs one.
func (c lockConf) ofDisk(ctx context.Context, d *libvirtxml.DomainDisk) []lockd.Lease {
	if d.ReadOnly != nil {
		return nil
	}
	return c.ofSource(ctx, d.Source, d)
}

// ofSource is the lease of an image that is written to in the name of disk d.
func (c lockConf) ofSource(ctx context.Context, s *libvirtxml.DomainDiskSource, d *libvirtxml.DomainDisk) []lockd.Lease {
	path := lockable(s)
	if path == "" || !c.auto {
		return nil
	}
	l := lockd.Lease{Name: path, Shared: d.Shareable != nil}
	// Compat: what is below /dev counts as a device.
	device := strings.HasPrefix(path, "/dev")
	if key := ""; device && c.lvm != "" {
		if key = lvmKey(ctx, path); key != "" {
			l.Space, l.Name, l.Make = c.lvm, key, true
			return []lockd.Lease{l}
		}
	}
	if key := ""; device && c.scsi != "" {
		if key = scsiKey(ctx, path); key != "" {
			l.Space, l.Name, l.Make = c.scsi, key, true
			return []lockd.Lease{l}
		}
	}
	if c.files != "" {
		sum := sha256.Sum256([]byte(path))
		l.Space, l.Name, l.Make = c.files, hex.EncodeToString(sum[:]), true
	}
	return []lockd.Lease{l}
}

// lockable is what of a source can be locked on this host: a file, a device or a folder, also of a volume.
func lockable(s *libvirtxml.DomainDiskSource) string {
	if s != nil && s.File == nil && s.Block == nil && s.Dir != nil {
		return s.Dir.Dir
	}
	return localPath(s)
}

// writesDisks tells whether there is a disk that the guest has for itself.
func writesDisks(def *libvirtxml.Domain) bool {
	for i := range def.Devices.Disks {
		d := &def.Devices.Disks[i]
		if d.ReadOnly == nil && d.Shareable == nil && lockable(d.Source) != "" {
			return true
		}
	}
	return false
}

// lvmKey is the unique name of a logical volume; "" for what is none.
func lvmKey(ctx context.Context, path string) string {
	return oneWord(ctx, "lvs", "--noheadings", "--unbuffered", "--nosuffix", "--options", "uuid", path)
}

// scsiKey is the unique name of a SCSI device; "" for what is none.
func scsiKey(ctx context.Context, path string) string {
	return oneWord(ctx, "/lib/udev/scsi_id", "--replace-whitespace", "--whitelisted", "--device", path)
}

// oneWord is what a tool prints; "" when it fails.
func oneWord(ctx context.Context, tool string, args ...string) string {
	out, err := exec.CommandContext(ctx, tool, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
