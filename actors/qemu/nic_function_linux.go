package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/nodedev/assign"
	"virtree/wire/liberr"
)

// A NIC of actual kind hostdev is a virtual function of one of the host's network devices, handed to the guest whole. Its
// address and VLAN are set through the device it is a function of, and put back after.

// function is a virtual function: number of the device called owner.
type function struct {
	pci    string // 0000:07:10.3
	owner  string
	number int
}

// findFunction looks a virtual function up below sys, which is /sys but in tests.
func findFunction(sys, pci string) (function, error) {
	f := function{pci: pci, number: -1}
	dir := filepath.Join(sys, "bus/pci/devices", pci)
	if _, err := os.Stat(dir); err != nil {
		return f, liberr.New(liberr.FromNone, liberr.OperationFailed, "Device %s not found: could not access /sys/bus/pci/devices/%s/config: No such file or directory", pci, pci)
	}
	if _, err := os.Stat(filepath.Join(dir, "physfn")); err != nil {
		return f, liberr.New(liberr.FromNone, liberr.ConfigUnsupported, "Interface type hostdev is currently supported on SR-IOV Virtual Functions only")
	}
	names, _ := filepath.Glob(filepath.Join(dir, "physfn/net/*"))
	if len(names) == 0 {
		return f, liberr.New(liberr.FromNone, liberr.InternalError, "The PF device for VF %s has no network device name", dir)
	}
	f.owner = filepath.Base(names[0])
	links, _ := filepath.Glob(filepath.Join(dir, "physfn/virtfn*"))
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || filepath.Base(to) != pci {
			continue
		}
		if n, ok := strings.CutPrefix(filepath.Base(l), "virtfn"); ok {
			f.number = atoi(n)
		}
	}
	if f.number < 0 {
		return f, liberr.New(liberr.FromNone, liberr.InternalError, "Unable to parse vf_num for '%s'", pci)
	}
	return f, nil
}

func atoi(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// savedFunction is how a function was before the guest had it, in libvirt's form.
type savedFunction struct {
	MAC  string `json:"mac"`
	VLAN *int   `json:"vlanTag,omitempty"`
}

func (s *shared) functionPath(f function) string {
	return filepath.Join(s.env.Paths.Run(), "hostdevmgr", f.owner+"_vf"+itoa(f.number))
}

// takeFunction gets a NIC's function ready for the guest.
func (p *launchPlan) takeFunction(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) error {
	src := n.Source.Hostdev
	if src.PCI == nil || src.PCI.Address == nil {
		return nil // USB, which QEMU finds itself
	}
	if !vfioReady() {
		return unsupportedConfig("host doesn't support passthrough of host PCI devices")
	}
	f, err := findFunction(sysfs, pciText(src.PCI.Address))
	if err != nil {
		return err
	}
	if err := p.drv.dressFunction(f, n); err != nil {
		return err
	}
	gone := *n
	undo.Add("give back "+f.pci, func(context.Context) error { return p.drv.returnFunction(&gone) })
	return p.drv.assign().Take(ctx, assign.Owner{Driver: assignDriver, Domain: p.name}, []assign.Device{{Address: f.pci, Managed: n.Managed == "yes"}})
}

// sysfs is where the kernel shows the host's devices.
const sysfs = "/sys"

// dressFunction gives a function the guest's address and VLAN, and writes down what it had.
func (s *shared) dressFunction(f function, n *libvirtxml.DomainInterface) error {
	link, err := findLink(f.owner)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(nicMAC(n))
	if err != nil {
		return err
	}
	vlan := 0
	if n.VLan != nil && len(n.VLan.Tags) > 0 {
		if len(n.VLan.Tags) > 1 || n.VLan.Trunk == "yes" {
			return unsupportedConfig("vlan trunking is not supported by SR-IOV network devices")
		}
		vlan = int(n.VLan.Tags[0].ID)
	}
	old := savedFunction{MAC: "00:00:00:00:00:00"}
	for _, v := range link.Attrs().Vfs {
		if v.ID == f.number {
			tag := v.Vlan
			old = savedFunction{MAC: v.Mac.String(), VLAN: &tag}
		}
	}
	text, err := json.Marshal(old)
	if err != nil {
		return err
	}
	path := s.functionPath(f)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := disk.WriteVolatile(path, text, 0o600); err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to preserve mac/vlan tag for device = %s, vf = %d", f.owner, f.number)
	}
	if err := netlink.LinkSetVfHardwareAddr(link, f.number, mac); err != nil {
		return liberr.System(liberr.FromNone, err, "Cannot set interface MAC to %s for ifname %s vf %d", mac, f.owner, f.number)
	}
	if err := netlink.LinkSetVfVlan(link, f.number, vlan); err != nil && vlan != 0 {
		return liberr.System(liberr.FromNone, err, "Cannot set interface vlanid to %d for ifname %s vf %d", vlan, f.owner, f.number)
	}
	return nil
}

// returnFunction gives a function back to the host as it was.
func (s *shared) returnFunction(n *libvirtxml.DomainInterface) error {
	src := n.Source.Hostdev
	if src == nil || src.PCI == nil || src.PCI.Address == nil {
		return nil
	}
	f, err := findFunction(sysfs, pciText(src.PCI.Address))
	if err != nil {
		return err
	}
	if err := s.assign().Release(f.pci); err != nil {
		return err
	}
	path := s.functionPath(f)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var saved savedFunction
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		return err
	}
	link, err := findLink(f.owner)
	if err != nil {
		return err
	}
	if mac, err := net.ParseMAC(saved.MAC); err == nil {
		if err := netlink.LinkSetVfHardwareAddr(link, f.number, mac); err != nil {
			return err
		}
	}
	if saved.VLAN != nil {
		if err := netlink.LinkSetVfVlan(link, f.number, *saved.VLAN); err != nil {
			return err
		}
	}
	return os.Remove(path)
}
