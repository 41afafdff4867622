package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// blockFigures is what QEMU tells of all disks: of devices by their id, of images by their node.
type blockFigures struct {
	devices map[string]qmp.BlockIOStats
	nodes   map[string]qmp.BlockIOStats
	images  map[string]qmp.BlockNode
}

// guestBlocks asks QEMU for its block figures; images are asked for when sizes are wanted.
func guestBlocks(ctx context.Context, mon *qmp.Client, images bool) (*blockFigures, error) {
	f := &blockFigures{devices: map[string]qmp.BlockIOStats{}, nodes: map[string]qmp.BlockIOStats{}, images: map[string]qmp.BlockNode{}}
	devices, err := qmp.QueryBlockStats(ctx, mon, false)
	if err != nil {
		return nil, err
	}
	for _, s := range devices {
		f.devices[deviceID(s.Device, s.Qdev)] = s.Stats
		f.chain(&s)
	}
	if !images {
		return f, nil
	}
	nodes, err := qmp.QueryBlockStats(ctx, mon, true)
	if err != nil {
		return nil, err
	}
	for _, s := range nodes {
		if s.NodeName != "" {
			f.nodes[s.NodeName] = s.Stats
		}
	}
	named, err := qmp.QueryNamedBlockNodes(ctx, mon)
	if err != nil {
		return nil, err
	}
	for _, n := range named {
		f.images[n.NodeName] = n
	}
	return f, nil
}

func (f *blockFigures) chain(s *qmp.BlockStats) {
	for ; s != nil; s = s.Backing {
		if s.NodeName != "" {
			f.nodes[s.NodeName] = s.Stats
		}
	}
}

// deviceID is the id of the device that QEMU names by its old drive name, its id or its path in the
// object tree ("/machine/peripheral/virtio-disk0/virtio-backend").
func deviceID(device, qdev string) string {
	if qdev == "" {
		return device
	}
	const peripheral = "/machine/peripheral/"
	if len(qdev) > len(peripheral) && qdev[:len(peripheral)] == peripheral {
		qdev = qdev[len(peripheral):]
		for i := range qdev {
			if qdev[i] == '/' {
				return qdev[:i]
			}
		}
	}
	return qdev
}

// diskFigures adds up the figures of the disks that a path names; "" names all of them.
func diskFigures(def *libvirtxml.Domain, f *blockFigures, path string) (qmp.BlockIOStats, error) {
	var sum qmp.BlockIOStats
	if path != "" {
		disk := findDisk(def, path)
		if disk == nil {
			return sum, liberr.New(liberr.FromQemu, liberr.InvalidArg, "invalid path: %s", path)
		}
		alias := diskAlias(disk)
		if alias == "" {
			return sum, liberr.New(liberr.FromQemu, liberr.InternalError, "missing disk device alias name for %s", diskTarget(disk))
		}
		s, ok := f.devices[alias]
		if !ok {
			return sum, liberr.New(liberr.FromQemu, liberr.InternalError, "cannot find statistics for device '%s'", alias)
		}
		return s, nil
	}
	for _, s := range f.devices {
		sum.RdBytes, sum.WrBytes = sum.RdBytes+s.RdBytes, sum.WrBytes+s.WrBytes
		sum.RdOps, sum.WrOps, sum.FlushOps = sum.RdOps+s.RdOps, sum.WrOps+s.WrOps, sum.FlushOps+s.FlushOps
		sum.RdTotalNS, sum.WrTotalNS = sum.RdTotalNS+s.RdTotalNS, sum.WrTotalNS+s.WrTotalNS
		sum.FlushTotalNS += s.FlushTotalNS
	}
	return sum, nil
}

// checkDisk refuses a path that names no disk before QEMU is asked.
func checkDisk(def *libvirtxml.Domain, path string) error {
	if path != "" && findDisk(def, path) == nil {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "invalid path: %s", path)
	}
	return nil
}

func (d *domain) blockStats(ctx actor.Context, r *call.Request, a *protocol.DomainBlockStatsArgs) error {
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	if err := checkDisk(def, a.Path); err != nil {
		return err
	}
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		f, err := guestBlocks(jc, mon, false)
		if err != nil {
			return nil, err
		}
		s, err := diskFigures(def, f, a.Path)
		if err != nil {
			return nil, err
		}
		return &protocol.DomainBlockStatsRet{
			RdReq: int64(s.RdOps), RdBytes: int64(s.RdBytes), WrReq: int64(s.WrOps), WrBytes: int64(s.WrBytes), Errs: -1,
		}, nil
	})
}

