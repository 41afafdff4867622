package domxml

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// Find returns the device of a definition that a client means by the one it sent.
func Find(d *libvirtxml.Domain, dev *Device) (*Device, error) {
	n, err := dev.node()
	if err != nil {
		return nil, err
	}
	root, err := fromStruct(d)
	if err != nil {
		return nil, err
	}
	found, err := treeOf(root).find(dev.sought(n))
	if err != nil {
		return nil, err
	}
	return newDevice(found)
}

// Detach takes the device a client means out of a definition and returns it as it was there.
func Detach(d *libvirtxml.Domain, dev *Device) (*Device, error) {
	if !slices.Contains(attachable, dev.Kind) {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "persistent detach of device '%s' is not supported", dev.Kind)
	}
	n, err := dev.node()
	if err != nil {
		return nil, err
	}
	var out *Device
	err = edit(d, func(root *node) error {
		def := treeOf(root)
		def.reread()
		found, err := def.find(dev.sought(n))
		if err != nil {
			return err
		}
		def.devices.remove(found)
		if out, err = newDevice(found.clone()); err != nil {
			return err
		}
		if found.name == "memory" {
			return def.shrink(found)
		}
		return nil
	})
	return out, err
}

// shrink takes a module's size off the domain's memory.
func (def *definition) shrink(module *node) error {
	total, err := kib(def.root.kid("memory"), "./memory[1]")
	if err != nil {
		return err
	}
	size, err := kib(module.kid("target/size"), "./size[1]")
	if err != nil {
		return err
	}
	total -= min(size, total)
	def.root.ensure("memory").setKiB(total)
	current, err := kib(def.root.kid("currentMemory"), "./currentMemory[1]")
	if err != nil {
		return err
	}
	def.root.ensure("currentMemory").setKiB(min(current, total))
	return nil
}

// Update replaces the device a client means by what it sent; what the document leaves open stays. It returns the old
// and the new form.
func Update(d *libvirtxml.Domain, dev *Device) (was, is *Device, err error) {
	switch dev.Kind {
	case "disk", "interface", "graphics":
	default:
		return nil, nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "persistent update of device '%s' is not supported", dev.Kind)
	}
	n, err := dev.node()
	if err != nil {
		return nil, nil, err
	}
	err = edit(d, func(root *node) error {
		def := treeOf(root)
		def.reread()
		old, err := def.find(dev.sought(n))
		if err != nil {
			if n.name == "disk" {
				return liberr.New(liberr.FromQemu, liberr.InvalidArg, "target %s doesn't exist.", n.kid("target").get("dev"))
			}
			return err
		}
		for _, keep := range []string{"address", "alias"} {
			if k := old.kid(keep); k != nil && n.kid(keep) == nil {
				n.add(k.clone())
			}
		}
		def.devices.kids[slices.Index(def.devices.kids, old)] = n
		if was, err = newDevice(old.clone()); err != nil {
			return err
		}
		is, err = newDevice(n.clone())
		return err
	})
	return was, is, err
}

// find is match with libvirt's words for a miss.
func (def *definition) find(n *node) (*node, error) {
	if n.name == "interface" {
		return def.findInterface(n)
	}
	if m := def.match(n); m != nil {
		return m, nil
	}
	switch n.name {
	case "disk":
		return nil, deviceMissing("no target device %s", n.kid("target").get("dev"))
	case "rng":
		return nil, deviceMissing("no matching RNG device was found")
	case "serial", "parallel", "console", "channel":
		return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "device not present in domain configuration")
	case "input":
		return nil, deviceMissing("matching input device not found")
	case "filesystem":
		return nil, deviceMissing("no matching filesystem device was found")
	case "shmem":
		return nil, deviceMissing("matching shmem device was not found")
	case "redirdev":
		return nil, deviceMissing("no matching redirdev was not found")
	case "memory":
		return nil, deviceMissing("matching memory device was not found")
	case "watchdog":
		return nil, deviceMissing("domain has no watchdog")
	case "lease":
		return nil, deviceMissing("Lease %s in lockspace %s does not exist", n.kidText("key"), n.kidText("lockspace"))
	case "vsock":
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "matching vsock device not found")
	}
	return nil, deviceMissing("device not present in domain configuration")
}

