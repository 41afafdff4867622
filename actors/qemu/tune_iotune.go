package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// ioTuneParam is one limit of a disk. Setting one of a kind sets all of that kind: what is not named
// becomes 0, while other kinds keep their values.
type ioTuneParam struct {
	name  string
	kind  string
	field func(t *libvirtxml.DomainDiskIOTune) *uint64
}

// ioTuneParams are in libvirt's order; the group's name comes after the first thirteen.
var ioTuneParams = []ioTuneParam{
	{virt.DomainBlockIotuneTotalBytesSec, "bytes", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalBytesSec }},
	{virt.DomainBlockIotuneReadBytesSec, "bytes", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadBytesSec }},
	{virt.DomainBlockIotuneWriteBytesSec, "bytes", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteBytesSec }},
	{virt.DomainBlockIotuneTotalIopsSec, "iops", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalIopsSec }},
	{virt.DomainBlockIotuneReadIopsSec, "iops", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadIopsSec }},
	{virt.DomainBlockIotuneWriteIopsSec, "iops", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteIopsSec }},
	{virt.DomainBlockIotuneTotalBytesSecMax, "bytes_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalBytesSecMax }},
	{virt.DomainBlockIotuneReadBytesSecMax, "bytes_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadBytesSecMax }},
	{virt.DomainBlockIotuneWriteBytesSecMax, "bytes_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteBytesSecMax }},
	{virt.DomainBlockIotuneTotalIopsSecMax, "iops_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalIopsSecMax }},
	{virt.DomainBlockIotuneReadIopsSecMax, "iops_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadIopsSecMax }},
	{virt.DomainBlockIotuneWriteIopsSecMax, "iops_max", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteIopsSecMax }},
	{virt.DomainBlockIotuneSizeIopsSec, "size", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.SizeIopsSec }},
	{virt.DomainBlockIotuneTotalBytesSecMaxLength, "bytes_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalBytesSecMaxLength }},
	{virt.DomainBlockIotuneReadBytesSecMaxLength, "bytes_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadBytesSecMaxLength }},
	{virt.DomainBlockIotuneWriteBytesSecMaxLength, "bytes_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteBytesSecMaxLength }},
	{virt.DomainBlockIotuneTotalIopsSecMaxLength, "iops_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.TotalIopsSecMaxLength }},
	{virt.DomainBlockIotuneReadIopsSecMaxLength, "iops_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.ReadIopsSecMaxLength }},
	{virt.DomainBlockIotuneWriteIopsSecMaxLength, "iops_max_length", func(t *libvirtxml.DomainDiskIOTune) *uint64 { return &t.WriteIopsSecMaxLength }},
}

const ioTuneBeforeGroup = 13

// listIOTune lists the limits as parameters.
func listIOTune(t *libvirtxml.DomainDiskIOTune) []protocol.TypedParam {
	if t == nil {
		t = &libvirtxml.DomainDiskIOTune{}
	}
	var out []protocol.TypedParam
	for i, p := range ioTuneParams {
		if i == ioTuneBeforeGroup {
			out = append(out, paramString(virt.DomainBlockIotuneGroupName, t.GroupName))
		}
		out = append(out, paramULLong(p.name, *p.field(t)))
	}
	return out
}

// guestIOTune reads the limits of a disk from QEMU.
func guestIOTune(ctx context.Context, mon *qmp.Client, alias string) (*libvirtxml.DomainDiskIOTune, error) {
	blocks, err := qmp.QueryBlock(ctx, mon)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if deviceID(b.Device, b.Qdev) != alias {
			continue
		}
		if b.Inserted == nil {
			return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "block_io_throttle inserted entry was not in expected format")
		}
		l := b.Inserted.IOLimits
		return &libvirtxml.DomainDiskIOTune{
			TotalBytesSec: l.BPS, ReadBytesSec: l.BPSRd, WriteBytesSec: l.BPSWr,
			TotalIopsSec: l.IOPS, ReadIopsSec: l.IOPSRd, WriteIopsSec: l.IOPSWr,
			TotalBytesSecMax: l.BPSMax, ReadBytesSecMax: l.BPSRdMax, WriteBytesSecMax: l.BPSWrMax,
			TotalIopsSecMax: l.IOPSMax, ReadIopsSecMax: l.IOPSRdMax, WriteIopsSecMax: l.IOPSWrMax,
			SizeIopsSec: l.IOPSSize, GroupName: l.ThrottleGroup,
			TotalBytesSecMaxLength: l.BPSMaxLen, ReadBytesSecMaxLength: l.BPSRdMaxLen, WriteBytesSecMaxLength: l.BPSWrMaxLen,
			TotalIopsSecMaxLength: l.IOPSMaxLen, ReadIopsSecMaxLength: l.IOPSRdMaxLen, WriteIopsSecMaxLength: l.IOPSWrMaxLen,
		}, nil
	}
	return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "cannot find throttling info for device '%s'", alias)
}

// tunedDisk finds the disk that a call names.
func tunedDisk(def *libvirtxml.Domain, name string, live bool) (*libvirtxml.DomainDisk, error) {
	disk := findDisk(def, name)
	if disk == nil && live {
		return nil, invalidArg("disk '%s' not found in domain", name)
	} else if disk == nil {
		return nil, invalidArg("disk '%s' was not found in the domain config", name)
	}
	return disk, nil
}

func (d *domain) blockIOTune(ctx actor.Context, r *call.Request, a *protocol.DomainGetBlockIOTuneArgs) error {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetBlockIoTune"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteDomainBlockIOTuneParametersMax || a.Nparams < 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	answer := func(t *libvirtxml.DomainDiskIOTune) protocol.Encoder {
		ret := &protocol.DomainGetBlockIOTuneRet{}
		ret.Params, ret.Nparams = counted(listIOTune(t), a.Nparams)
		return ret
	}
	if a.Nparams == 0 { // the number does not depend on the disk
		r.Reply(answer(nil))
		return nil
	}
	disk, err := tunedDisk(def, text(a.Disk), live)
	if err != nil {
		return err
	}
	if !live {
		r.Reply(answer(disk.IOTune))
		return nil
	}
	alias := diskAlias(disk)
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		t, err := guestIOTune(jc, mon, alias)
		if err != nil {
			return nil, err
		}
		return answer(t), nil
	})
}

// ioTuneMost is the largest limit that QEMU takes.
const ioTuneMost = 1000000000000000

// checkIOTune applies libvirt's rules to what a client has set.
func checkIOTune(params []protocol.TypedParam) error {
	spec := paramSpec{virt.DomainBlockIotuneGroupName: virt.TypedParamString}
	for _, p := range ioTuneParams {
		spec[p.name] = virt.TypedParamUllong
	}
	if err := checkParams(params, spec); err != nil {
		return err
	}
	v := map[string]uint64{}
	for _, p := range params {
		if p.Value.Ul > ioTuneMost {
			return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "block I/O throttle limit value must be no more than %d", uint64(ioTuneMost))
		}
		v[p.Field] = p.Value.Ul
	}
	for _, kind := range []string{"bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"} {
		if v["total_"+kind] != 0 && (v["read_"+kind] != 0 || v["write_"+kind] != 0) {
			return invalidArg("total and read/write of %s cannot be set at the same time", kind)
		}
	}
	return nil
}