func (d *domain) blockStatsFlags(ctx actor.Context, r *call.Request, a *protocol.DomainBlockStatsFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.TypedParamStringOkay, liberr.FromQemu, "qemuDomainBlockStatsFlags"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteDomainBlockStatsParametersMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	if err := checkDisk(def, a.Path); err != nil {
		return err
	}
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		f, err := guestBlocks(jc, mon, false)
		if err != nil {
			return nil, err
		}
		s, err := diskFigures(def, f, a.Path)
		if err != nil {
			return nil, err
		}
		ret := &protocol.DomainBlockStatsFlagsRet{}
		ret.Params, ret.Nparams = counted([]protocol.TypedParam{
			paramLLong(virt.DomainBlockStatsWriteBytes, int64(s.WrBytes)),
			paramLLong(virt.DomainBlockStatsWriteReq, int64(s.WrOps)),
			paramLLong(virt.DomainBlockStatsReadBytes, int64(s.RdBytes)),
			paramLLong(virt.DomainBlockStatsReadReq, int64(s.RdOps)),
			paramLLong(virt.DomainBlockStatsFlushReq, int64(s.FlushOps)),
			paramLLong(virt.DomainBlockStatsWriteTotalTimes, int64(s.WrTotalNS)),
			paramLLong(virt.DomainBlockStatsReadTotalTimes, int64(s.RdTotalNS)),
			paramLLong(virt.DomainBlockStatsFlushTotalTimes, int64(s.FlushTotalNS)),
		}, a.Nparams)
		return ret, nil
	})
}

func (d *domain) blockInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetBlockInfoArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetBlockInfo"); err != nil {
		return err
	}
	if a.Path == "" {
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "string disk in virDomainGetBlockInfo must not be empty")
	}
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	disk := findDisk(def, a.Path)
	if disk == nil {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "invalid path %s not assigned to domain", a.Path)
	}
	if diskEmpty(disk) {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk '%s' does not currently have a source assigned", a.Path)
	}
	path, format := localPath(disk.Source), diskFormat(disk)
	if !d.active() || d.run.mon == nil {
		d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
			s, err := imageSizes(path, format)
			return &protocol.DomainGetBlockInfoRet{Capacity: s.capacity, Allocation: s.allocation, Physical: s.physical}, err
		})
		return nil
	}
	node, file := diskNode(disk), disk.Source.File != nil
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		f, err := guestBlocks(jc, mon, true)
		if err != nil {
			return nil, err
		}
		img, ok := f.images[node]
		if !ok {
			return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "failed to gather stats for disk '%s'", diskTarget(disk))
		}
		ret := &protocol.DomainGetBlockInfoRet{Capacity: img.Image.VirtualSize, Physical: img.Image.ActualSize}
		ret.Allocation = img.Image.ActualSize
		if !file {
			ret.Allocation = f.nodes[node].WrHighest
		}
		if path != "" && (file || ret.Allocation == 0 || ret.Allocation == ret.Physical) {
			if s, err := imageSizes(path, format); err == nil {
				ret.Physical = s.physical
			}
		}
		return ret, nil
	})
}

func (d *domain) diskErrors(ctx actor.Context, r *call.Request, a *protocol.DomainGetDiskErrorsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetDiskErrors"); err != nil {
		return err
	}
	if a.Maxerrors > protocol.RemoteDomainDiskErrorsMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "maxerrors too large")
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	if a.Maxerrors == 0 {
		r.Reply(&protocol.DomainGetDiskErrorsRet{Nerrors: int32(len(def.Devices.Disks))})
		return nil
	}
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		blocks, err := qmp.QueryBlock(jc, mon)
		if err != nil {
			return nil, err
		}
		status := map[string]string{}
		for _, b := range blocks {
			status[deviceID(b.Device, b.Qdev)] = b.IOStatus
		}
		ret := &protocol.DomainGetDiskErrorsRet{}
		for i := range def.Devices.Disks {
			disk := &def.Devices.Disks[i]
			code := int32(virt.DomainDiskErrorNone)
			switch status[diskAlias(disk)] {
			case "failed":
				code = virt.DomainDiskErrorUnspec
			case "nospace":
				code = virt.DomainDiskErrorNoSpace
			}
			if code != virt.DomainDiskErrorNone && len(ret.Errors) < int(a.Maxerrors) {
				ret.Errors = append(ret.Errors, protocol.DomainDiskError{Disk: diskTarget(disk), Error: code})
			}
		}
		ret.Nerrors = int32(len(ret.Errors))
		return ret, nil
	})
}
