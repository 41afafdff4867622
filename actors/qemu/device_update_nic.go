package qemu

import (
	"context"
	"reflect"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// updateNIC changes what of an interface can change while the guest uses it: its link, its bridge, its limits, its filter.
// An interface of a network gets a new port first, since only the network can tell what it is to be plugged into; in the
// end one of the two ports is given back.
func (j *deviceJob) updateNIC(ctx context.Context, undo *kit.Undo, dev *domxml.Device) error {
	want := &dev.Interfaces[0]
	found, err := domxml.Find(j.live, dev)
	if err != nil {
		return err
	}
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	one := findKind(def.Devices, "interface", only(found).name())
	if one == nil {
		return missingDevice("device not present in domain configuration")
	}
	old := one.device.(*libvirtxml.DomainInterface)
	if want.MTU != nil {
		switch kind := nicKind(want); kind {
		case "network", "bridge", "ethernet", "vhostuser", "direct":
		default:
			return unsupportedConfig("setting MTU on interface type %s is not supported yet", kind)
		}
	}
	if err := nicKeeps(old, want); err != nil {
		return err
	}
	inherit(want, old)
	if err := j.hostSide(def).claimPort(ctx, want, undo); err != nil {
		return err
	}
	same, err := j.applyNIC(ctx, undo, old, want)
	if err != nil {
		return err
	}
	if same {
		j.drv.releasePort(want)
		return nil
	}
	j.drv.releasePort(old)
	*old = *want
	j.now = def
	return nil
}

// applyNIC makes of the running interface old what want says. same tells that there was nothing to do.
func (j *deviceJob) applyNIC(ctx context.Context, undo *kit.Undo, old, want *libvirtxml.DomainInterface) (same bool, err error) {
	if kind := actualKind(want); kind == "hostdev" {
		return false, unsupportedOperation("cannot change network interface type to '%s'", kind)
	}
	rebridge, err := nicConnection(old, want)
	if err != nil {
		return false, err
	}
	name, same := hostLink(want), true
	if !reflect.DeepEqual(old.Bandwidth, want.Bandwidth) && limitable(want) && name != "" {
		direct, before := actualKind(want) == "direct", old.Bandwidth
		undo.Add("limits of "+name, func(context.Context) error { return limitLink(name, before, direct) })
		if err := limitLink(name, want.Bandwidth, direct); err != nil {
			return false, err
		}
		same = false
	}
	if rebridge {
		if err := moveTap(ctx, undo, old, want, j.uuid.String()); err != nil {
			return false, err
		}
		same = false
	}
	if isolated(old) != isolated(want) && bridgeOf(want) != "" {
		bridge, was := bridgeOf(want), isolated(old)
		if err := isolatePort(bridge, name, isolated(want)); err != nil {
			return false, err
		}
		undo.Add("isolation of "+name, func(context.Context) error { return isolatePort(bridge, name, was) })
		same = false
	}
	if !reflect.DeepEqual(filterOf(old), filterOf(want)) {
		if err := j.changeFilter(ctx, undo, old, want); err != nil {
			return false, err
		}
		same = false
	}
	if !reflect.DeepEqual(old.Coalesce, want.Coalesce) {
		before := old.Coalesce
		if err := coalesce(name, want.Coalesce, true); err != nil {
			return false, err
		}
		undo.Add("coalescing of "+name, func(context.Context) error { return coalesce(name, before, true) })
		same = false
	}
	if linkState(old) != linkState(want) {
		q := command.LinkState(want, linkUp(want))
		if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
			return false, err
		}
		same = false
	}
	return same, nil
}

// nicConnection tells whether an interface only has to move to another bridge, and refuses what would take more.
func nicConnection(old, want *libvirtxml.DomainInterface) (rebridge bool, err error) {
	was, is := actualKind(old), actualKind(want)
	onBridge := func(kind string) bool { return kind == "network" || kind == "bridge" }
	reconnect := false
	if nicKind(old) == nicKind(want) && was == is {
		switch nicKind(want) {
		case "vhostuser", "server", "client", "mcast", "udp", "internal", "vdpa":
			reconnect = !reflect.DeepEqual(old.Source, want.Source)
		case "network":
			if old.Source.Network.Network != want.Source.Network.Network {
				reconnect, rebridge = virtualPort(want) != "", true
			}
		}
	} else {
		switch {
		case onBridge(was) && onBridge(is):
			rebridge = true
		case was == "direct" && is == "direct":
		default:
			reconnect = true
		}
	}
	if bridgeOf(old) != bridgeOf(want) {
		reconnect, rebridge = reconnect || virtualPort(want) != "", true
	}
	oldDev, oldMode := directOf(old)
	newDev, newMode := directOf(want)
	if reconnect || oldDev != newDev || oldMode != newMode || !reflect.DeepEqual(old.VirtualPort, want.VirtualPort) {
		return false, unsupportedOperation("unable to change config on '%s' network type", nicKind(want))
	}
	return rebridge && onBridge(is), nil
}

func linkUp(n *libvirtxml.DomainInterface) bool { return linkState(n) != "down" }

func linkState(n *libvirtxml.DomainInterface) string {
	if n.Link == nil {
		return ""
	}
	return n.Link.State
}