// mergeIOTune is what the limits become.
func mergeIOTune(old *libvirtxml.DomainDiskIOTune, params []protocol.TypedParam) libvirtxml.DomainDiskIOTune {
	var t libvirtxml.DomainDiskIOTune
	if old != nil {
		t = *old
	}
	set := map[string]protocol.TypedParamValue{}
	for _, p := range params {
		set[p.Field] = p.Value
	}
	kinds := map[string]bool{}
	for _, p := range ioTuneParams {
		if _, ok := set[p.name]; ok {
			kinds[p.kind] = true
		}
	}
	for _, p := range ioTuneParams {
		if kinds[p.kind] {
			*p.field(&t) = set[p.name].Ul
		}
	}
	if g, ok := set[virt.DomainBlockIotuneGroupName]; ok {
		t.GroupName = g.S
	}
	return t
}

// checkMerged refuses bursts without a limit. Lengths without a burst are left to QEMU.
func checkMerged(t *libvirtxml.DomainDiskIOTune) error {
	for i := range 6 {
		limit, burst := ioTuneParams[i], ioTuneParams[i+6]
		if *burst.field(t) != 0 && *limit.field(t) == 0 {
			return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "cannot reset '%s' when '%s' is set", limit.name, burst.name)
		}
	}
	return nil
}

