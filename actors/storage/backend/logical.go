package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// logical is a volume group of LVM; its logical volumes are the volumes.
type logical struct{ blocks }

// report runs a tool of LVM that lists something.
func (b logical) report(ctx context.Context, tool string, rows any, args ...string) error {
	out, err := b.output(ctx, tool, append([]string{"--reportformat", "json", "--units", "b", "--nosuffix"}, args...)...)
	if err != nil {
		return err
	}
	var doc struct {
		Report []map[string]json.RawMessage `json:"report"`
	}
	if err := json.Unmarshal(out, &doc); err != nil || len(doc.Report) == 0 {
		return liberr.New(from, liberr.InternalError, "cannot read what %s says", tool).WithCause(err)
	}
	kind := strings.TrimSuffix(tool, "s")
	if err := json.Unmarshal(doc.Report[0][kind], rows); err != nil {
		return liberr.New(from, liberr.InternalError, "cannot read what %s says", tool).WithCause(err)
	}
	return nil
}

type physicalVolume struct {
	Name  string `json:"pv_name"`
	Group string `json:"vg_name"`
}

// groups lists volume groups with their devices.
func (b logical) groups(ctx context.Context) (names []string, devices map[string][]def.Device, err error) {
	if err := b.run(ctx, "vgscan"); err != nil { // it may be the first to look
		return nil, nil, err
	}
	var pvs []physicalVolume
	if err := b.report(ctx, "pvs", &pvs, "-o", "pv_name,vg_name"); err != nil {
		return nil, nil, err
	}
	devices = map[string][]def.Device{}
	for _, v := range pvs {
		if v.Group == "" {
			continue
		}
		if devices[v.Group] == nil {
			names = append(names, v.Group)
		}
		devices[v.Group] = append(devices[v.Group], def.Device{Path: v.Name})
	}
	return names, devices, nil
}

// match refuses a definition whose group is not there, or is made of other devices.
func (b logical) match(ctx context.Context, p *def.Pool) error {
	_, all, err := b.groups(ctx)
	if err != nil {
		return err
	}
	found := all[p.Source.Name]
	if len(found) == 0 {
		return liberr.New(from, liberr.ConfigUnsupported, "cannot find logical volume group name '%s'", p.Source.Name)
	}
	for _, want := range p.Source.Devices {
		if !slices.ContainsFunc(found, func(d def.Device) bool { return d.Path == want.Path }) {
			return liberr.New(from, liberr.ConfigUnsupported, "cannot find any matching source devices for logical volume group '%s'", p.Source.Name)
		}
	}
	return nil
}

func (b logical) Active(ctx context.Context, p *def.Pool) (bool, error) {
	err := b.match(ctx, p)
	return err == nil, nil
}

func (b logical) Start(ctx context.Context, p *def.Pool) error {
	if err := b.match(ctx, p); err != nil {
		return err
	}
	return b.run(ctx, "vgchange", "-aly", p.Source.Name)
}

func (b logical) Stop(ctx context.Context, p *def.Pool) error {
	return b.run(ctx, "vgchange", "-aln", p.Source.Name)
}

// Build makes a group of the devices. What was made of it is undone when the rest cannot be made.
func (b logical) Build(ctx context.Context, p *def.Pool, flags uint32) (err error) {
	const both = virt.StoragePoolBuildOverwrite | virt.StoragePoolBuildNoOverwrite
	if err := refusesFlags(flags, both, "virStorageBackendLogicalBuildPool"); err != nil {
		return err
	}
	if flags == both {
		return liberr.Raw(from, liberr.InvalidArg, "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and 'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are mutually exclusive")
	}
	var made []string
	defer func() {
		if err != nil {
			for _, d := range made {
				_ = b.run(context.WithoutCancel(ctx), "pvremove", d)
			}
		}
	}()
	args := []string{p.Source.Name}
	for _, d := range p.Source.Devices {
		if flags&virt.StoragePoolBuildOverwrite == 0 {
			if err := b.mustBeBlank(ctx, d.Path, "LVM2_member"); err != nil {
				return err
			}
		}
		if err := zeroEnds(b.at(d.Path), d.Path); err != nil { // pvcreate asks about signatures
			return err
		}
		if err := b.run(ctx, "pvcreate", d.Path); err != nil {
			return err
		}
		made = append(made, d.Path)
		args = append(args, d.Path)
	}
	return b.run(ctx, "vgcreate", args...)
}

