package network

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// port is one guest's connection to a network: what its document says, and what the network gave it. A port that an actor
// holds is replaced, never changed.
type port struct {
	uuid      protocol.UUID
	owner     string
	ownerUUID protocol.UUID
	group     string
	mac       string
	vport     *vport
	bandwidth *bandwidth
	class     uint // of tc, for its floor
	vlan      *vlan
	isolated  string
	trust     string
	plug      plug
}

// plug is where the guest is to be connected.
type plug struct {
	typ      string // "", plugNetwork, plugBridge, plugDirect or plugHostdev
	bridge   string
	macTable string
	dev      string // of a direct connection
	mode     string // likewise: vepa, private, bridge or passthrough
	pci      *pciAddr
	managed  bool
	driver   string
}

// Types of plugs, as the port's document names them.
const (
	plugNetwork = "network"     // a tap on the bridge of the network
	plugBridge  = "bridge"      // a tap on a bridge of the host
	plugDirect  = "direct"      // a macvtap on a device of the host
	plugHostdev = "hostdev-pci" // a PCI device
)

func (p *port) ref(n protocol.Network) protocol.NetworkPort {
	return protocol.NetworkPort{Net: n, UUID: p.uuid}
}

const portOrigin = "(networkport_definition)"

// parsePort reads a port's document.
func parsePort(doc string) (*port, error) {
	root, err := reader("networkport", portOrigin).Read(doc)
	if err != nil {
		return nil, err
	}
	p := &port{}
	if u := root.Kid("uuid"); u != nil {
		id, ok := xmltree.UUID(u.Content())
		if !ok {
			return nil, liberr.New(from, liberr.InternalError, "Unable to parse UUID '%s'", u.Content())
		}
		p.uuid = id
	} else {
		return nil, liberr.New(from, liberr.InternalError, "network port has no uuid")
	}
	owner := root.Kid("owner")
	if p.owner = owner.Kid("name").Content(); p.owner == "" {
		return nil, liberr.New(from, liberr.InternalError, "network port has no owner name")
	}
	text := owner.Kid("uuid").Content()
	if text == "" {
		return nil, liberr.New(from, liberr.InternalError, "network port has no owner UUID")
	}
	ok := false
	if p.ownerUUID, ok = xmltree.UUID(text); !ok {
		return nil, liberr.New(from, liberr.InternalError, "Unable to parse UUID '%s'", text)
	}
	p.group = root.Kid("group").Content()
	if p.vport, err = readVPort(root.Kid("virtualport"), false); err != nil {
		return nil, err
	}
	text, ok = root.Kid("mac").Lookup("address")
	if !ok {
		return nil, liberr.New(from, liberr.InternalError, "network port has no mac")
	}
	mac, ok := xmltree.MAC(text)
	if !ok {
		return nil, liberr.New(from, liberr.InternalError, "Unable to parse MAC '%s'", text)
	}
	p.mac = macString(mac)
	if b := root.Kid("bandwidth"); b != nil {
		if p.bandwidth, err = readBandwidth(b, true); err != nil {
			return nil, err
		}
		if v, err := strconv.ParseUint(b.Get("classID"), 10, 16); err == nil {
			p.class = uint(v)
		}
	}
	if p.vlan, err = readVLAN(root.Kid("vlan")); err != nil {
		return nil, err
	}
	if x := root.Kid("port"); x != nil {
		if p.isolated, err = yesNo(x, "isolated"); err != nil {
			return nil, err
		}
	}
	if x := root.Kid("rxfilters"); x != nil {
		if p.trust, err = yesNo(x, "trustGuest"); err != nil {
			return nil, err
		}
	}
	if x := root.Kid("plug"); x != nil {
		if p.plug, err = readPlug(x); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func readPlug(n *node) (p plug, err error) {
	p.typ = n.Get("type")
	switch p.typ {
	case "":
	case plugNetwork, plugBridge:
		if p.bridge = n.Get("bridge"); p.bridge == "" {
			return p, xmlError("Missing network port bridge name")
		}
		p.macTable, err = oneOf(n, "macTableManager", "kernel", "libvirt")
	case plugDirect:
		if p.dev = n.Get("dev"); p.dev == "" {
			return p, xmlError("Missing network port link device name")
		}
		p.mode, err = oneOf(n, "mode", "vepa", "private", "bridge", "passthrough")
	case plugHostdev:
		p.managed = n.Get("managed") == "yes"
		p.driver = n.Kid("driver").Get("name")
		x := n.Kid("address")
		if x == nil {
			return p, xmlError("Missing network port PCI address")
		}
		p.pci, err = readPCI(x)
	default:
		return p, n.BadValue("type", p.typ, "")
	}
	return p, err
}

func (p *port) format() string {
	w := &writer{}
	w.line("<networkport>")
	w.in()
	w.line("<uuid>%s</uuid>", p.uuid)
	w.line("<owner>")
	w.in()
	w.line("<name>%s</name>", xmltree.Escape(p.owner))
	w.line("<uuid>%s</uuid>", p.ownerUUID)
	w.out()
	w.line("</owner>")
	if p.group != "" {
		w.line("<group>%s</group>", xmltree.Escape(p.group))
	}
	w.line("<mac address='%s'/>", p.mac)
	w.vport(p.vport)
	w.bandwidthClass(p.bandwidth, p.class)
	w.vlan(p.vlan)
	if p.isolated != "" {
		w.line("<port isolated='%s'/>", p.isolated)
	}
	if p.trust != "" {
		w.line("<rxfilters trustGuest='%s'/>", p.trust)
	}
	w.plug(&p.plug)
	w.out()
	w.line("</networkport>")
	return w.String()
}

func (w *writer) plug(p *plug) {
	switch p.typ {
	case plugNetwork, plugBridge:
		w.line("<plug type='%s'%s%s/>", p.typ, opt("bridge", p.bridge), opt("macTableManager", p.macTable))
	case plugDirect:
		w.line("<plug type='direct'%s%s/>", opt("dev", p.dev), opt("mode", p.mode))
	case plugHostdev:
		managed := ""
		if p.managed {
			managed = "yes"
		}
		w.line("<plug type='hostdev-pci'%s>", opt("managed", managed))
		w.in()
		if p.driver != "" {
			w.line("<driver name='%s'/>", p.driver)
		}
		w.line("<address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", p.pci.domain, p.pci.bus, p.pci.slot, p.pci.function)
		w.out()
		w.line("</plug>")
	}
}

func parsePCIName(s string) *pciAddr {
	a := &pciAddr{}
	rest := s
	for _, f := range []struct {
		to  *uint32
		sep string
	}{{&a.domain, ":"}, {&a.bus, ":"}, {&a.slot, "."}, {&a.function, ""}} {
		part := rest
		if f.sep != "" {
			var ok bool
			if part, rest, ok = strings.Cut(rest, f.sep); !ok {
				return nil
			}
		}
		v, err := strconv.ParseUint(part, 16, 32)
		if err != nil {
			return nil
		}
		*f.to = uint32(v)
	}
	return a
}

// Ports on disk: a file each below the network's folder, which ends with the boot.

func (s *shared) portsDir(network string) string {
	return filepath.Join(s.runPath(network, ""), "ports")
}

func (s *shared) portPath(network string, id protocol.UUID) string {
	return filepath.Join(s.portsDir(network), id.String()+".xml")
}

func (s *shared) storePort(network string, p *port) error {
	path := s.portPath(network, p.uuid)
	if err := disk.WriteVolatile(path, []byte(header("net-port-delete "+network+" "+p.uuid.String())+p.format()), 0o600); err != nil {
		return liberr.System(from, err, "cannot create config file '%s'", path)
	}
	return nil
}

// readPorts reads the ports of an active network. One that cannot be read is left out and logged.
func (s *shared) readPorts(network string) map[protocol.UUID]*port {
	ports := map[protocol.UUID]*port{}
	files, _ := filepath.Glob(filepath.Join(s.portsDir(network), "*.xml"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		var p *port
		if err == nil {
			p, err = parsePort(string(text))
		}
		if err != nil {
			s.env.Log.Error().Err(err).Str("file", f).Msg("not a network port's file")
			continue
		}
		ports[p.uuid] = p
	}
	return ports
}
