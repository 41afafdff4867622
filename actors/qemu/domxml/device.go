package domxml

import (
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// Device is one device on its own: what clients plug in and out. Its form is a device list with one entry.
type Device struct {
	Kind string // the element's name: "disk", "interface", ...
	libvirtxml.DomainDeviceList

	tree   *node
	anyMAC bool // the document of an interface names no address: the one it has was made up
}

func newDevice(n *node) (*Device, error) {
	root := elem("domain")
	devices := elem("devices")
	devices.add(n)
	root.add(devices)
	d, err := toStruct(root)
	if err != nil {
		return nil, err
	}
	return &Device{Kind: n.name, DomainDeviceList: *d.Devices, tree: n.clone()}, nil
}

// deviceKinds are the elements a client may send alone.
var deviceKinds = []string{"disk", "lease", "filesystem", "interface", "input", "sound", "watchdog", "video", "hostdev", "controller", "graphics", "hub", "redirdev", "smartcard", "serial", "parallel", "console", "channel", "memballoon", "rng", "tpm", "panic", "memory", "iommu", "vsock", "shmem", "nvram", "audio"}

// ParseDevice reads a device document the way virDomainAttachDeviceFlags does: checked and with its defaults, for the
// domain it is meant for. It has no address yet, unless the document gives one.
func ParseDevice(doc []byte, d *libvirtxml.Domain, env Env, flags ParseFlags) (*Device, error) {
	n, bad := scan(string(doc))
	if bad != nil {
		return nil, xmlSyntax("(device_definition)", bad)
	}
	known := false
	for _, k := range deviceKinds {
		known = known || k == n.name
	}
	if !known {
		return nil, unsupported("unknown device type '%s'", n.name)
	}
	root, err := fromStruct(d)
	if err != nil {
		return nil, err
	}
	grammar["devices"].kids[n.name].kind.arrange(n)
	def := treeOf(root)
	def.env, def.flags = &env, flags
	anyMAC := n.name == "interface" && !n.kid("mac").has("address")
	all := def.devices
	def.devices = elem("devices")
	def.devices.add(n)
	err = def.checkDevices()
	def.devices = all
	if err != nil {
		return nil, err
	}
	if err := def.knowMachine(); err != nil {
		return nil, err
	}
	if err := def.deviceDefaults(n); err != nil {
		return nil, err
	}
	if n.name == "serial" {
		n.ensure("target")
		serialDefaults(n)
	}
	dev, err := newDevice(n)
	if err == nil {
		dev.anyMAC = anyMAC
	}
	return dev, err
}

// knowMachine fills in what the binary says about a domain that is known to fit it.
func (def *definition) knowMachine() error {
	c, err := def.env.Caps(def.devices.kidText("emulator"))
	if err != nil {
		return err
	}
	def.caps = c
	def.machine, _ = c.Machine(def.machineName())
	return nil
}

// FormatDevice prints a device as it looks inside its domain's document, without the indentation.
func FormatDevice(dev *Device, flags FormatFlags) (string, error) {
	n, err := dev.node()
	if err != nil {
		return "", err
	}
	root := elem("domain")
	root.add(elem("devices"))
	root.kid("devices").add(n)
	present(root, flags)
	var b strings.Builder
	n.write(&b, 0)
	return b.String(), nil
}

// node is the device as a tree, as far as possible from the struct, which the caller may have changed.
func (dev *Device) node() (*node, error) {
	root, err := fromStruct(&libvirtxml.Domain{Devices: &dev.DomainDeviceList})
	if err != nil {
		return nil, err
	}
	for _, k := range root.kid("devices").elements() {
		if k.name == dev.Kind {
			return k, nil
		}
	}
	return nil, internalError("device of kind '%s' is empty", dev.Kind)
}

// sought is a device's node as what is looked for: without an address that the client did not name.
func (dev *Device) sought(n *node) *node {
	if !dev.anyMAC {
		return n
	}
	n = n.clone()
	n.drop("mac")
	return n
}

func operationInvalid(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationInvalid, format, args...)
}

func deviceMissing(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.DeviceMissing, format, args...)
}
