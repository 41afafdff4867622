package network

import (
	"os"
	"path/filepath"
	"strings"

	"virtree/wire/liberr"
)

// validate is what libvirt checks when a network is defined or created, beyond its document. sys is the root of sysfs;
// it reads files, so it runs in a job.
func (d *definition) validate(sys string) error {
	if strings.Contains(d.name, "/") {
		return liberr.New(liberr.FromXML, liberr.XMLDetail, "invalid char in name: /")
	}
	if !d.ownBridge() {
		if err := d.refuseBridgeThings(); err != nil {
			return err
		}
	}
	four, six := 0, 0
	for i := range d.ips {
		if d.ips[i].dhcp() {
			if d.ips[i].address.Is4() {
				four++
			} else {
				six++
			}
		}
	}
	if four > 1 {
		return unsupported("Multiple IPv4 dhcp sections found -- dhcp is supported only for a single IPv4 address on each network")
	}
	if six > 1 {
		return unsupported("Multiple IPv6 dhcp sections found -- dhcp is supported only for a single IPv6 address on each network")
	}
	if err := d.checkPortgroups(); err != nil {
		return err
	}
	return d.checkDevices(sys)
}

// refuseBridgeThings refuses what only a bridge of our own can have.
func (d *definition) refuseBridgeThings() error {
	what := ""
	switch {
	case d.mac != "":
		what = "<mac>"
	case len(d.ips) > 0:
		what = "<ip>"
	case len(d.dns.txts)+len(d.dns.hosts)+len(d.dns.srvs) > 0:
		what = "<dns>"
	case d.domain != "":
		what = "<domain>"
	case d.bandwidth != nil && !d.mayHaveBandwidth():
		what = "network-wide <bandwidth>"
	default:
		return nil
	}
	return unsupported("Unsupported %s element in network %s with forward mode='%s'", what, d.name, d.forward.mode)
}

// checkPortgroups refuses portgroups that contradict each other, and VLANs and bandwidth where the forward mode has no place
// for them. VLANs need SR-IOV devices or Open vSwitch.
func (d *definition) checkPortgroups() error {
	isOVS := func(v *vport) bool { return d.forward.mode == modeBridge && v != nil && v.typ == "openvswitch" }
	allowed := d.forward.mode == modeHostdev || d.forward.mode == modePassthrough || isOVS(d.vport)
	bad := false
	var def *portgroup
	for i := range d.portgroups {
		p := &d.portgroups[i]
		for j := range i {
			if d.portgroups[j].name == p.name {
				return unsupported("multiple <portgroup> elements with the same name (%s) in network '%s'", p.name, d.name)
			}
		}
		if p.isDefault {
			if def != nil {
				return unsupported("network '%s' has multiple default <portgroup> elements (%s and %s), but only one default is allowed", d.name, def.name, p.name)
			}
			def = p
		}
		if d.vlan != nil || p.vlan != nil { // who uses the portgroup gets a tag
			bad = bad || p.vport != nil && !isOVS(p.vport) || p.vport == nil && !allowed
		}
		if p.bandwidth != nil && !d.mayHaveBandwidth() {
			return unsupported("Unsupported <bandwidth> element in network '%s' in portgroup '%s' with forward mode='%s'", d.name, p.name, d.forward.mode)
		}
	}
	// With a default portgroup nobody uses the network's own tag alone.
	if bad || d.vlan != nil && !allowed && def == nil {
		return unsupported("<vlan> element specified for network %s, whose type doesn't support vlan configuration", d.name)
	}
	return nil
}

// mayHaveBandwidth tells whether there is a bridge whose traffic can be shaped.
func (d *definition) mayHaveBandwidth() bool {
	return d.ownBridge() || d.forward.mode == modeBridge && d.bridge != ""
}

func (d *definition) checkDevices(sys string) error {
	for _, i := range d.forward.ifaces {
		switch {
		case d.forward.mode == modeHostdev && i.pci == nil:
			return unsupported("hostdev network '%s' lists '%s' in the device pool, but hostdev networks require all devices to be listed by PCI address, not network device name", d.name, i.dev)
		case d.forward.mode != modeHostdev && i.pci != nil:
			return unsupported("network '%s' has forward mode '%s'  but lists a device by PCI address in the device pool. This is only supported for networks with forward mode 'hostdev'", d.name, d.forward.mode)
		case i.pci != nil:
			dev := filepath.Join(sys, "bus/pci/devices", i.pci.String())
			if _, err := os.Lstat(filepath.Join(dev, "physfn")); err != nil {
				return unsupported("device '/sys/bus/pci/devices/%s' in network '%s' is not an SR-IOV Virtual Function", i.pci, d.name)
			}
		}
	}
	return nil
}
