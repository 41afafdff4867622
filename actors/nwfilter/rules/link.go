package rules

import (
	"errors"
	"slices"
)

// builder collects the conditions of one rule in one direction.
type builder struct {
	protocol *protocol
	negated  bool // match='no'
	reverse  bool // the packet comes the other way: source and destination change places
	matches  []match
}

// must adds a condition, unless it is there.
func (b *builder) must(m match) {
	if !slices.Contains(b.matches, m) {
		b.matches = append(b.matches, m)
	}
}

// want adds a condition that match='no' turns round.
func (b *builder) want(m match) { b.must(m.not(b.negated)) }

// sides gives the fields that the rule's source and destination are in.
func (b *builder) sides(src, dst field) (field, field) {
	if b.reverse {
		return dst, src
	}
	return src, dst
}

// plain adds a number if it is given.
func (b *builder) plain(f field, v *value) {
	if v.given {
		b.want(number(f, v.number))
	}
}

// ranged adds a number or a range if its start is given.
func (b *builder) ranged(f field, lo, hi *value) {
	switch {
	case !lo.given:
	case hi.given:
		b.want(numbers(f, lo.number, hi.number))
	default:
		b.want(number(f, lo.number))
	}
}

// address adds an address with the mask, if any.
func (b *builder) address(f field, addr, mask *value) {
	n := fields[f].length
	switch {
	case !addr.given:
	case mask.given:
		b.want(bytesMasked(f, addr.bytes[:n], mask.bytes[:n]))
	default:
		b.want(bytesEqual(f, addr.bytes[:n]))
	}
}

func (b *builder) linkAddresses(v *values) {
	src, dst := b.sides(etherSrc, etherDst)
	b.address(src, &v[aSrcMAC], &v[aSrcMACMask])
	b.address(dst, &v[aDstMAC], &v[aDstMACMask])
}

func buildMAC(v *values, b *builder) {
	b.linkAddresses(v)
	b.plain(etherType, &v[aProtocolID])
}

func buildVLAN(v *values, b *builder) {
	b.linkAddresses(v)
	b.must(number(etherType, etherVLAN))
	if v[aVLANID].given {
		b.want(maskedNumber(vlanID, v[aVLANID].number, 0x0fff))
	}
	b.plain(vlanEncap, &v[aEncap])
}

// buildSTP matches what spanning tree sends. Fields other than the type are those of a configuration message.
//
// Compat: ebtables lets a message of another type pass as if such fields matched; here it does not match.
func buildSTP(v *values, b *builder) {
	b.linkAddresses(v)
	b.must(bytesEqual(etherDst, bridgeGroup[:]))
	before := len(b.matches)
	b.plain(stpType, &v[aSTPType])
	b.plain(stpFlags, &v[aSTPFlags])
	b.ranged(stpRootPriority, &v[aRootPriority], &v[aRootPriorityHi])
	b.address(stpRootAddress, &v[aRootAddress], &v[aRootAddressMask])
	b.ranged(stpRootCost, &v[aRootCost], &v[aRootCostHi])
	b.ranged(stpSenderPriority, &v[aSenderPriority], &v[aSenderPriorityHi])
	b.address(stpSenderAddress, &v[aSenderAddress], &v[aSenderAddressMask])
	b.ranged(stpPort, &v[aPort], &v[aPortHi])
	b.ranged(stpAge, &v[aAge], &v[aAgeHi])
	b.ranged(stpMaxAge, &v[aMaxAge], &v[aMaxAgeHi])
	b.ranged(stpHelloTime, &v[aHelloTime], &v[aHelloTimeHi])
	b.ranged(stpForwardDelay, &v[aForwardDelay], &v[aForwardDelayHi])
	if len(b.matches) == before {
		return
	}
	// LLC's addresses and control, and the protocol's number, come before all that.
	header := bytesEqual(stpHeader, []byte{0x42, 0x42, 0x03, 0, 0})
	b.matches = append(b.matches[:before], append([]match{header}, b.matches[before:]...)...)
}

