package qemu

import (
	"context"
	"errors"
	"reflect"

	"github.com/vishvananda/netlink"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// updateNIC changes what of an interface can change while the guest uses it: its link, its bridge, its limits.
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
		case "network", "bridge", "ethernet", "vhostuser":
		default:
			return unsupportedConfig("setting MTU on interface type %s is not supported yet", kind)
		}
	}
	if err := nicKeeps(old, want); err != nil {
		return err
	}
	if kind := nicKind(want); nicKind(old) != kind || !sameNICSource(old, want) {
		return unsupportedOperation("unable to change config on '%s' network type", kind)
	}
	inherit(want, old)
	if a, b := bridgeOf(old), bridgeOf(want); a != b {
		if err := moveTap(undo, want.Target, a, b); err != nil {
			return err
		}
	}
	if !reflect.DeepEqual(old.Bandwidth, want.Bandwidth) && want.Target != nil && want.Target.Dev != "" {
		dev, direct, before := want.Target.Dev, nicKind(want) == "direct", old.Bandwidth
		undo.Add("limits of "+dev, func(context.Context) error { return limitLink(dev, before, direct) })
		if err := limitLink(dev, want.Bandwidth, direct); err != nil {
			return err
		}
	}
	if was, is := linkUp(old), linkUp(want); was != is {
		q := command.LinkState(want, is)
		if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
			return err
		}
	}
	*old = *want
	j.now = def
	return nil
}

func linkUp(n *libvirtxml.DomainInterface) bool { return n.Link == nil || n.Link.State != "down" }

// inherit fills in what a document leaves to the running device.
func inherit(want, old *libvirtxml.DomainInterface) {
	want.Alias, want.Address = old.Alias, old.Address
	if want.Target == nil || want.Target.Dev == "" {
		want.Target = old.Target
	}
	if want.MTU == nil {
		want.MTU = old.MTU
	}
	if want.Boot == nil {
		want.Boot = old.Boot
	}
}

// sameNICSource tells whether both are connected to the same thing, but for the bridge, which can change.
func sameNICSource(a, b *libvirtxml.DomainInterface) bool {
	if a.Source == nil || b.Source == nil {
		return a.Source == b.Source
	}
	switch {
	case a.Source.Bridge != nil, a.Source.User != nil:
		return true
	case a.Source.Direct != nil:
		return a.Source.Direct.Dev == b.Source.Direct.Dev && a.Source.Direct.Mode == b.Source.Direct.Mode
	case a.Source.Network != nil:
		return a.Source.Network.Network == b.Source.Network.Network && a.Source.Network.PortGroup == b.Source.Network.PortGroup
	}
	return reflect.DeepEqual(a.Source, b.Source)
}

// nicKeeps refuses a change of what cannot change, in libvirt's order.
func nicKeeps(old, want *libvirtxml.DomainInterface) error {
	if kind := nicKind(old); kind == "hostdev" {
		return unsupportedOperation("cannot change config of '%s' network interface type", kind)
	}
	if kind := nicKind(want); kind == "hostdev" {
		return unsupportedOperation("cannot change network interface type to '%s'", kind)
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
	if want.MTU != nil && (old.MTU == nil || old.MTU.Size != want.MTU.Size) {
		return unsupportedOperation("cannot modify MTU")
	}
	return nil
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
func moveTap(undo *kit.Undo, target *libvirtxml.DomainInterfaceTarget, from, to string) error {
	bridge, err := netlink.LinkByName(to)
	if err != nil {
		return failedOperation("bridge %s doesn't exist", to)
	}
	if target == nil || target.Dev == "" {
		return errors.New("the interface has no device on the host")
	}
	link, err := netlink.LinkByName(target.Dev)
	if err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to find tap device %s", target.Dev)
	}
	before := link.Attrs().MasterIndex
	if err := netlink.LinkSetMaster(link, bridge); err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to add bridge %s port %s", to, target.Dev)
	}
	undo.Add("back to bridge "+from, func(context.Context) error { return netlink.LinkSetMasterByIndex(link, before) })
	return nil
}
