package network

import (
	"strings"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// allocate fills in a port what the network decides: its bandwidth, VLAN and virtual port from the portgroup and the
// network where it has none of its own, and where it is plugged in. It is pure; the port is the caller's own.
func (st *status) allocate(p *port, ports map[protocol.UUID]*port) error {
	def := st.def
	group := def.portgroup(p.group)
	if group != nil {
		if p.bandwidth == nil {
			p.bandwidth = group.bandwidth
		}
		if p.vlan == nil {
			p.vlan = group.vlan
		}
		if p.trust == "" {
			p.trust = group.trust
		}
	}
	if p.vlan == nil {
		p.vlan = def.vlan
	}
	if p.trust == "" {
		p.trust = def.trust
	}
	if p.isolated == "" {
		p.isolated = def.isolated
	}
	var err error
	if p.vport, err = mergeVPorts(p.vport, def.vport, group); err != nil {
		return err
	}
	if err := def.checkVPort(p); err != nil {
		return err
	}
	if p.plug.typ == "" {
		err = st.plugIn(p, ports)
	} else {
		err = st.reclaim(p, ports)
	}
	if err != nil {
		return err
	}
	p.vport.fill()
	return st.giveFloor(p)
}

// portgroup finds a portgroup by name, or the default one when no name is given.
func (d *definition) portgroup(name string) *portgroup {
	for i := range d.portgroups {
		if g := &d.portgroups[i]; g.name == name || name == "" && g.isDefault {
			return g
		}
	}
	return nil
}

// checkVPort refuses a virtual port that the way of connecting cannot have.
func (d *definition) checkVPort(p *port) error {
	if p.vport == nil || p.vport.typ == "" {
		return nil
	}
	allowed, how := "", ""
	typ := p.plug.typ
	if typ == "" {
		typ = d.plugType()
	}
	switch typ {
	case plugNetwork:
		how = "IP forwarding"
	case plugBridge:
		allowed, how = "openvswitch midonet", "a bridge device"
	case plugDirect:
		allowed, how = "802.1Qbg 802.1Qbh", "a macvtap device"
	case plugHostdev:
		allowed, how = "802.1Qbh", "an SR-IOV Virtual Function via PCI passthrough"
	}
	if strings.Contains(" "+allowed+" ", " "+p.vport.typ+" ") {
		return nil
	}
	return unsupported("<virtualport type='%s'> not supported for network '%s' which uses %s", p.vport.typ, d.name, how)
}

// plugType is how guests are connected.
func (d *definition) plugType() string {
	switch {
	case d.ownBridge():
		return plugNetwork
	case d.forward.mode == modeBridge && d.bridge != "":
		return plugBridge
	case d.forward.mode == modeHostdev:
		return plugHostdev
	}
	return plugDirect
}

// plugIn decides where the port is connected.
func (st *status) plugIn(p *port, ports map[protocol.UUID]*port) error {
	def := st.def
	f := &def.forward
	switch typ := def.plugType(); typ {
	case plugNetwork, plugBridge:
		p.plug = plug{typ: typ, bridge: def.bridge, macTable: def.macTable}
		return nil
	case plugHostdev:
		for _, i := range f.ifaces {
			if i.pci != nil && uses(ports, i) == 0 {
				p.plug = plug{typ: typ, pci: i.pci, managed: f.managed, driver: f.driver}
				return nil
			}
		}
		return liberr.New(from, liberr.InternalError, "network '%s' requires exclusive access to interfaces, but none are available", def.name)
	}
	if len(f.ifaces) == 0 {
		return liberr.New(from, liberr.InternalError, "network '%s' uses a direct mode, but has no forward dev and no interface pool", def.name)
	}
	best, least := "", -1
	for _, i := range f.ifaces {
		if n := uses(ports, i); least < 0 || n < least {
			best, least = i.dev, n
		}
	}
	if def.exclusive(p) && least > 0 {
		return liberr.New(from, liberr.InternalError, "network '%s' requires exclusive access to interfaces, but none are available", def.name)
	}
	p.plug = plug{typ: plugDirect, dev: best, mode: f.mode}
	return nil
}

// reclaim checks that the port may be where it says it is plugged in.
func (st *status) reclaim(p *port, ports map[protocol.UUID]*port) error {
	def := st.def
	if p.plug.typ != plugDirect && p.plug.typ != plugHostdev {
		return nil
	}
	for _, i := range def.forward.ifaces {
		switch {
		case p.plug.typ == plugDirect && i.pci == nil && i.dev == p.plug.dev:
			if def.exclusive(p) && uses(ports, i) > 0 {
				return liberr.New(from, liberr.InternalError, "network '%s' claims dev='%s' is already in use by a different domain", def.name, i.dev)
			}
			return nil
		case p.plug.typ == plugHostdev && i.pci != nil && *i.pci == *p.plug.pci:
			if uses(ports, i) > 0 {
				return liberr.New(from, liberr.InternalError, "network '%s' claims the PCI device at domain=%d bus=%d slot=%d function=%d is already in use by a different domain",
					def.name, i.pci.domain, i.pci.bus, i.pci.slot, i.pci.function)
			}
			return nil
		}
	}
	// Compat: the port's UUID is not told.
	if p.plug.typ == plugHostdev {
		return liberr.New(from, liberr.InternalError, "network '%s' doesn't have PCI device %s in use by network port ''", def.name, p.plug.pci)
	}
	return liberr.New(from, liberr.InternalError, "network '%s' doesn't have dev='%s' in use by network port ''", def.name, p.plug.dev)
}

// exclusive tells whether a device of the pool can serve one port only.
func (d *definition) exclusive(p *port) bool {
	return d.forward.mode == modePassthrough || d.forward.mode == modePrivate && p.vport != nil && p.vport.typ == "802.1Qbh"
}

// uses counts the ports on a device of the pool.
func uses(ports map[protocol.UUID]*port, i forwardIf) (n int) {
	for _, p := range ports {
		if i.pci != nil && p.plug.pci != nil && *i.pci == *p.plug.pci || i.pci == nil && p.plug.dev == i.dev {
			n++
		}
	}
	return n
}

// mergeVPorts joins what the port, the network and the portgroup say about its virtual port. They may complete but not
// contradict each other.
func mergeVPorts(own, network *vport, g *portgroup) (*vport, error) {
	var group *vport
	if g != nil {
		group = g.vport
	}
	if own == nil && network == nil && group == nil {
		return nil, nil
	}
	out := &vport{}
	for _, v := range []*vport{own, group, network} {
		if v == nil {
			continue
		}
		if out.typ != "" && v.typ != "" && out.typ != v.typ {
			return nil, liberr.New(liberr.FromNet, liberr.XMLError, "attempt to merge virtualports with mismatched types (%s and %s)", out.typ, v.typ)
		}
		if v.typ != "" {
			out.typ = v.typ
		}
		for _, f := range []struct {
			name     string
			to, with **uint64
		}{{"managerids", &out.manager, &v.manager}, {"typeids", &out.typeID, &v.typeID}, {"typeidversions", &out.typeVersion, &v.typeVersion}} {
			if *f.with == nil {
				continue
			}
			if *f.to != nil && **f.to != **f.with {
				return nil, liberr.New(liberr.FromNet, liberr.XMLError, "attempt to merge virtualports with mismatched %s (%d and %d)", f.name, **f.to, **f.with)
			}
			*f.to = *f.with
		}
		for _, f := range []struct {
			name     string
			to, with **protocol.UUID
		}{{"instanceids", &out.instance, &v.instance}, {"interfaceids", &out.ifaceID, &v.ifaceID}} {
			if *f.with == nil {
				continue
			}
			if *f.to != nil && **f.to != **f.with {
				return nil, liberr.New(liberr.FromNet, liberr.XMLError, "attempt to merge virtualports with mismatched %s ('%s' and '%s')", f.name, **f.to, **f.with)
			}
			*f.to = *f.with
		}
		if v.profile != "" {
			if out.profile != "" && out.profile != v.profile {
				return nil, liberr.New(liberr.FromNet, liberr.XMLError, "attempt to merge virtualports with mismatched profileids ('%s' and '%s')", out.profile, v.profile)
			}
			out.profile = v.profile
		}
	}
	return out, out.check()
}

// fill makes up the identifiers that every port of these types must have.
func (v *vport) fill() {
	if v == nil {
		return
	}
	id := newUUID()
	switch {
	case v.typ == "openvswitch" && v.ifaceID == nil:
		v.ifaceID = &id
	case v.typ == "802.1Qbg" && v.instance == nil:
		v.instance = &id
	}
}

// giveFloor reserves a guaranteed bandwidth on the network's bridge and gives the port its class of tc; a port without a floor
// has no class.
func (st *status) giveFloor(p *port) error {
	if p.bandwidth == nil || p.bandwidth.in == nil || p.bandwidth.in.floor == 0 {
		p.class = 0
		return nil
	}
	if p.plug.typ != plugNetwork {
		return liberr.New(from, liberr.OperationUnsupported, "Invalid use of 'floor' on interface with MAC address %s - 'floor' is only supported for interface type 'network' with forward type 'nat', 'route', 'open' or none", p.mac)
	}
	if st.def.bandwidth == nil || st.def.bandwidth.in == nil {
		return liberr.New(from, liberr.OperationUnsupported, "Invalid use of 'floor' on interface with MAC address %s - network '%s' has no inbound QoS set", p.mac, st.def.name)
	}
	in, sum := st.def.bandwidth.in, st.floor+p.bandwidth.in.floor
	if sum > in.top() {
		what := "average"
		if in.peak != 0 {
			what = "peak"
		}
		return liberr.New(from, liberr.OperationInvalid, "Cannot plug '%s' interface into '%s' because new combined inbound floor=%d would overcommit %s=%d on network '%s'",
			p.mac, st.def.bridge, sum, what, in.top(), st.def.name)
	}
	for id := uint(restClass + 1); p.class == 0 && id < maxClass; id++ {
		if !st.classes[id] {
			p.class = id
		}
	}
	if p.class == 0 {
		return liberr.New(from, liberr.InternalError, "Could not generate next class ID")
	}
	st.classes[p.class] = true
	st.floor = sum
	return nil
}

// maxClass bounds the number of classes of a bridge.
const maxClass = 1 << 16

// takeFloor gives back what giveFloor reserved.
func (st *status) takeFloor(p *port) {
	if p.class != 0 {
		delete(st.classes, p.class)
		st.floor -= min(st.floor, p.bandwidth.in.floor)
	}
}