func (b logical) Delete(ctx context.Context, p *def.Pool, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendLogicalDeletePool"); err != nil {
		return err
	}
	if err := b.run(ctx, "vgremove", "-f", p.Source.Name); err != nil {
		return err
	}
	for _, d := range p.Source.Devices {
		if err := b.run(ctx, "pvremove", d.Path); err != nil {
			return err
		}
	}
	return nil
}

// segment is one row of lvs: a piece of a logical volume.
type segment struct {
	Name     string `json:"lv_name"`
	Origin   string `json:"origin"`
	UUID     string `json:"lv_uuid"`
	Devices  string `json:"devices"`
	Type     string `json:"segtype"`
	Stripes  string `json:"stripes"`
	SegSize  string `json:"seg_size"`
	Unit     string `json:"vg_extent_size"`
	Size     string `json:"lv_size"`
	Attr     string `json:"lv_attr"`
	DataSize string `json:"data_percent"`
}

const segmentFields = "lv_name,origin,lv_uuid,devices,segtype,stripes,seg_size,vg_extent_size,lv_size,lv_attr,data_percent"

func (b logical) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	if err := b.match(ctx, p); err != nil {
		return nil, err
	}
	all, err := b.volumes(ctx, p, p.Source.Name)
	if err != nil {
		return nil, err
	}
	s, err := b.Space(ctx, p)
	if err != nil {
		return nil, err
	}
	return content(p, s, all), nil
}

// volumes lists logical volumes; of is a group or one volume of it.
func (b logical) volumes(ctx context.Context, p *def.Pool, of string) ([]*def.Volume, error) {
	var rows []segment
	if err := b.report(ctx, "lvs", &rows, "-o", segmentFields, of); err != nil {
		return nil, err
	}
	var all []*def.Volume
	byName := map[string]*def.Volume{}
	for _, r := range rows {
		v := byName[r.Name]
		if v == nil {
			// A thin pool holds volumes and is none; one that is not active has no device.
			if len(r.Attr) > 4 && (r.Attr[0] == 't' || r.Attr[4] != 'a') || r.Name == "" {
				continue
			}
			v = b.volume(p, r)
			byName[r.Name] = v
			all = append(all, v)
		}
		v.Extents = append(v.Extents, r.extents()...)
	}
	return all, nil
}

func (b logical) volume(p *def.Pool, r segment) *def.Volume {
	path := p.Path + "/" + r.Name
	size := number(r.Size)
	v := &def.Volume{Name: r.Name, Path: path, Key: r.UUID, Type: virt.StorageVolBlock, Capacity: size, Allocation: size, Physical: size,
		Permissions: def.NoPermissions, CapacityGiven: true, AllocationGiven: true}
	if d, err := b.device(r.Name, path); err == nil && d != nil {
		v.Permissions, v.Times, v.Capacity, v.Physical = d.Permissions, d.Times, d.Capacity, d.Physical
	}
	if r.Type == "thin" || r.Attr != "" && r.Attr[0] == 'V' {
		used, _ := strconv.ParseFloat(r.DataSize, 64)
		v.Allocation = uint64(float64(size) * used / 100)
	}
	if r.Origin != "" && !strings.HasPrefix(r.Origin, "[") {
		v.Backing = &def.Backing{Path: p.Path + "/" + r.Origin, Permissions: def.NoPermissions}
	}
	return v
}

// extents reads "/dev/sda1(10),/dev/sdb1(0)": where the pieces begin, in extents of the group.
func (r *segment) extents() (out []def.VolumeExtent) {
	if r.Devices == "" || r.Type == "thin" {
		return nil
	}
	unit, length := number(r.Unit), number(r.SegSize)
	if n := number(r.Stripes); n > 1 {
		length /= n
	}
	for _, d := range strings.Split(r.Devices, ",") {
		path, at, ok := strings.Cut(strings.TrimSuffix(d, ")"), "(")
		if !ok || unit == 0 {
			continue
		}
		start := number(at) * unit
		out = append(out, def.VolumeExtent{Device: path, Extent: def.Extent{Start: start, End: start + length}})
	}
	return out
}

