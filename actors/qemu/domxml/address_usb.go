package domxml

import (
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

// usbPorts is the number of ports of each controller model.
var usbPorts = map[string]int{
	"piix3-uhci": 2, "piix4-uhci": 2, "vt82c686b-uhci": 2, "ehci": 6, "ich9-ehci1": 6, "ich9-uhci1": 2, "ich9-uhci2": 2, "ich9-uhci3": 2,
	"pci-ohci": 3, "nec-xhci": 4, "qemu-xhci": 4,
}

const usbHubPorts = 8

// usbHub is a controller's root or a hub behind it.
type usbHub struct {
	ports []bool // taken
	hubs  []*usbHub
}

func newUSBHub(ports int) *usbHub {
	return &usbHub{ports: make([]bool, ports), hubs: make([]*usbHub, ports)}
}

// free finds the first free port, shallow before deep on each branch's way as libvirt searches.
func (h *usbHub) free(path []int) []int {
	for i, taken := range h.ports {
		if !taken {
			return append(slices.Clone(path), i+1)
		}
	}
	if len(path) >= 4 {
		return nil
	}
	for i, sub := range h.hubs {
		if sub != nil {
			if p := sub.free(append(slices.Clone(path), i+1)); p != nil {
				return p
			}
		}
	}
	return nil
}

// at walks to the hub that has the last port of the path.
func (h *usbHub) at(path []int) *usbHub {
	for _, p := range path[:len(path)-1] {
		if p < 1 || p > len(h.hubs) || h.hubs[p-1] == nil {
			return nil
		}
		h = h.hubs[p-1]
	}
	return h
}

func portPath(s string) []int {
	var out []int
	for part := range strings.SplitSeq(s, ".") {
		v, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func portString(path []int) string {
	var parts []string
	for _, p := range path {
		parts = append(parts, strconv.Itoa(p))
	}
	return strings.Join(parts, ".")
}

// usbSet is all USB buses of a guest; nil where an index has no controller.
type usbSet struct {
	def   *definition
	buses []*usbHub
}

// usbAddresses gives every USB device a bus and a port, with hubs where the ports run out.
func (def *definition) usbAddresses() error {
	s := &usbSet{def: def}
	for _, c := range def.devices.All("controller") {
		if c.Get("type") != "usb" || c.Get("model") == "none" || c.Kid("master") != nil {
			continue
		}
		idx, _ := strconv.Atoi(c.Get("index"))
		for len(s.buses) <= idx {
			s.buses = append(s.buses, nil)
		}
		ports := usbPorts[c.Get("model")]
		if v, err := strconv.Atoi(c.Get("ports")); err == nil && v > 0 {
			ports = v
		}
		if s.buses[idx] == nil || len(s.buses[idx].ports) < ports {
			s.buses[idx] = newUSBHub(ports)
		}
	}
	fresh := !slices.ContainsFunc(def.usbDevices(true), func(d *node) bool { return d.Kid("address").Has("port") })
	if err := s.reserveFixed(); err != nil {
		return err
	}
	if fresh && len(s.buses) > 0 {
		s.addHubs()
	}
	for _, h := range def.devices.All("hub") {
		if err := s.place(h); err != nil {
			return err
		}
	}
	for _, d := range def.usbDevices(false) {
		if err := s.place(d); err != nil {
			return err
		}
	}
	return nil
}

// usbDevices are the devices on USB in the order libvirt walks them.
func (def *definition) usbDevices(hubs bool) []*node {
	var out []*node
	add := func(name string, want func(*node) bool) {
		for _, d := range def.devices.All(name) {
			if want == nil || want(d) {
				out = append(out, d)
			}
		}
	}
	if hubs {
		add("hub", nil)
	}
	add("hostdev", func(d *node) bool { return d.Get("type") == "usb" })
	add("disk", func(d *node) bool { return d.Kid("target").Get("bus") == "usb" })
	add("controller", func(d *node) bool { return d.Get("type") == "ccid" })
	add("input", func(d *node) bool { return d.Get("bus") == "usb" })
	add("serial", func(d *node) bool { return d.Kid("target").Get("type") == "usb-serial" })
	add("sound", func(d *node) bool { return d.Get("model") == "usb" })
	add("redirdev", func(d *node) bool { return d.Get("bus") == "usb" })
	return out
}

// reserveFixed takes the ports documents ask for: hubs first, in the document's order, then what is plugged into them.
func (s *usbSet) reserveFixed() error {
	hubs := s.def.devices.All("hub")
	for _, d := range append(hubs, s.def.usbDevices(false)...) {
		if a := d.Kid("address"); a.Get("type") == "usb" && a.Has("port") {
			if err := s.reserve(d, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *usbSet) reserve(d, a *node) error {
	bus, _ := strconv.Atoi(a.Get("bus"))
	if bus >= len(s.buses) || s.buses[bus] == nil {
		return xmlError("Missing USB bus %d", bus)
	}
	path := portPath(a.Get("port"))
	h := s.buses[bus].at(path)
	if h == nil {
		return xmlError("there is no hub at port %d in USB address bus: %d port: %s", path[0], bus, a.Get("port"))
	}
	port := path[len(path)-1]
	if port < 1 || port > len(h.ports) {
		return xmlError("requested USB port %s not present on USB bus %d", a.Get("port"), bus)
	}
	if h.ports[port-1] {
		return xmlError("Duplicate USB address bus %d port %s", bus, a.Get("port"))
	}
	h.ports[port-1] = true
	if d.Name == "hub" {
		h.hubs[port-1] = newUSBHub(usbHubPorts)
	}
	return nil
}

// addHubs adds as many hubs to a new guest as its devices need beyond the ports there are.
func (s *usbSet) addHubs() {
	devices := len(s.def.usbDevices(true))
	ports := 0
	for _, b := range s.buses {
		if b != nil {
			ports += len(b.ports)
		}
	}
	ports += usbHubPorts * len(s.def.devices.All("hub"))
	if devices <= ports {
		return
	}
	need := (devices - ports + usbHubPorts - 2) / (usbHubPorts - 1)
	for range need {
		s.def.devices.Add(xmltree.Elem("hub", "type", "usb"))
	}
}

func (s *usbSet) place(d *node) error {
	a := d.Kid("address")
	if a != nil && (a.Get("type") != "usb" || a.Has("port")) {
		return nil
	}
	if len(s.buses) == 0 {
		return nil
	}
	only := -1
	if a != nil {
		only, _ = strconv.Atoi(a.Get("bus"))
		if only >= len(s.buses) || s.buses[only] == nil {
			return xmlError("USB bus %d requested but no controller with that index is present", only)
		}
	}
	for i, b := range s.buses {
		if b == nil || only >= 0 && i != only {
			continue
		}
		path := b.free(nil)
		if path == nil {
			continue
		}
		h := b.at(path)
		port := path[len(path)-1]
		h.ports[port-1] = true
		if d.Name == "hub" {
			h.hubs[port-1] = newUSBHub(usbHubPorts)
		}
		d.Drop("address")
		d.Add(xmltree.Elem("address", "type", "usb", "bus", strconv.Itoa(i), "port", portString(path)))
		return nil
	}
	return xmlError("No free USB ports")
}