func filterOf(n *libvirtxml.DomainInterface) libvirtxml.DomainInterfaceFilterRef {
	if n.FilterRef == nil {
		return libvirtxml.DomainInterfaceFilterRef{}
	}
	return *n.FilterRef
}

// inherit fills in what a document leaves to the running device.
func inherit(want, old *libvirtxml.DomainInterface) {
	want.Alias, want.Address = old.Alias, old.Address
	if want.Target == nil || want.Target.Dev == "" {
		want.Target = old.Target
	}
	if want.Boot == nil {
		want.Boot = old.Boot
	}
}

// nicKeeps refuses a change of what cannot change, in libvirt's order.
func nicKeeps(old, want *libvirtxml.DomainInterface) error {
	if kind := actualKind(old); kind == "hostdev" {
		return unsupportedOperation("cannot change config of '%s' network interface type", kind)
	}
	if a, b := nicMAC(old), nicMAC(want); a != b {
		return unsupportedOperation("cannot change network interface mac address from %s to %s", a, b)
	}
	if a, b := nicModel(old), nicModel(want); a != b {
		return unsupportedOperation("cannot modify network device model from %s to %s", orNull(a), orNull(b))
	}
	if a, b := nicDriver(old), nicDriver(want); virtioModel(nicModel(old)) {
		ax, bx := a, b
		ax.IOMMU, ax.ATS, ax.Packed, ax.PagePerVQ = "", "", "", ""
		bx.IOMMU, bx.ATS, bx.Packed, bx.PagePerVQ = "", "", "", ""
		if !reflect.DeepEqual(ax, bx) {
			return unsupportedOperation("cannot modify virtio network device driver attributes")
		}
		if !reflect.DeepEqual(a, b) {
			return unsupportedOperation("cannot modify virtio network device driver options")
		}
	}
	if scriptOf(old.Script) != scriptOf(want.Script) {
		return unsupportedOperation("cannot modify network device script attribute")
	}
	if want.Target != nil && want.Target.Dev != "" && (old.Target == nil || want.Target.Dev != old.Target.Dev) {
		return unsupportedOperation("cannot modify network device tap name")
	}
	if want.Address != nil && old.Address != nil {
		if a, b := old.Address.PCI, want.Address.PCI; (a == nil) != (b == nil) {
			return unsupportedOperation("cannot modify network device address type")
		} else if a != nil && pciText(a) != pciText(b) {
			return unsupportedOperation("cannot modify network device guest PCI address")
		}
	}
	if want.Alias != nil && isUserAlias(want.Alias.Name) && (old.Alias == nil || old.Alias.Name != want.Alias.Name) {
		return unsupportedOperation("changing device alias is not allowed")
	}
	if a, b := romOf(old), romOf(want); a.Bar != b.Bar {
		return unsupportedOperation("cannot modify network device rom bar setting")
	} else if fileOf(a) != fileOf(b) {
		return unsupportedOperation("cannot modify network rom file")
	} else if a.Enabled != b.Enabled {
		return unsupportedOperation("cannot modify network device rom enabled setting")
	}
	if want.Boot != nil && (old.Boot == nil || old.Boot.Order != want.Boot.Order) {
		return unsupportedOperation("cannot modify network device boot index setting")
	}
	if a, b := mtuOf(old), mtuOf(want); a != b {
		return unsupportedOperation("cannot modify MTU")
	}
	return nil
}

func mtuOf(n *libvirtxml.DomainInterface) uint {
	if n.MTU == nil {
		return 0
	}
	return n.MTU.Size
}

func nicMAC(n *libvirtxml.DomainInterface) string {
	if n.MAC == nil {
		return ""
	}
	return n.MAC.Address
}

func nicModel(n *libvirtxml.DomainInterface) string {
	if n.Model == nil {
		return ""
	}
	return n.Model.Type
}

func nicDriver(n *libvirtxml.DomainInterface) libvirtxml.DomainInterfaceDriver {
	if n.Driver == nil {
		return libvirtxml.DomainInterfaceDriver{}
	}
	return *n.Driver
}

func virtioModel(model string) bool {
	return model == "virtio" || model == "virtio-transitional" || model == "virtio-non-transitional"
}

func scriptOf(s *libvirtxml.DomainInterfaceScript) string {
	if s == nil {
		return ""
	}
	return s.Path
}

func romOf(n *libvirtxml.DomainInterface) libvirtxml.DomainROM {
	if n.ROM == nil {
		return libvirtxml.DomainROM{}
	}
	return *n.ROM
}

func fileOf(r libvirtxml.DomainROM) string {
	if r.File == nil {
		return ""
	}
	return *r.File
}

// moveTap takes a tap from one bridge to another.
func moveTap(ctx context.Context, undo *kit.Undo, old, want *libvirtxml.DomainInterface, owner string) error {
	from, to := bridgeOf(old), bridgeOf(want)
	if from == "" || to == "" {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "Missing bridge name")
	}
	if !linkExists(to) {
		return failedOperation("bridge %s doesn't exist", to)
	}
	before := *old
	undo.Add("back to bridge "+from, func(ctx context.Context) error { return plugTap(ctx, &before, from, owner) })
	return plugTap(ctx, want, to, owner)
}