func (b logical) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b logical) Space(ctx context.Context, p *def.Pool) (s Space, err error) {
	var rows []struct {
		Size string `json:"vg_size"`
		Free string `json:"vg_free"`
	}
	if err := b.report(ctx, "vgs", &rows, "-o", "vg_size,vg_free", p.Source.Name); err != nil {
		return s, err
	}
	for _, r := range rows {
		s.Capacity, s.Available = number(r.Size), number(r.Free)
	}
	s.Allocation = s.Capacity - s.Available
	return s, nil
}

func (b logical) Place(p *def.Pool, v *def.Volume) error {
	if v.Encryption != nil {
		return liberr.New(from, liberr.ConfigUnsupported, "storage pool does not support encrypted volumes")
	}
	if strings.Contains(v.Name, "/") || strings.HasPrefix(v.Name, "-") {
		return liberr.New(from, liberr.OperationInvalid, "volume name '%s' cannot contain '/'", v.Name)
	}
	v.Type = virt.StorageVolBlock
	v.Path = p.Path + "/" + v.Name
	v.Key = v.Path // until LVM has given it its own
	return nil
}

// Create makes a volume, or a snapshot of the one that it builds upon.
func (b logical) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	args := []string{"--name", v.Name}
	of := p.Source.Name
	kib := func(n uint64) string { return fmt.Sprintf("%dK", (n+1023)/1024) }
	switch {
	case v.Backing != nil:
		args = append(args, "-L", kib(max(v.Capacity, 1)), "-s")
		of = v.Backing.Path
	case v.Capacity != v.Allocation:
		args = append(args, "-L", kib(max(v.Allocation, 1)), "--type", "snapshot", "--virtualsize", kib(v.Capacity))
	default:
		args = append(args, "-L", kib(v.Capacity))
	}
	undo.Add("remove the logical volume", func(c context.Context) error {
		return b.run(c, "lvremove", "-f", p.Source.Name+"/"+v.Name)
	})
	if err := b.run(ctx, "lvcreate", append(args, of, "--yes")...); err != nil {
		if exitCode(err) != 0 { // it made nothing; another's volume may have the name
			undo.Keep()
		}
		return err
	}
	if err := b.appears(ctx, v.Path); err != nil {
		return err
	}
	if err := b.own(v); err != nil {
		return err
	}
	undo.Keep()
	return nil
}

func (b logical) Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error {
	if v.Allocation < v.Capacity {
		v.Allocation = v.Capacity // what is copied must have room
	}
	if err := b.Create(ctx, undo, p, v, flags); err != nil {
		return err
	}
	if err := b.fill(ctx, v, source); err != nil {
		return errors.Join(err, b.Remove(context.WithoutCancel(ctx), p, v, 0))
	}
	return nil
}

func (b logical) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendLogicalDeleteVol"); err != nil {
		return err
	}
	b.settle(ctx)
	name := p.Source.Name + "/" + v.Name
	err := b.run(ctx, "lvremove", "-f", name)
	if err == nil {
		return nil
	}
	if now, e := b.Look(ctx, p, v.Name); e == nil && now == nil {
		return nil // gone already
	}
	if b.run(ctx, "lvchange", "-aln", name) == nil { // in use by something that LVM itself can end
		return b.run(ctx, "lvremove", "-f", name)
	}
	return err
}

// Wipe refuses volumes that are not all there: writing to them would fill up the group.
func (b logical) Wipe(ctx context.Context, p *def.Pool, v *def.Volume, algorithm uint32) error {
	if v.Allocation < v.Capacity {
		return liberr.New(from, liberr.NoSupportCode, "logical volume '%s' is sparse, volume wipe not supported", v.Name)
	}
	return b.blocks.Wipe(ctx, p, v, algorithm)
}

// FindSources lists the volume groups of this host.
func (b logical) FindSources(ctx context.Context, _ *def.Source) ([]def.Source, error) {
	names, devices, err := b.groups(ctx)
	if err != nil {
		return nil, err
	}
	var found []def.Source
	for _, n := range names {
		found = append(found, def.Source{Name: n, Devices: devices[n], Format: "lvm2"})
	}
	return found, nil
}