func (d *domain) setBlockIOTune(ctx actor.Context, r *call.Request, a *protocol.DomainSetBlockIOTuneArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetBlockIoTune"); err != nil {
		return err
	}
	if err := checkIOTune(a.Params); err != nil {
		return err
	}
	var now *libvirtxml.DomainDiskIOTune // the guest's new limits, once they are set
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, live bool) error {
			_, err := tunedDisk(def, a.Disk, live)
			return err
		},
		effect: func(jc context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
			disk := *findDisk(def, a.Disk)
			old, err := guestIOTune(jc, mon, diskAlias(&disk))
			if err != nil {
				return err
			}
			t := mergeIOTune(old, a.Params)
			if err := checkMerged(&t); err != nil {
				return err
			}
			now = &t
			return qmp.BlockSetIOThrottle(jc, mon, command.DiskPath(&disk), ioLimits(&t))
		},
		edit: func(def *libvirtxml.Domain, live bool) error {
			disk := findDisk(def, a.Disk)
			t := mergeIOTune(disk.IOTune, a.Params)
			if live && now != nil {
				t = *now
			}
			disk.IOTune = nil
			if t != (libvirtxml.DomainDiskIOTune{}) {
				disk.IOTune = &t
			}
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if aff.live {
				d.tuned(ctx, ioTuneEvent(d.live.def, a.Disk, a.Params)...)
			}
		},
	})
}

// ioTuneEvent tells which limits of which disk were set.
func ioTuneEvent(def *libvirtxml.Domain, path string, params []protocol.TypedParam) []protocol.TypedParam {
	disk := findDisk(def, path)
	if disk == nil {
		return nil
	}
	out := []protocol.TypedParam{paramString("blkdeviotune.disk", diskTarget(disk))}
	for _, p := range params {
		out = append(out, protocol.TypedParam{Field: "blkdeviotune." + p.Field, Value: p.Value})
	}
	return out
}

// ioLimits are the limits in QEMU's words.
func ioLimits(t *libvirtxml.DomainDiskIOTune) qmp.IOLimits {
	return qmp.IOLimits{
		BPS: t.TotalBytesSec, BPSRd: t.ReadBytesSec, BPSWr: t.WriteBytesSec,
		IOPS: t.TotalIopsSec, IOPSRd: t.ReadIopsSec, IOPSWr: t.WriteIopsSec,
		BPSMax: t.TotalBytesSecMax, BPSRdMax: t.ReadBytesSecMax, BPSWrMax: t.WriteBytesSecMax,
		IOPSMax: t.TotalIopsSecMax, IOPSRdMax: t.ReadIopsSecMax, IOPSWrMax: t.WriteIopsSecMax,
		BPSMaxLen: t.TotalBytesSecMaxLength, BPSRdMaxLen: t.ReadBytesSecMaxLength, BPSWrMaxLen: t.WriteBytesSecMaxLength,
		IOPSMaxLen: t.TotalIopsSecMaxLength, IOPSRdMaxLen: t.ReadIopsSecMaxLength, IOPSWrMaxLen: t.WriteIopsSecMaxLength,
		IOPSSize: t.SizeIopsSec, ThrottleGroup: t.GroupName,
	}
}
