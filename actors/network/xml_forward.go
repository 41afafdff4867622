package network

import (
	"net/netip"
	"slices"
	"strconv"

	"virtree/wire/liberr"
)

var modes = []string{modeNAT, modeRoute, modeBridge, modePrivate, modeVEPA, modePassthrough, modeHostdev, modeOpen}

// readForward reads <forward>. A network without one is isolated.
func (d *definition) readForward(n *node) error {
	x := n.Kid("forward")
	if x == nil {
		return nil
	}
	f := &d.forward
	f.mode = modeNAT
	if m := x.Get("mode"); m != "" {
		if m == "none" {
			m = modeNone
		} else if !slices.Contains(modes, m) {
			return unsupported("unknown forwarding type '%s'", m)
		}
		f.mode = m
	}
	f.managed = x.Get("managed") == "yes"
	if name, ok := x.Kid("driver").Lookup("name"); ok {
		if name != "kvm" && name != "vfio" {
			return unsupported("Unknown forward <driver name='%s'/> in network %s", name, d.name)
		}
		f.driver = name
	}
	nats := x.All("nat")
	if len(nats) > 1 {
		return xmlError("Only one <nat> element is allowed in <forward> of network %s", d.name)
	}
	if len(nats) == 1 {
		if f.mode != modeNAT {
			return xmlError("The <nat> element can only be used when <forward> 'mode' is 'nat' in network %s", d.name)
		}
		if err := d.readNAT(nats[0]); err != nil {
			return err
		}
	}
	ifaces, addrs, pfs := x.All("interface"), x.All("address"), x.All("pf")
	if len(pfs) > 1 {
		return xmlError("Only one <pf> element is allowed in <forward> of network %s", d.name)
	}
	dev := x.Get("dev")
	if dev != "" && len(addrs)+len(pfs) > 0 {
		// Compat: libvirt does not fill in the name.
		return xmlError("the <forward> 'dev' attribute cannot be used when <address> or <pf> sub-elements are present in network %%s")
	}
	switch {
	case len(ifaces) > 0 || dev != "":
		if dev != "" {
			f.ifaces = append(f.ifaces, forwardIf{dev: dev})
		}
		for i, k := range ifaces {
			if err := d.readForwardIf(k, dev, i == 0); err != nil {
				return err
			}
		}
	case len(addrs) > 0:
		for _, k := range addrs {
			t, ok := k.Lookup("type")
			if !ok {
				return xmlError("missing address type in network %s", d.name)
			}
			if t != "pci" {
				return unsupported("unknown address type '%s' in network %s", t, d.name)
			}
			a, err := readPCI(k)
			if err != nil {
				return err
			}
			f.ifaces = append(f.ifaces, forwardIf{pci: a})
		}
	case len(pfs) == 1:
		if f.pf = pfs[0].Get("dev"); f.pf == "" {
			return xmlError("Missing required dev attribute in <pf> element of network '%s'", d.name)
		}
	}
	return nil
}

func (d *definition) readForwardIf(k *node, dev string, first bool) error {
	name, ok := k.Lookup("dev")
	if !ok {
		return xmlError("Missing required dev attribute in <forward> <interface> element of network %s", d.name)
	}
	if first && dev != "" {
		if name != dev {
			return xmlError("<forward dev='%s'> must match first <interface dev='%s'/> in network %s", dev, name, d.name)
		}
		return nil
	}
	if slices.ContainsFunc(d.forward.ifaces, func(i forwardIf) bool { return i.dev == name }) {
		return xmlError("interface '%s' can only be listed once in network %s", name, d.name)
	}
	d.forward.ifaces = append(d.forward.ifaces, forwardIf{dev: name})
	return nil
}

