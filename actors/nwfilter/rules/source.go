package rules

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// protocol is what a rule's element is called.
type protocol struct {
	name   string
	net    bool   // a rule of the net chains, with connection tracking
	six    bool   // of IPv6
	number uint32 // net: the protocol above IP; 0 for all
	header bool   // net: an extension header of IPv6 and no protocol above it
	build  func(*values, *builder)
}

var (
	protoNone = &protocol{name: "none", build: func(*values, *builder) {}}
	protoMAC  = &protocol{name: "mac", build: buildMAC}
	protoVLAN = &protocol{name: "vlan", build: buildVLAN}
	protoSTP  = &protocol{name: "stp", build: buildSTP}
	protoARP  = &protocol{name: "arp", build: func(v *values, b *builder) { buildARP(v, b, etherARP) }}
	protoRARP = &protocol{name: "rarp", build: func(v *values, b *builder) { buildARP(v, b, etherRARP) }}
	protoIP   = &protocol{name: "ip", build: buildIP}
	protoIPv6 = &protocol{name: "ipv6", six: true, build: buildIPv6}
)

func netProtocol(name string, number uint32, six bool) *protocol {
	return &protocol{name: name, net: true, six: six, number: number, build: buildNet}
}

var (
	protoTCP      = netProtocol("tcp", 6, false)
	protoUDP      = netProtocol("udp", 17, false)
	protoUDPLite  = netProtocol("udplite", 136, false)
	protoESP      = netProtocol("esp", 50, false)
	protoAH       = netProtocol("ah", 51, false)
	protoSCTP     = netProtocol("sctp", 132, false)
	protoICMP     = netProtocol("icmp", 1, false)
	protoAll      = netProtocol("all", 0, false)
	protoIGMP     = netProtocol("igmp", 2, false)
	protoTCP6     = netProtocol("tcp-ipv6", 6, true)
	protoUDP6     = netProtocol("udp-ipv6", 17, true)
	protoUDPLite6 = netProtocol("udplite-ipv6", 136, true)
	protoESP6     = netProtocol("esp-ipv6", 50, true)
	protoAH6      = &protocol{name: "ah-ipv6", net: true, six: true, number: 51, header: true, build: buildNet}
	protoSCTP6    = netProtocol("sctp-ipv6", 132, true)
	protoICMPv6   = netProtocol("icmpv6", 58, true)
	protoAll6     = netProtocol("all-ipv6", 0, true)
)

// source is a rule's element as it stands in the filter: texts, in the order of libvirt's tables, which is the order in
// which lists are multiplied out.
type source struct {
	protocol *protocol
	negated  bool
	comment  string
	given    []given
}

// given is an attribute that the element has.
type given struct {
	attribute attribute
	text      string // begins with $ if it is a variable
}

func (s *source) add(a attribute, f *libvirtxml.NWFilterField) {
	switch {
	case f.Str != "":
		s.given = append(s.given, given{a, f.Str})
	case f.Var != "":
		s.given = append(s.given, given{a, "$" + f.Var})
	case f.Uint != nil:
		s.given = append(s.given, given{a, fmt.Sprintf("0x%x", *f.Uint)})
	}
}

// sourceOf finds the element of a rule. A rule without one matches every frame.
func sourceOf(r *libvirtxml.NWFilterRule) *source {
	s := &source{protocol: protoNone}
	switch {
	case r.MAC != nil:
		s.is(protoMAC, r.MAC.Match, r.MAC.Comment)
		s.mac(&r.MAC.NWFilterRuleCommonMAC)
		s.add(aProtocolID, &r.MAC.ProtocolID)
	case r.VLAN != nil:
		s.is(protoVLAN, r.VLAN.Match, r.VLAN.Comment)
		s.mac(&r.VLAN.NWFilterRuleCommonMAC)
		s.add(aVLANID, &r.VLAN.VLANID)
		s.add(aEncap, &r.VLAN.EncapProtocol)
	case r.STP != nil:
		s.is(protoSTP, r.STP.Match.Str, r.STP.Comment)
		s.stp(r.STP)
	case r.ARP != nil:
		s.is(protoARP, r.ARP.Match, r.ARP.Comment)
		s.arp(r.ARP)
	case r.RARP != nil:
		s.is(protoRARP, r.RARP.Match, r.RARP.Comment)
		s.arp((*libvirtxml.NWFilterRuleARP)(r.RARP))
	case r.IP != nil:
		s.is(protoIP, r.IP.Match, r.IP.Comment)
		s.mac(&r.IP.NWFilterRuleCommonMAC)
		s.network(&r.IP.SrcIPAddr, &r.IP.SrcIPMask, &r.IP.DstIPAddr, &r.IP.DstIPMask)
		s.add(aProtocol, &r.IP.Protocol)
		s.ports(&r.IP.NWFilterRuleCommonPort)
		s.add(aDSCP, &r.IP.DSCP)
	case r.IPv6 != nil:
		s.is(protoIPv6, r.IPv6.Match, r.IPv6.Comment)
		s.mac(&r.IPv6.NWFilterRuleCommonMAC)
		s.network(&r.IPv6.SrcIPAddr, &r.IPv6.SrcIPMask, &r.IPv6.DstIPAddr, &r.IPv6.DstIPMask)
		s.add(aProtocol, &r.IPv6.Protocol)
		s.ports(&r.IPv6.NWFilterRuleCommonPort)
		s.add(aType, &r.IPv6.Type)
		s.add(aTypeEnd, &r.IPv6.TypeEnd)
		s.add(aCode, &r.IPv6.Code)
		s.add(aCodeEnd, &r.IPv6.CodeEnd)
	default:
		s.aboveIP(r)
	}
	return s
}