func buildARP(v *values, b *builder, ether uint32) {
	b.linkAddresses(v)
	b.must(number(etherType, ether))
	b.plain(arpHardware, &v[aHWType])
	b.plain(arpOpcode, &v[aOpcode])
	b.plain(arpProtocol, &v[aProtocolType])
	srcMask, dstMask := v[aARPSrcMask], v[aARPDstMask]
	if v[aARPSrcIP].given && srcMask.given && !dstMask.given {
		dstMask = srcMask // Compat: a mask of the source is the destination's too
	}
	if v[aARPSrcIP].given || v[aARPDstIP].given {
		b.must(number(arpProtocol, etherIPv4)) // where addresses are, and how long
		b.must(number(arpProtocolLen, 4))
	}
	src, dst := b.sides(arpSrcIP, arpDstIP)
	b.address(src, &v[aARPSrcIP], &srcMask)
	b.address(dst, &v[aARPDstIP], &dstMask)
	if v[aARPSrcMAC].given || v[aARPDstMAC].given {
		b.must(number(arpHardware, hardwareEther))
		b.must(number(arpHardwareLen, 6))
	}
	src, dst = b.sides(arpSrcMAC, arpDstMAC)
	b.address(src, &v[aARPSrcMAC], &value{})
	b.address(dst, &v[aARPDstMAC], &value{})
	if v[aGratuitous].given && v[aGratuitous].number != 0 {
		b.want(match{field: arpGratuitous})
	}
}

func buildIP(v *values, b *builder) {
	b.linkAddresses(v)
	b.must(number(etherType, etherIPv4))
	b.networkAddresses(v, ip4Src, ip4Dst)
	b.plain(ip4Protocol, &v[aProtocol])
	b.portNumbers(v)
	// Compat: the value is compared with all of the field's octet, not with its six upper bits.
	b.plain(ip4TOS, &v[aDSCP])
}

func buildIPv6(v *values, b *builder) {
	b.linkAddresses(v)
	b.must(number(etherType, etherIPv6))
	b.networkAddresses(v, ip6Src, ip6Dst)
	b.plain(l4Protocol, &v[aProtocol])
	b.portNumbers(v)
	lo := func(start *value) *value { return &value{given: true, number: start.number} }
	if v[aType].given || v[aTypeEnd].given {
		b.ranged(icmpType, lo(&v[aType]), &v[aTypeEnd])
	}
	if v[aCode].given || v[aCodeEnd].given {
		b.ranged(icmpCode, lo(&v[aCode]), &v[aCodeEnd])
	}
}

func (b *builder) networkAddresses(v *values, src, dst field) {
	src, dst = b.sides(src, dst)
	b.address(src, &v[aSrcIP], &v[aSrcMask])
	b.address(dst, &v[aDstIP], &v[aDstMask])
}

func (b *builder) portNumbers(v *values) {
	src, dst := b.sides(srcPort, dstPort)
	b.ranged(src, &v[aSrcPort], &v[aSrcPortEnd])
	b.ranged(dst, &v[aDstPort], &v[aDstPortEnd])
}

// check finds what the kernel's ebtables refuses in a rule, and what can match nothing.
func check(p *protocol, negated bool, v *values) error {
	for _, r := range ranges {
		if v[r[0]].given && v[r[1]].given && v[r[0]].number > v[r[1]].number {
			return errors.New(attributes[r[0]].name + " is above " + attributes[r[1]].name)
		}
	}
	if p.net || !negated || !v[aProtocol].given {
		return nil
	}
	if v[aSrcPort].given || v[aDstPort].given || v[aType].given || v[aTypeEnd].given || v[aCode].given || v[aCodeEnd].given {
		return errors.New("ports and types cannot be matched of every protocol but one")
	}
	return nil
}

// ranges are the attributes that go together as first and last.
var ranges = [...][2]attribute{
	{aSrcPort, aSrcPortEnd}, {aDstPort, aDstPortEnd}, {aType, aTypeEnd}, {aCode, aCodeEnd},
	{aRootPriority, aRootPriorityHi}, {aRootCost, aRootCostHi}, {aSenderPriority, aSenderPriorityHi}, {aPort, aPortHi},
	{aAge, aAgeHi}, {aMaxAge, aMaxAgeHi}, {aHelloTime, aHelloTimeHi}, {aForwardDelay, aForwardDelayHi},
}