func (d *definition) readNAT(n *node) (err error) {
	f := &d.forward
	if f.natIPv6, err = yesNo(n, "ipv6"); err != nil {
		return err
	}
	addrs := n.All("address")
	if len(addrs) > 1 {
		return xmlError("Only one <address> element is allowed in <nat> in <forward> in network %s", d.name)
	}
	if len(addrs) == 1 {
		for i, name := range []string{"start", "end"} {
			if _, ok := addrs[0].Lookup(name); !ok {
				return xmlError("missing '%s' attribute in <address> element in <nat> in <forward> in network %s", name, d.name)
			}
			text := addrs[0].Get(name)
			a, ok := parseAddr(text)
			if !ok || !a.Is4() {
				return xmlError("Bad ipv4 %s address '%s' in <nat> in <forward> in network '%s'", name, text, d.name)
			}
			f.addrs[i] = a
		}
		if err := checkRange(f.addrs[0], f.addrs[1], netip.Addr{}, 0); err != nil {
			return err
		}
	}
	ports := n.All("port")
	if len(ports) > 1 {
		return xmlError("Only one <port> element is allowed in <nat> in <forward> in network %s", d.name)
	}
	if len(ports) == 1 {
		for i, name := range []string{"start", "end"} {
			v, err := strconv.ParseUint(ports[0].Get(name), 10, 16)
			if err != nil || i == 1 && uint16(v) < f.ports[0] {
				return xmlDetail("Missing or invalid '%s' attribute in <port> in <nat> in <forward> in network %s", name, d.name)
			}
			f.ports[i] = uint16(v)
		}
	}
	return nil
}

// fitMode checks what the forward mode demands of the rest of the document.
func (d *definition) fitMode(n *node) error {
	f := &d.forward
	b := n.Kid("bridge")
	switch f.mode {
	case modeNAT, modeRoute, modeOpen:
		if len(d.ips) == 0 {
			return xmlError("%s forwarding requested, but no IP address provided for network '%s'", f.mode, d.name)
		}
		if f.mode == modeOpen && len(f.ifaces) > 0 {
			return xmlError("forward dev not allowed for network '%s' with forward mode='%s'", d.name, f.mode)
		}
		if len(f.ifaces) > 1 {
			return xmlError("multiple forwarding interfaces specified for network '%s', only one is supported", d.name)
		}
	case modePrivate, modeVEPA, modePassthrough, modeHostdev, modeBridge:
		if d.bridge != "" && f.mode != modeBridge {
			return xmlError("bridge name not allowed in %s mode (network '%s')", f.mode, d.name)
		}
		if d.zone != "" && f.mode != modeBridge {
			return xmlError("bridge zone not allowed in %s mode (network '%s')", f.mode, d.name)
		}
		_, stp := b.Lookup("stp")
		if d.delay != 0 || stp || d.zone != "" {
			return xmlError("bridge delay/stp/zone options only allowed in route, nat, and isolated mode, not in %s (network '%s')", f.mode, d.name)
		}
		if d.bridge != "" && (len(f.ifaces) > 0 || f.pf != "") {
			return xmlError("A network with forward mode='%s' can specify a bridge name or a forward dev, but not both (network '%s')", f.mode, d.name)
		}
		if d.mtu != 0 {
			return xmlError("mtu size only allowed in open, route, nat, and isolated mode, not in %s (network '%s')", f.mode, d.name)
		}
	}
	return nil
}

func internal(format string, args ...any) error {
	return liberr.New(liberr.FromNone, liberr.InternalError, format, args...)
}

// checkRange checks a range of addresses, within a network when one is given.
func checkRange(start, end, network netip.Addr, bits int) error {
	if start.BitLen() != end.BitLen() {
		return internal("mismatch of address family in range %s - %s", start, end)
	}
	name := start.String() + " - " + end.String()
	if network.IsValid() {
		if network.BitLen() != start.BitLen() {
			return internal("mismatch of address family in range %s for network %s", name, network)
		}
		prefix := netip.PrefixFrom(network, bits).Masked()
		if !prefix.Contains(start) || !prefix.Contains(end) {
			return internal("range %s is not entirely within network %s/%d", name, network, bits)
		}
	}
	if end.Less(start) {
		if start.Is4() {
			return internal("range %s is reversed ", name)
		}
		return internal("range %s start larger than end", name)
	}
	if network.IsValid() && network.Is4() {
		prefix := netip.PrefixFrom(network, bits).Masked()
		if start == prefix.Addr() {
			return internal("start of range %s in network %s/%d is the network address", name, network, bits)
		}
		if end == broadcast(prefix) {
			return internal("end of range %s in network %s/%d is the broadcast address", name, network, bits)
		}
	}
	if rangeSize(start, end) > 65536 {
		return internal("range %s is too large (> 65535)", name)
	}
	return nil
}

// rangeSize counts the addresses from start to end, up to more than anybody may have.
func rangeSize(start, end netip.Addr) int {
	s, e := start.As16(), end.As16()
	for i := range 12 {
		if s[i] != e[i] {
			return 1 << 40
		}
	}
	n := func(b [16]byte) int { return int(b[12])<<24 | int(b[13])<<16 | int(b[14])<<8 | int(b[15]) }
	return n(e) - n(s) + 1
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
