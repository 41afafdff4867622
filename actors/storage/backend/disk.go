package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// diskPool is a disk whose partitions are the volumes. A partition's name is given by the kernel; who makes a volume must
// know which it will be.
//
// Compat: libvirt makes a partition first and compares names then, and leaves it behind if they differ; here nothing is made.
// It deletes no partition of a disk whose name ends with a digit.
type diskPool struct{ blocks }

// deviceOf returns the disk itself, behind any links.
func (b diskPool) deviceOf(p *def.Pool) (string, error) {
	if len(p.Source.Devices) != 1 {
		return "", liberr.New(from, liberr.InternalError, "missing source device")
	}
	device := p.Source.Device()
	if _, err := os.Stat(b.at(device)); err != nil {
		return "", liberr.New(from, liberr.InternalError, "device path '%s' doesn't exist", device)
	}
	return device, nil
}

// names of partitions have a p after a name that ends with a digit, or where the definition says so.
func (b diskPool) partition(p *def.Pool, number int) string {
	device := p.Source.Device()
	if real, err := filepath.EvalSymlinks(b.at(device)); err == nil && b.Root == "" {
		device = real
	}
	last := device[len(device)-1]
	if p.Source.Devices[0].PartSeparator == "yes" || last >= '0' && last <= '9' {
		device += "p"
	}
	return device + strconv.Itoa(number)
}

func (b diskPool) Active(ctx context.Context, p *def.Pool) (bool, error) {
	device, err := b.deviceOf(p)
	if err != nil {
		return false, nil
	}
	t, err := b.table(ctx, device)
	return err == nil && t.label != "", err
}

func (b diskPool) Start(ctx context.Context, p *def.Pool) error {
	b.settle(ctx)
	device, err := b.deviceOf(p)
	if err != nil {
		return err
	}
	t, err := b.table(ctx, device)
	switch {
	case err != nil:
		return err
	case t.label == "":
		return liberr.New(from, liberr.StorageProbeFailed, "Device '%s' is unrecognized, requires build", device)
	case p.Source.Format != "unknown" && t.label != p.Source.Format:
		return liberr.New(from, liberr.StorageProbeFailed, "Format of device '%s' does not match the expected format '%s'", device, p.Source.Format)
	}
	return nil
}

// Build makes an empty partition table.
func (b diskPool) Build(ctx context.Context, p *def.Pool, flags uint32) error {
	const both = virt.StoragePoolBuildOverwrite | virt.StoragePoolBuildNoOverwrite
	if err := refusesFlags(flags, both, "virStorageBackendDiskBuildPool"); err != nil {
		return err
	}
	if flags == both {
		return liberr.Raw(from, liberr.InvalidArg, "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and 'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are mutually exclusive")
	}
	device, err := b.deviceOf(p)
	if err != nil {
		return err
	}
	if flags&virt.StoragePoolBuildOverwrite == 0 {
		if err := b.mustBeBlank(ctx, device, p.Source.Format); err != nil {
			return err
		}
	} else if err := zeroEnds(b.at(device), device); err != nil {
		return err
	}
	return b.run(ctx, "parted", device, "mklabel", "--script", partedLabel(p.Source.Format))
}

func (b diskPool) Delete(ctx context.Context, p *def.Pool, flags uint32) error {
	if err := refusesFlags(flags, virt.StoragePoolDeleteZeroed, "virStorageBackendDiskDeletePool"); err != nil {
		return err
	}
	device, err := b.deviceOf(p)
	if err != nil {
		return err
	}
	if err := zeroEnds(b.at(device), device); err != nil {
		return err
	}
	_ = b.run(ctx, "blockdev", "--rereadpt", device) // the kernel forgets the partitions
	return nil
}

// zeroEnds overwrites the first and the last MiB, where labels and signatures are.
func zeroEnds(path, name string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return liberr.System(from, err, "cannot open volume '%s'", name)
	}
	defer f.Close()
	end, err := f.Seek(0, 2)
	if err != nil {
		return liberr.System(from, err, "cannot seek to end of file '%s'", name)
	}
	n := min(end, 1<<20)
	for _, at := range []int64{0, end - n} {
		if _, err := f.WriteAt(make([]byte, n), at); err != nil {
			return liberr.System(from, err, "failed to clear device header of '%s'", name)
		}
	}
	return system(f.Sync(), "cannot sync data to file '%s'", name)
}

