package domxml

import (
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
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
	root := xmltree.Elem("domain")
	devices := xmltree.Elem("devices")
	devices.Add(n)
	root.Add(devices)
	d, err := toStruct(root)
	if err != nil {
		return nil, err
	}
	return &Device{Kind: n.Name, DomainDeviceList: *d.Devices, tree: n.Clone()}, nil
}

// deviceKinds are the elements a client may send alone.
var deviceKinds = []string{"disk", "lease", "filesystem", "interface", "input", "sound", "watchdog", "video", "hostdev", "controller", "graphics", "hub", "redirdev", "smartcard", "serial", "parallel", "console", "channel", "memballoon", "rng", "tpm", "panic", "memory", "iommu", "vsock", "shmem", "nvram", "audio"}

// ParseDevice reads a device document the way virDomainAttachDeviceFlags does: checked and with its defaults, for the
// domain it is meant for. It has no address yet, unless the document gives one.
func ParseDevice(doc []byte, d *libvirtxml.Domain, env Env, flags ParseFlags) (*Device, error) {
	n, bad := xmltree.Scan(string(doc))
	if bad != nil {
		return nil, bad.Libvirt(liberr.FromDomain, "(device_definition)")
	}
	known := false
	for _, k := range deviceKinds {
		known = known || k == n.Name
	}
	if !known {
		return nil, unsupported("unknown device type '%s'", n.Local())
	}
	root, err := fromStruct(d)
	if err != nil {
		return nil, err
	}
	grammar["devices"].kids[n.Name].kind.arrange(n)
	def := treeOf(root)
	def.env, def.flags = &env, flags
	anyMAC := n.Name == "interface" && !n.Kid("mac").Has("address")
	all := def.devices
	def.devices = xmltree.Elem("devices")
	def.devices.Add(n)
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
	if n.Name == "serial" {
		n.Ensure("target")
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
	c, err := def.env.Caps(def.devices.KidText("emulator"))
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
	root := xmltree.Elem("domain")
	root.Add(xmltree.Elem("devices"))
	root.Kid("devices").Add(n)
	present(root, flags)
	var b strings.Builder
	n.Print(&b, 0)
	return b.String(), nil
}

// node is the device as a tree, as far as possible from the struct, which the caller may have changed.
func (dev *Device) node() (*node, error) {
	root, err := fromStruct(&libvirtxml.Domain{Devices: &dev.DomainDeviceList})
	if err != nil {
		return nil, err
	}
	for _, k := range elements(root.Kid("devices")) {
		if k.Name == dev.Kind {
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
	n = n.Clone()
	n.Drop("mac")
	return n
}

func operationInvalid(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationInvalid, format, args...)
}

func deviceMissing(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.DeviceMissing, format, args...)
}