// is says which protocol's the element is.
func (s *source) is(p *protocol, match, comment string) {
	s.protocol, s.negated, s.comment = p, match == "no", comment
}

// aboveIP is sourceOf for the protocols of the net chains.
func (s *source) aboveIP(r *libvirtxml.NWFilterRule) {
	is := func(p *protocol, match, comment string, ip *libvirtxml.NWFilterRuleCommonIP, ports *libvirtxml.NWFilterRuleCommonPort) {
		s.is(p, match, comment)
		s.ip(ip)
		if ports != nil {
			s.ports(ports)
		}
	}
	switch {
	case r.TCP != nil:
		is(protoTCP, r.TCP.Match, r.TCP.Comment, &r.TCP.NWFilterRuleCommonIP, &r.TCP.NWFilterRuleCommonPort)
		s.add(aOption, &r.TCP.Option)
		s.add(aFlags, &r.TCP.Flags)
	case r.UDP != nil:
		is(protoUDP, r.UDP.Match, r.UDP.Comment, &r.UDP.NWFilterRuleCommonIP, &r.UDP.NWFilterRuleCommonPort)
	case r.UDPLite != nil:
		is(protoUDPLite, r.UDPLite.Match, r.UDPLite.Comment, &r.UDPLite.NWFilterRuleCommonIP, nil)
	case r.ESP != nil:
		is(protoESP, r.ESP.Match, r.ESP.Comment, &r.ESP.NWFilterRuleCommonIP, nil)
	case r.AH != nil:
		is(protoAH, r.AH.Match, r.AH.Comment, &r.AH.NWFilterRuleCommonIP, nil)
	case r.SCTP != nil:
		is(protoSCTP, r.SCTP.Match, r.SCTP.Comment, &r.SCTP.NWFilterRuleCommonIP, &r.SCTP.NWFilterRuleCommonPort)
	case r.ICMP != nil:
		is(protoICMP, r.ICMP.Match, r.ICMP.Comment, &r.ICMP.NWFilterRuleCommonIP, nil)
		s.add(aType, &r.ICMP.Type)
		s.add(aCode, &r.ICMP.Code)
	case r.All != nil:
		is(protoAll, r.All.Match, r.All.Comment, &r.All.NWFilterRuleCommonIP, nil)
	case r.IGMP != nil:
		is(protoIGMP, r.IGMP.Match, r.IGMP.Comment, &r.IGMP.NWFilterRuleCommonIP, nil)
	case r.TCPIPv6 != nil:
		is(protoTCP6, r.TCPIPv6.Match, r.TCPIPv6.Comment, &r.TCPIPv6.NWFilterRuleCommonIP, &r.TCPIPv6.NWFilterRuleCommonPort)
		s.add(aOption, &r.TCPIPv6.Option)
	case r.UDPIPv6 != nil:
		is(protoUDP6, r.UDPIPv6.Match, r.UDPIPv6.Comment, &r.UDPIPv6.NWFilterRuleCommonIP, &r.UDPIPv6.NWFilterRuleCommonPort)
	case r.UDPLiteIPv6 != nil:
		is(protoUDPLite6, r.UDPLiteIPv6.Match, r.UDPLiteIPv6.Comment, &r.UDPLiteIPv6.NWFilterRuleCommonIP, nil)
	case r.ESPIPv6 != nil:
		is(protoESP6, r.ESPIPv6.Match, r.ESPIPv6.Comment, &r.ESPIPv6.NWFilterRuleCommonIP, nil)
	case r.AHIPv6 != nil:
		is(protoAH6, r.AHIPv6.Match, r.AHIPv6.Comment, &r.AHIPv6.NWFilterRuleCommonIP, nil)
	case r.SCTPIPv6 != nil:
		is(protoSCTP6, r.SCTPIPv6.Match, r.SCTPIPv6.Comment, &r.SCTPIPv6.NWFilterRuleCommonIP, &r.SCTPIPv6.NWFilterRuleCommonPort)
	case r.ICMPv6 != nil:
		is(protoICMPv6, r.ICMPv6.Match, r.ICMPv6.Comment, &r.ICMPv6.NWFilterRuleCommonIP, nil)
		s.add(aType, &r.ICMPv6.Type)
		s.add(aCode, &r.ICMPv6.Code)
	case r.AllIPv6 != nil:
		is(protoAll6, r.AllIPv6.Match, r.AllIPv6.Comment, &r.AllIPv6.NWFilterRuleCommonIP, nil)
	}
}

