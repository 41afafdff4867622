package rules

import (
	"bytes"
	"cmp"
	"strings"
)

// buildNet matches the packets of the net chains, all but connection tracking. Every packet there is of the right
// version of IP.
func buildNet(v *values, b *builder) {
	switch p := b.protocol; {
	case p.header:
		// Compat: ip6tables never finds this among the protocols, since it is a header before another one.
		b.must(match{field: ip6Authentication})
	case p.number != 0:
		b.must(number(l4Protocol, p.number))
	}
	if v[aSrcMAC].given && !b.reverse { // of frames the other way only the destination would be known
		b.address(etherSrc, &v[aSrcMAC], &value{})
	}
	src, dst := ip4Src, ip4Dst
	if b.protocol.six {
		src, dst = ip6Src, ip6Dst
	}
	src, dst = b.sides(src, dst)
	b.addressOrRange(src, &v[aSrcIP], &v[aSrcMask], &v[aSrcIPFrom], &v[aSrcIPTo])
	b.addressOrRange(dst, &v[aDstIP], &v[aDstMask], &v[aDstIPFrom], &v[aDstIPTo])
	if d := v[aDSCP]; d.given {
		if b.protocol.six {
			b.want(maskedNumber(ip6Class, d.number<<6, 0x0fc0))
		} else {
			b.want(maskedNumber(ip4TOS, d.number<<2, 0xfc))
		}
	}
	if f := v[aFlags]; f.given {
		b.want(maskedFlags(f.number, f.mask))
	}
	b.portNumbers(v)
	if o := v[aOption]; o.given {
		b.want(number(tcpOption, o.number))
	}
	if t := v[aType]; t.given { // Compat: a code without a type says nothing
		if c := v[aCode]; c.given {
			b.want(number(icmpTypeCode, t.number<<8|c.number))
		} else {
			b.want(number(icmpType, t.number))
		}
	}
}

// maskedFlags compares flags that need not be among those of the mask; then nothing matches, as in iptables.
func maskedFlags(flags, mask uint32) match {
	m := maskedNumber(tcpFlags, flags, mask)
	m.a[0] = byte(flags)
	return m
}

func (b *builder) addressOrRange(f field, addr, mask, from, to *value) {
	if addr.given || !from.given {
		b.address(f, addr, mask)
		return
	}
	n := fields[f].length
	m := bytesEqual(f, from.bytes[:n])
	if to.given && !bytes.Equal(from.bytes[:n], to.bytes[:n]) {
		m.operator = between
		copy(m.b[:], to.bytes[:n])
	}
	b.want(m)
}

// netRule makes the rule of one direction; false if libvirt makes none there. back tells that this is not the rule's own
// direction: source and destination have changed places, and what passes are answers.
func (i *instance) netRule(from bool) (rule, bool) {
	r, v := i.entry.rule, i.values
	reverse := from != (r.Direction == "out")
	typed := v[aType].given
	connlimit := v[aConnLimit].given
	tracked := r.StateMatch != "0" && !strings.EqualFold(r.StateMatch, "false")
	stated := v[aState].given && tracked // the rule says itself which states
	switch {
	case stated && r.Direction != "inout" && reverse,
		typed && (r.Direction == "inout" || reverse), // Compat: types are for one direction only
		connlimit && reverse:
		return rule{}, false
	}

	b := i.begin(reverse)
	buildNet(v, b)
	proto := 0
	if b.protocol.number != 0 {
		proto = 1
	}
	if reverse && v[aSrcMAC].given && len(b.matches) == proto {
		return rule{}, false // nothing is left of the rule
	}
	switch {
	case connlimit && (r.Action == "accept" || !stated): // counts what is there; the state does not matter
	case stated:
		if n := v[aState].number; n != stateNone && n != 0 {
			b.must(stateIs(n))
		}
	case tracked && r.Action == "accept" && r.Direction != "inout":
		state := uint32(2) // ESTABLISHED
		direction := uint32(1)
		if !reverse {
			state, direction = 8|2, 0 // NEW or ESTABLISHED
		}
		b.must(stateIs(state))
		if !typed {
			b.must(number(ctDirection, direction))
		}
	}
	if s := v[aIPSet]; s.given {
		b.must(setMatch(s.text, cmp.Or(v[aIPSetFlags].text, "s"), reverse))
	}
	if connlimit {
		b.want(number(connLimit, v[aConnLimit].number))
	}
	return i.finish(b), true
}

func stateIs(bits uint32) match {
	m := number(ctState, bits)
	m.operator = anyOf
	return m
}

// setMatch looks the packet up in a set of the ipset tool, by source or destination for each dimension.
func setMatch(name, flags string, reverse bool) match {
	text := []byte(name + " ")
	for i, f := range []byte(flags) {
		if i > 0 {
			text = append(text, ',')
		}
		if (f == 's') != reverse {
			text = append(text, "src"...)
		} else {
			text = append(text, "dst"...)
		}
	}
	return match{field: ipSet, set: string(text)}
}
