package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// bridgedTap makes the tap of a NIC that is on a bridge.
func (p *launchPlan) bridgedTap(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) ([]*os.File, error) {
	bridge := bridgeOf(n)
	if bridge == "" {
		return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "Missing bridge name")
	}
	files, err := p.openTaps(n)
	if err != nil {
		return nil, err
	}
	name := hostLink(n)
	if err := dressTap(n); err != nil {
		return nil, err
	}
	// The MTU comes before the bridge, which takes the lowest of its ports' as its own.
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, liberr.System(liberr.FromNone, unix.ENODEV, "Cannot get interface MTU on '%s'", bridge).WithCause(err)
	}
	if err := setMTU(name, master.Attrs().MTU); err != nil {
		return nil, err
	}
	if err := plugTap(ctx, n, bridge, p.uuid.String()); err != nil {
		return nil, err
	}
	if virtualPort(n) == "openvswitch" {
		undo.Add("take "+name+" off the switch", func(ctx context.Context) error { return leaveSwitch(ctx, name) })
	}
	if err := setUp(name, true); err != nil {
		return nil, err
	}
	if err := coalesce(name, n.Coalesce, false); err != nil {
		return nil, err
	}
	return files, p.bindFilter(ctx, n, undo)
}

// plugTap makes a tap a port of its bridge: the kernel's, or one of Open vSwitch.
func plugTap(ctx context.Context, n *libvirtxml.DomainInterface, bridge, owner string) error {
	name := hostLink(n)
	if virtualPort(n) == "openvswitch" {
		return joinSwitch(ctx, n, bridge, owner)
	}
	if err := joinBridge(name, bridge); err != nil {
		return err
	}
	if isolated(n) {
		return isolatePort(bridge, name, true)
	}
	return nil
}

// looseTap makes the tap of a NIC that the administrator, or a script, connects.
func (p *launchPlan) looseTap(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) ([]*os.File, error) {
	if managed(n) {
		files, err := p.openTaps(n)
		if err != nil {
			return nil, err
		}
		name := hostLink(n)
		undo.Add("remove "+name, func(context.Context) error { removeLink(name); return nil })
		if err := dressTap(n); err != nil {
			return nil, err
		}
		if err := setUp(name, true); err != nil {
			return nil, err
		}
		if n.Script != nil && n.Script.Path != "" {
			if err := runScript(ctx, n.Script.Path, name); err != nil {
				return nil, err
			}
		}
		return files, p.bindFilter(ctx, n, undo)
	}
	name := hostLink(n)
	if name == "" {
		return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "target dev must be supplied when managed='no'")
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "target managed='no' but specified dev doesn't exist")
	}
	var files []*os.File
	if _, ok := link.(*netlink.Macvtap); ok {
		files, err = p.openMacvtap(n, link.Attrs().Index)
	} else {
		files, err = p.openTaps(n)
	}
	if err != nil {
		return nil, err
	}
	if n.Script != nil && n.Script.Path != "" {
		if err := runScript(ctx, n.Script.Path, name); err != nil {
			return nil, err
		}
	}
	return files, p.bindFilter(ctx, n, undo)
}

// dressTap gives a tap the address of the host's end.
func dressTap(n *libvirtxml.DomainInterface) error {
	mac, err := hostMAC(nicMAC(n))
	if err != nil {
		return err
	}
	return setMAC(hostLink(n), mac)
}

// openTaps makes a tap with a queue for each of the NIC's, under the name that the NIC is to have, or the next one of our
// own. The tap lives as long as somebody has it open: QEMU, soon.
func (p *launchPlan) openTaps(n *libvirtxml.DomainInterface) ([]*os.File, error) {
	name := hostLink(n)
	if name == "" {
		name = freeName(&p.drv.vnets, "vnet")
	}
	if len(name) >= unix.IFNAMSIZ {
		return nil, liberr.System(liberr.FromNone, unix.ERANGE, "Network interface name '%s' is too long", name)
	}
	path := "/dev/net/tun"
	if n.Backend != nil && n.Backend.Tap != "" {
		path = n.Backend.Tap
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if carriesHeader(n) {
		flags |= unix.IFF_VNET_HDR
	}
	queues := command.Queues(n)
	if queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	var files []*os.File
	for range queues {
		f, made, err := openTap(path, name, flags)
		if err != nil {
			return nil, err
		}
		name = made // the kernel numbers a name with %d
		files = append(files, f)
		p.files = append(p.files, f)
	}
	if n.Target == nil {
		n.Target = &libvirtxml.DomainInterfaceTarget{}
	}
	n.Target.Dev = name
	return files, nil
}

// carriesHeader tells models whose packets come with hints on checksums and segments.
func carriesHeader(n *libvirtxml.DomainInterface) bool {
	switch model := nicModel(n); model {
	case "e1000e", "vmxnet3":
		return true
	default:
		return virtioModel(model)
	}
}

// openTap makes one queue of a tap, and tells the name it got.
func openTap(path, name string, flags uint16) (*os.File, string, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", liberr.System(liberr.FromNone, err, "Unable to open %s, is tun module loaded?", path)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, "", liberr.System(liberr.FromNone, err, "Unable to create tap device %s", name)
	}
	return os.NewFile(uintptr(fd), req.Name()), req.Name(), nil
}

