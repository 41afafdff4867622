package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What the calls about statistics and tuning share.

// running refuses what needs an active domain, in the name of the error domain that libvirt uses for
// this check of its domain object.
func (d *domain) running() error {
	if !d.active() {
		return liberr.New(liberr.FromDomain, liberr.OperationInvalid, "domain is not running")
	}
	return nil
}

// liveDef gives the definition of the running guest.
func (d *domain) liveDef() (*libvirtxml.Domain, error) {
	if err := d.running(); err != nil {
		return nil, err
	}
	return d.live.Def()
}

// targets is affected with the error domain of libvirt's domain object.
func (d *domain) targets(flags uint32) (affect, error) {
	a, err := d.affected(flags)
	if err != nil {
		e := *liberr.From(liberr.FromDomain, err)
		e.Domain = liberr.FromDomain
		return a, &e
	}
	return a, nil
}

// one gives the definition that a reading call is about: of LIVE and CONFIG it takes one at most.
func (d *domain) one(flags uint32) (def *libvirtxml.Domain, live bool, err error) {
	if flags&affectFlags == affectFlags {
		return nil, false, liberr.Raw(liberr.FromDomain, liberr.InvalidArg,
			"Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive")
	}
	aff, err := d.targets(flags)
	if err != nil {
		return nil, false, err
	}
	doc := d.config
	if aff.live {
		doc = d.live
	}
	def, err = doc.Def()
	return def, aff.live, err
}

// query asks QEMU something as a job of the domain.
func (d *domain) query(ctx actor.Context, r *call.Request, run func(ctx context.Context, mon *qmp.Client) (protocol.Encoder, error)) error {
	if err := d.running(); err != nil {
		return err
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	d.start(ctx, &task{kind: jobQuery, req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return run(jc, mon) },
		apply: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return out.(protocol.Encoder), nil
		},
	})
	return nil
}

// findDisk finds a disk by its target or its source; nil when there is none.
func findDisk(def *libvirtxml.Domain, path string) *libvirtxml.DomainDisk {
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if diskTarget(disk) == path {
			return disk
		}
	}
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if s := diskPath(disk); s != "" && s == path {
			return disk
		}
	}
	return nil
}

func diskTarget(disk *libvirtxml.DomainDisk) string {
	if disk.Target == nil {
		return ""
	}
	return disk.Target.Dev
}

func diskAlias(disk *libvirtxml.DomainDisk) string {
	if disk.Alias == nil {
		return ""
	}
	return disk.Alias.Name
}

// diskFormat is the format of a disk's top image, "raw" where none is said.
func diskFormat(disk *libvirtxml.DomainDisk) string {
	if disk.Driver == nil || disk.Driver.Type == "" {
		return "raw"
	}
	return disk.Driver.Type
}

// diskEmpty tells a drive without medium.
func diskEmpty(disk *libvirtxml.DomainDisk) bool {
	s := disk.Source
	return s == nil || s.File == nil && s.Block == nil && s.Dir == nil && s.Network == nil && s.Volume == nil &&
		s.NVME == nil && s.VHostUser == nil && s.VHostVDPA == nil ||
		s.File != nil && s.File.File == "" || s.Block != nil && s.Block.Dev == ""
}

// diskNode is QEMU's name of a disk's top image; "" for a drive without one.
func diskNode(disk *libvirtxml.DomainDisk) string {
	if diskEmpty(disk) || disk.Source.Index == 0 {
		return ""
	}
	return command.FormatNode(disk.Source.Index)
}

// findInterface finds an interface by its MAC address or its name on the host.
func findInterface(def *libvirtxml.Domain, device string) (*libvirtxml.DomainInterface, error) {
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		if n.MAC != nil && sameMAC(n.MAC.Address, device) || n.Target != nil && n.Target.Dev != "" && n.Target.Dev == device {
			return n, nil
		}
	}
	return nil, liberr.New(liberr.FromDomain, liberr.InvalidArg, "'%s' is not a known interface", device)
}

// noAgent is what the calls to the guest agent answer while nobody speaks to one.
func (d *domain) noAgent() error {
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	if !agentState(def) {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "QEMU guest agent is not configured")
	}
	return liberr.New(liberr.FromQemu, liberr.AgentUnresponsive, "QEMU guest agent is not connected")
}

const readFlags = affectFlags | virt.TypedParamStringOkay