func (s *source) mac(m *libvirtxml.NWFilterRuleCommonMAC) {
	s.add(aSrcMAC, &m.SrcMACAddr)
	s.add(aSrcMACMask, &m.SrcMACMask)
	s.add(aDstMAC, &m.DstMACAddr)
	s.add(aDstMACMask, &m.DstMACMask)
}

func (s *source) network(src, srcMask, dst, dstMask *libvirtxml.NWFilterField) {
	s.add(aSrcIP, src)
	s.add(aSrcMask, srcMask)
	s.add(aDstIP, dst)
	s.add(aDstMask, dstMask)
}

func (s *source) ip(i *libvirtxml.NWFilterRuleCommonIP) {
	s.add(aSrcMAC, &i.SrcMACAddr)
	s.network(&i.SrcIPAddr, &i.SrcIPMask, &i.DstIPAddr, &i.DstIPMask)
	s.add(aSrcIPFrom, &i.SrcIPFrom)
	s.add(aSrcIPTo, &i.SrcIPTo)
	s.add(aDstIPFrom, &i.DstIPFrom)
	s.add(aDstIPTo, &i.DstIPTo)
	s.add(aDSCP, &i.DSCP)
	s.add(aConnLimit, &i.ConnLimitAbove)
	s.add(aState, &i.State)
	s.add(aIPSet, &i.IPSet)
	s.add(aIPSetFlags, &i.IPSetFlags)
}

func (s *source) ports(p *libvirtxml.NWFilterRuleCommonPort) {
	s.add(aSrcPort, &p.SrcPortStart)
	s.add(aSrcPortEnd, &p.SrcPortEnd)
	s.add(aDstPort, &p.DstPortStart)
	s.add(aDstPortEnd, &p.DstPortEnd)
}

func (s *source) arp(a *libvirtxml.NWFilterRuleARP) {
	s.mac(&a.NWFilterRuleCommonMAC)
	s.add(aHWType, &a.HWType)
	s.add(aProtocolType, &a.ProtocolType)
	s.add(aOpcode, &a.OpCode)
	s.add(aARPSrcMAC, &a.ARPSrcMACAddr)
	s.add(aARPDstMAC, &a.ARPDstMACAddr)
	s.add(aARPSrcIP, &a.ARPSrcIPAddr)
	s.add(aARPSrcMask, &a.ARPSrcIPMask)
	s.add(aARPDstIP, &a.ARPDstIPAddr)
	s.add(aARPDstMask, &a.ARPDstIPMask)
	s.add(aGratuitous, &a.Gratuitous)
}

func (s *source) stp(p *libvirtxml.NWFilterRuleSTP) {
	s.add(aSrcMAC, &p.SrcMACAddr)
	s.add(aSrcMACMask, &p.SrcMACMask)
	s.add(aSTPType, &p.Type)
	s.add(aSTPFlags, &p.Flags)
	s.add(aRootPriority, &p.RootPriority)
	s.add(aRootPriorityHi, &p.RootPriorityHi)
	s.add(aRootAddress, &p.RootAddress)
	s.add(aRootAddressMask, &p.RootAddressMask)
	s.add(aRootCost, &p.RootCost)
	s.add(aRootCostHi, &p.RootCostHi)
	s.add(aSenderPriority, &p.SenderPriority)
	s.add(aSenderPriorityHi, &p.SenderPriorityHi)
	s.add(aSenderAddress, &p.SenderAddress)
	s.add(aSenderAddressMask, &p.SenderAddressMask)
	s.add(aPort, &p.Port)
	s.add(aPortHi, &p.PortHi)
	s.add(aAge, &p.Age)
	s.add(aAgeHi, &p.AgeHi)
	s.add(aMaxAge, &p.MaxAge)
	s.add(aMaxAgeHi, &p.MaxAgeHi)
	s.add(aHelloTime, &p.HelloTime)
	s.add(aHelloTimeHi, &p.HelloTimeHi)
	s.add(aForwardDelay, &p.ForwardDelay)
	s.add(aForwardDelayHi, &p.ForwardDelayHi)
}