// freeName finds a device name that is not used, counting on so that a name is not used again at once.
func freeName(count interface{ Next() int32 }, prefix string) string {
	for {
		name := prefix + itoa(int(count.Next())-1)
		if !linkExists(name) {
			return name
		}
	}
}

// removeLink takes a device away; one that went with its last descriptor is gone already.
func removeLink(name string) {
	if link, err := netlink.LinkByName(name); err == nil {
		_ = netlink.LinkDel(link)
	}
}

// ethtoolCoalesce is the kernel's struct of that name: how interrupts of a link are gathered.
type ethtoolCoalesce struct {
	command              uint32
	rxUsecs, rxMaxFrames uint32
	remaining            [20]uint32
}

// coalesce sets how many packets a link gathers before it speaks of them. always is for a link that may have had a value
// before.
func coalesce(name string, c *libvirtxml.DomainInterfaceCoalesce, always bool) error {
	frames := uint32(0)
	if c != nil && c.RX != nil && c.RX.Frames != nil && c.RX.Frames.Max != nil {
		frames = uint32(*c.RX.Frames.Max)
	}
	if c == nil && !always {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	data := ethtoolCoalesce{command: unix.ETHTOOL_SCOALESCE, rxMaxFrames: frames}
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&data)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return liberr.System(liberr.FromNone, errno, "Cannot set coalesce info on '%s'", name)
	}
	return nil
}

// joinSwitch makes a tap a port of an Open vSwitch bridge, with what its switch wants to know of the guest.
func joinSwitch(ctx context.Context, n *libvirtxml.DomainInterface, bridge, owner string) error {
	name, port := hostLink(n), n.VirtualPort.Params.OpenVSwitch
	args := []string{"--timeout=5", "--", "--may-exist", "add-port", bridge, name}
	args = append(args, switchTags(n.VLan)...)
	set := func(key, value string) {
		args = append(args, "--", "set", "Interface", name, "external-ids:"+key+"=\""+value+"\"")
	}
	set("attached-mac", nicMAC(n))
	set("iface-id", port.InterfaceID)
	set("vm-id", owner)
	if port.ProfileID != "" {
		set("port-profile", port.ProfileID)
	}
	args = append(args, "--", "set", "Interface", name, "external-ids:iface-status=active")
	if out, err := exec.CommandContext(ctx, "ovs-vsctl", args...).CombinedOutput(); err != nil {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Unable to add port %s to OVS bridge %s", name, bridge).WithCause(fmt.Errorf("%w: %s", err, out))
	}
	return nil
}

// switchTags are the VLANs of a port in ovs-vsctl's words.
func switchTags(v *libvirtxml.DomainInterfaceVLan) []string {
	if v == nil || len(v.Tags) == 0 {
		return nil
	}
	if v.Trunk != "yes" {
		return []string{"tag=" + itoa(int(v.Tags[0].ID))}
	}
	var out, trunks []string
	for _, t := range v.Tags {
		trunks = append(trunks, itoa(int(t.ID)))
		switch t.NativeMode {
		case "tagged":
			out = append(out, "vlan_mode=native-tagged", "tag="+itoa(int(t.ID)))
		case "untagged":
			out = append(out, "vlan_mode=native-untagged", "tag="+itoa(int(t.ID)))
		}
	}
	return append(out, "trunk="+strings.Join(trunks, ","))
}

func leaveSwitch(ctx context.Context, name string) error {
	out, err := exec.CommandContext(ctx, "ovs-vsctl", "--timeout=5", "--", "--if-exists", "del-port", name).CombinedOutput()
	if err != nil {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Unable to delete port %s from OVS", name).WithCause(fmt.Errorf("%w: %s", err, out))
	}
	return nil
}