func (b diskPool) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	device, err := b.deviceOf(p)
	if err != nil {
		return nil, err
	}
	t, err := b.table(ctx, device)
	if err != nil {
		return nil, err
	}
	if t.label == "" {
		return nil, liberr.New(from, liberr.StorageProbeFailed, "Device '%s' is unrecognized, requires build", device)
	}
	var all []*def.Volume
	for _, part := range t.partitions {
		v, err := b.volume(ctx, p, part)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return content(p, t.space(), all), nil
}

func (b diskPool) volume(ctx context.Context, p *def.Pool, part partition) (*def.Volume, error) {
	path := b.partition(p, part.number)
	if err := b.appears(ctx, path); err != nil {
		return nil, err
	}
	v, err := b.device(filepath.Base(path), path)
	if err != nil || v == nil {
		return nil, errors.Join(err, os.ErrNotExist)
	}
	v.Format = "none"
	v.Extents = []def.VolumeExtent{{Device: p.Source.Device(), Extent: part.Extent}}
	if part.extended { // a device of two sectors: there is nothing in it but others
		v.Capacity, v.Allocation = part.End-part.Start, 0
	}
	return stable(b.Host, p, v), nil
}

func (b diskPool) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b diskPool) Space(ctx context.Context, p *def.Pool) (Space, error) { return spaceIn(ctx, b, p) }

func (b diskPool) Place(p *def.Pool, v *def.Volume) error {
	if v.Encryption != nil {
		return liberr.New(from, liberr.ConfigUnsupported, "storage pool only supports LUKS encrypted volumes")
	}
	v.Type = virt.StorageVolBlock
	v.Path = filepath.Join("/dev", v.Name)
	v.Key = v.Path
	return nil
}

func (b diskPool) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	device, err := b.deviceOf(p)
	if err != nil {
		return err
	}
	t, err := b.table(ctx, device)
	if err != nil {
		return err
	}
	kind, number, err := t.next(v.Format == "extended")
	if err != nil {
		return err
	}
	path := b.partition(p, number)
	if want := filepath.Base(path); v.Name != want {
		return liberr.New(from, liberr.InvalidArg, "invalid partition name '%s', expected '%s'", v.Name, want)
	}
	at, err := t.place(v.Capacity, kind == "logical")
	if err != nil {
		return err
	}
	args := []string{"-s", device, "mkpart", kind}
	if t.label == "dos" && kind != "extended" {
		args = append(args, partedFS(v.Format))
	}
	undo.Add("remove the partition", func(c context.Context) error {
		return b.run(c, "parted", "-s", device, "rm", strconv.Itoa(number))
	})
	if err := b.run(ctx, "parted", append(args, fmt.Sprintf("%dB", at.Start), fmt.Sprintf("%dB", at.End-1))...); err != nil {
		return err
	}
	if err := b.appears(ctx, path); err != nil {
		return err
	}
	v.Path = path
	if err := b.own(v); err != nil {
		return err
	}
	undo.Keep()
	return nil
}

// partedFS is parted's name of what will be in a partition.
func partedFS(format string) string {
	switch format {
	case "fat16", "fat32", "linux-swap":
		return format
	}
	return "ext2"
}

func (b diskPool) Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error {
	if err := b.Create(ctx, undo, p, v, flags); err != nil {
		return err
	}
	if err := b.fill(ctx, v, source); err != nil {
		return errors.Join(err, b.Remove(context.WithoutCancel(ctx), p, v, 0))
	}
	return nil
}

func (b diskPool) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendDiskDeleteVol"); err != nil {
		return err
	}
	device, err := b.deviceOf(p)
	if err != nil {
		return err
	}
	t, err := b.table(ctx, device)
	if err != nil {
		return err
	}
	for _, part := range t.partitions {
		if filepath.Base(b.partition(p, part.number)) == v.Name {
			return b.run(ctx, "parted", device, "rm", "--script", strconv.Itoa(part.number))
		}
	}
	return nil
}

// stable gives a volume the name that the pool's folder has for the device: those of /dev/disk/by-id and the like stay the
// same when the kernel counts devices another way. In /dev itself the kernel's own name stays.
func stable(h *Host, p *def.Pool, v *def.Volume) *def.Volume {
	if p.Path == "/dev" || !strings.HasPrefix(p.Path, "/dev/") {
		return v
	}
	entries, err := os.ReadDir(h.at(p.Path))
	if err != nil {
		return v
	}
	for _, e := range entries {
		link := filepath.Join(p.Path, e.Name())
		to, err := os.Readlink(h.at(link))
		if err != nil {
			continue
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(p.Path, to)
		}
		if to == v.Path {
			v.Path, v.Key = link, link
			return v
		}
	}
	return v
}