// findInterface goes by MAC address; address and alias tell twins apart.
func (def *definition) findInterface(n *node) (*node, error) {
	mac := n.kid("mac").get("address")
	want, hasAddress := pciAddressOf(n)
	alias := n.kid("alias").get("name")
	var found *node
	for _, o := range def.devices.all("interface") {
		have, _ := pciAddressOf(o)
		if mac != "" && o.kid("mac").get("address") != mac || hasAddress && have != want || alias != "" && o.kid("alias").get("name") != alias {
			continue
		}
		if found != nil && mac == "" {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "multiple matching devices found")
		}
		if found != nil {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "multiple devices matching MAC address %s found", mac)
		}
		found = o
	}
	if found == nil {
		place := "(<null>)"
		if hasAddress {
			place = want.String()
		}
		if alias == "" {
			alias = "(<null>)"
		}
		if mac == "" {
			mac = "(<null>)"
		}
		return nil, deviceMissing("no device found at address '%s' matching MAC address '%s' and alias '%s'", place, mac, alias)
	}
	return found, nil
}

// match finds the device of the same kind that agrees in what identifies the kind.
func (def *definition) match(n *node) *node {
	if n.name == "serial" || n.name == "parallel" || n.name == "console" || n.name == "channel" {
		return def.matchChardev(n)
	}
	for _, o := range def.devices.all(n.name) {
		if sameDevice(o, n) {
			return o
		}
	}
	return nil
}

func sameDevice(o, n *node) bool {
	attrs := func(names ...string) bool {
		for _, a := range names {
			if o.get(a) != n.get(a) {
				return false
			}
		}
		return true
	}
	if a := n.kid("alias"); a != nil && a.get("name") != o.kid("alias").get("name") {
		return false
	}
	if a := n.kid("address"); a != nil && n.name != "disk" && !sameText(a, o.kid("address")) {
		return false
	}
	switch n.name {
	case "disk":
		return o.kid("target").get("dev") == n.kid("target").get("dev")
	case "controller":
		return attrs("type") && (o.get("index") == n.get("index") || !n.has("index") && n.kid("address") != nil)
	case "sound":
		return attrs("model")
	case "hostdev":
		return sameHostdev(n, o)
	case "lease":
		return o.kidText("key") == n.kidText("key") && o.kidText("lockspace") == n.kidText("lockspace")
	case "filesystem":
		return o.kid("target").get("dir") == n.kid("target").get("dir")
	case "rng":
		return attrs("model") && sameText(o.kid("backend"), n.kid("backend"))
	case "redirdev":
		return attrs("bus", "type") && sameText(o.kid("source"), n.kid("source"))
	case "shmem":
		return attrs("name") && o.kid("model").get("type") == n.kid("model").get("type")
	case "memory":
		return attrs("model") && sameText(o.kid("target"), n.kid("target")) && sameText(o.kid("source"), n.kid("source"))
	case "input":
		return attrs("type", "bus")
	case "vsock":
		return sameText(o.kid("cid"), n.kid("cid"))
	case "graphics":
		return attrs("type")
	}
	return true
}

// sameHostdev: both mean one device of the host. A USB device goes by its place if a has one, else by its make.
func sameHostdev(a, b *node) bool {
	if a.get("type") != b.get("type") {
		return false
	}
	x, y := a.kid("source"), b.kid("source")
	if a.get("type") != "usb" {
		return sameText(x, y)
	}
	if xa := x.kid("address"); xa.has("bus") && xa.has("device") {
		ya := y.kid("address")
		return xa.get("bus") == ya.get("bus") && xa.get("device") == ya.get("device")
	}
	return x.kid("vendor").get("id") == y.kid("vendor").get("id") && x.kid("product").get("id") == y.kid("product").get("id")
}

// matchChardev goes by the source, and by the target as far as the document says something about it.
func (def *definition) matchChardev(n *node) *node {
	t := n.kid("target")
	for _, o := range def.devices.all(n.name) {
		ot := o.kid("target")
		if o.get("type") != n.get("type") || n.get("type") != "pty" && n.kid("source") != nil && !sameText(o.kid("source"), n.kid("source")) {
			continue
		}
		same := true
		for _, a := range []string{"type", "name", "port", "address"} {
			same = same && (!t.has(a) || t.get(a) == ot.get(a))
		}
		if same {
			return o
		}
	}
	return nil
}

// sameText: both say the same.
func sameText(a, b *node) bool {
	var x, y string
	describe(a, &x)
	describe(b, &y)
	return x == y
}
