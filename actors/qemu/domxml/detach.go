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
		def.devices.Remove(found)
		if out, err = newDevice(found.Clone()); err != nil {
			return err
		}
		if found.Name == "memory" {
			return def.shrink(found)
		}
		return nil
	})
	return out, err
}

// shrink takes a module's size off the domain's memory.
func (def *definition) shrink(module *node) error {
	total, err := kib(def.root.Kid("memory"), "./memory[1]")
	if err != nil {
		return err
	}
	size, err := kib(module.Kid("target/size"), "./size[1]")
	if err != nil {
		return err
	}
	total -= min(size, total)
	setKiB(def.root.Ensure("memory"), total)
	current, err := kib(def.root.Kid("currentMemory"), "./currentMemory[1]")
	if err != nil {
		return err
	}
	setKiB(def.root.Ensure("currentMemory"), min(current, total))
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
			if n.Name == "disk" {
				return liberr.New(liberr.FromQemu, liberr.InvalidArg, "target %s doesn't exist.", n.Kid("target").Get("dev"))
			}
			return err
		}
		for _, keep := range []string{"address", "alias"} {
			if k := old.Kid(keep); k != nil && n.Kid(keep) == nil {
				n.Add(k.Clone())
			}
		}
		def.devices.Kids[slices.Index(def.devices.Kids, old)] = n
		if was, err = newDevice(old.Clone()); err != nil {
			return err
		}
		is, err = newDevice(n.Clone())
		return err
	})
	return was, is, err
}

// find is match with libvirt's words for a miss.
func (def *definition) find(n *node) (*node, error) {
	if n.Name == "interface" {
		return def.findInterface(n)
	}
	if m := def.match(n); m != nil {
		return m, nil
	}
	switch n.Name {
	case "disk":
		return nil, deviceMissing("no target device %s", n.Kid("target").Get("dev"))
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
		return nil, deviceMissing("Lease %s in lockspace %s does not exist", n.KidText("key"), n.KidText("lockspace"))
	case "vsock":
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "matching vsock device not found")
	}
	return nil, deviceMissing("device not present in domain configuration")
}

// findInterface goes by MAC address; address and alias tell twins apart.
func (def *definition) findInterface(n *node) (*node, error) {
	mac := n.Kid("mac").Get("address")
	want, hasAddress := pciAddressOf(n)
	alias := n.Kid("alias").Get("name")
	var found *node
	for _, o := range def.devices.All("interface") {
		have, _ := pciAddressOf(o)
		if mac != "" && o.Kid("mac").Get("address") != mac || hasAddress && have != want || alias != "" && o.Kid("alias").Get("name") != alias {
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
	if n.Name == "serial" || n.Name == "parallel" || n.Name == "console" || n.Name == "channel" {
		return def.matchChardev(n)
	}
	for _, o := range def.devices.All(n.Name) {
		if sameDevice(o, n) {
			return o
		}
	}
	return nil
}

func sameDevice(o, n *node) bool {
	attrs := func(names ...string) bool {
		for _, a := range names {
			if o.Get(a) != n.Get(a) {
				return false
			}
		}
		return true
	}
	if a := n.Kid("alias"); a != nil && a.Get("name") != o.Kid("alias").Get("name") {
		return false
	}
	if a := n.Kid("address"); a != nil && n.Name != "disk" && !sameText(a, o.Kid("address")) {
		return false
	}
	switch n.Name {
	case "disk":
		return o.Kid("target").Get("dev") == n.Kid("target").Get("dev")
	case "controller":
		return attrs("type") && (o.Get("index") == n.Get("index") || !n.Has("index") && n.Kid("address") != nil)
	case "sound":
		return attrs("model")
	case "hostdev":
		return sameHostdev(n, o)
	case "lease":
		return o.KidText("key") == n.KidText("key") && o.KidText("lockspace") == n.KidText("lockspace")
	case "filesystem":
		return o.Kid("target").Get("dir") == n.Kid("target").Get("dir")
	case "rng":
		return attrs("model") && sameText(o.Kid("backend"), n.Kid("backend"))
	case "redirdev":
		return attrs("bus", "type") && sameText(o.Kid("source"), n.Kid("source"))
	case "shmem":
		return attrs("name") && o.Kid("model").Get("type") == n.Kid("model").Get("type")
	case "memory":
		return attrs("model") && sameText(o.Kid("target"), n.Kid("target")) && sameText(o.Kid("source"), n.Kid("source"))
	case "input":
		return attrs("type", "bus")
	case "vsock":
		return sameText(o.Kid("cid"), n.Kid("cid"))
	case "graphics":
		return attrs("type")
	}
	return true
}

// sameHostdev: both mean one device of the host. A USB device goes by its place if a has one, else by its make.
func sameHostdev(a, b *node) bool {
	if a.Get("type") != b.Get("type") {
		return false
	}
	x, y := a.Kid("source"), b.Kid("source")
	if a.Get("type") != "usb" {
		return sameText(x, y)
	}
	if xa := x.Kid("address"); xa.Has("bus") && xa.Has("device") {
		ya := y.Kid("address")
		return xa.Get("bus") == ya.Get("bus") && xa.Get("device") == ya.Get("device")
	}
	return x.Kid("vendor").Get("id") == y.Kid("vendor").Get("id") && x.Kid("product").Get("id") == y.Kid("product").Get("id")
}

// matchChardev goes by the source, and by the target as far as the document says something about it.
func (def *definition) matchChardev(n *node) *node {
	t := n.Kid("target")
	for _, o := range def.devices.All(n.Name) {
		ot := o.Kid("target")
		if o.Get("type") != n.Get("type") || n.Get("type") != "pty" && n.Kid("source") != nil && !sameText(o.Kid("source"), n.Kid("source")) {
			continue
		}
		same := true
		for _, a := range []string{"type", "name", "port", "address"} {
			same = same && (!t.Has(a) || t.Get(a) == ot.Get(a))
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
