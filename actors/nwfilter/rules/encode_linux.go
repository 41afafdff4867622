package rules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// encoder turns rules into the kernel's form for one table.
type encoder struct {
	six bool                              // the chain is of IPv6
	set func(name string) (uint16, error) // finds a set of the ipset tool
}

// maxComment is how much of a comment nft shows.
const maxComment = 127

// chain adds a chain with its rules, and those that parts of it are folded into. If there is nothing to return to, as in
// a root chain, returning is accepting.
func (e *encoder) chain(b *batch, t *nftables.Table, name string, rules []rule, root bool, subChain func(string) string) error {
	b.addChain(t, name, nil, 0)
	if root {
		rules = slices.Clone(rules)
		for i := range rules {
			if rules[i].verdict == goBack {
				rules[i].verdict = accept
			}
		}
	}
	for n, f := range fold(rules) {
		into := name
		if f.common != nil {
			into = fmt.Sprintf("%s/%d", name, n) // no sub-chain has a slash in its name
			b.addChain(t, into, nil, 0)
			lead := rule{matches: f.common, verdict: jump, sub: into}
			if err := e.rule(b, t, name, &lead, func(s string) string { return s }); err != nil {
				return err
			}
		}
		for rules := f.rules; len(rules) > 0; {
			n := together(rules)
			if n > 0 {
				if err := e.setRule(b, t, into, rules[:n]); err != nil {
					return err
				}
			} else {
				n = 1
				if err := e.rule(b, t, into, &rules[0], subChain); err != nil {
					return err
				}
			}
			rules = rules[n:]
		}
	}
	return nil
}

// rule adds a rule to a chain. One that goes on to the next rule has no effect, and is none.
func (e *encoder) rule(b *batch, t *nftables.Table, chain string, r *rule, subChain func(string) string) error {
	if r.verdict == goOn {
		return nil
	}
	at := b.beginRule(t, chain)
	proto := uint16(0)
	for i := range r.matches {
		m := &r.matches[i]
		key := cachedMatch{*m, t.Family, e.six}
		data, known := b.cached[key]
		if !known {
			list, err := e.match(m)
			if err != nil {
				return err
			}
			start := len(b.buf)
			if err := b.exprs(t.Family, list...); err != nil {
				return err
			}
			data = slices.Clone(b.buf[start:])
			b.cached[key] = data
		} else {
			b.buf = append(b.buf, data...)
		}
		if m.field == arpGratuitous {
			proto = arpProto(r)
		}
	}
	if err := b.exprs(t.Family, e.verdict(r, subChain)); err != nil {
		return err
	}
	b.endRule(at, comment(r), proto)
	return nil
}

// setRule adds one rule for several that go together.
func (e *encoder) setRule(b *batch, t *nftables.Table, chain string, rules []rule) error {
	f := rules[0].matches[0].field
	id := b.addSpans(t, setTypes[fields[f].format], fields[f].length, spans(rules))
	at := b.beginRule(t, chain)
	if err := b.exprs(t.Family, e.load(f), &expr.Lookup{SourceRegister: 1, SetName: spansName, SetID: id}, e.verdict(&rules[0], nil)); err != nil {
		return err
	}
	b.endRule(at, nil, 0)
	return nil
}

// setTypes tell nft how to print the members of sets.
var setTypes = map[format]nftables.SetDatatype{asNumber: nftables.TypeInteger, asHex: nftables.TypeInteger, asMAC: nftables.TypeEtherAddr, asIP: nftables.TypeIPAddr}

// load brings a field of a packet into the register.
func (e *encoder) load(f field) expr.Any {
	info := &fields[f]
	bases := [...]expr.PayloadBase{expr.PayloadBaseLLHeader, expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader}
	return &expr.Payload{DestRegister: 1, Base: bases[info.base], Offset: uint32(info.offset), Len: uint32(info.length)}
}

// arpProto is the type of frames that a rule of ARP or RARP is for, as ebtables' match wants to be told: in network order.
func arpProto(r *rule) uint16 {
	for i := range r.matches {
		if m := &r.matches[i]; m.field == etherType && !m.negated {
			return binary.NativeEndian.Uint16(m.a[:2])
		}
	}
	return 0
}

func (e *encoder) verdict(r *rule, subChain func(string) string) expr.Any {
	kind := expr.VerdictAccept
	switch r.verdict {
	case drop:
		kind = expr.VerdictDrop
	case reject:
		unreachable := uint8(3) // ICMP: port unreachable
		if e.six {
			unreachable = 4
		}
		return &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: unreachable}
	case goBack:
		kind = expr.VerdictReturn
	case jump:
		return &expr.Verdict{Kind: expr.VerdictJump, Chain: subChain(r.sub)}
	}
	return &expr.Verdict{Kind: kind}
}

func comment(r *rule) []byte {
	text := r.comment
	if text == "" {
		return nil
	}
	if len(text) > maxComment {
		text = strings.ToValidUTF8(text[:maxComment], "")
	}
	return userdata.AppendString(nil, userdata.TypeComment, text)
}

func (e *encoder) match(m *match) ([]expr.Any, error) {
	info := &fields[m.field]
	n := uint32(info.length)
	op := expr.CmpOpEq
	if m.negated {
		op = expr.CmpOpNeq
	}
	var load expr.Any
	switch m.field {
	case l4Protocol:
		load = &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
	case ctState:
		mask, zero := make([]byte, 4), make([]byte, 4)
		binary.NativeEndian.PutUint32(mask, m.number())
		return []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: zero},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero}}, nil
	case ctDirection:
		load = &expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}
	case tcpOption:
		exists := byte(1)
		if m.negated {
			exists = 0
		}
		return []expr.Any{&expr.Exthdr{Op: expr.ExthdrOpTcpopt, Type: m.a[0], Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, DestRegister: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{exists}}}, nil
	case ip6Authentication:
		return []expr.Any{&expr.Exthdr{Op: expr.ExthdrOpIpv6, Type: unix.IPPROTO_AH, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, DestRegister: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}}}, nil
	case arpGratuitous:
		return []expr.Any{gratuitous(m.negated)}, nil
	case connLimit:
		return []expr.Any{connections(m.number(), m.negated, e.six)}, nil
	case ipSet:
		return e.lookup(m)
	default:
		load = e.load(m.field)
	}
	out := []expr.Any{load}
	a, b := m.a[:n], m.b[:n]
	switch m.operator {
	case between:
		return append(out, &expr.Range{Op: op, Register: 1, FromData: a, ToData: b}), nil
	case masked:
		out = append(out, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: b, Xor: make([]byte, n)})
	}
	return append(out, &expr.Cmp{Op: op, Register: 1, Data: a}), nil
}

// info is the payload of a match of xtables, padded as the kernel wants it.
func info(parts ...any) *xt.Unknown {
	var b bytes.Buffer
	for _, p := range parts {
		_ = binary.Write(&b, binary.NativeEndian, p) // a buffer takes everything
	}
	for b.Len()%8 != 0 {
		b.WriteByte(0)
	}
	u := xt.Unknown(b.Bytes())
	return &u
}

// gratuitous matches ARP messages that are about their own sender. It takes ebtables' match because nftables compares no
// field with another.
func gratuitous(negated bool) expr.Any {
	const grat = 0x80
	invert := uint8(0)
	if negated {
		invert = grat
	}
	// htype, ptype, opcode; addresses and masks of IP and Ethernet; what is asked, what is inverted
	return &expr.Match{Name: "arp", Info: info([3]uint16{}, uint16(0), [4]uint32{}, [24]byte{}, uint8(grat), invert)}
}

// connections matches when the source has more connections than the limit. Every rule has its own count.
func connections(limit uint32, negated, six bool) expr.Any {
	mask := [16]byte{0xff, 0xff, 0xff, 0xff}
	if six {
		for i := range mask {
			mask[i] = 0xff
		}
	}
	flags := uint32(0)
	if negated {
		flags = 1
	}
	return &expr.Match{Name: "connlimit", Rev: 1, Info: info(mask, limit, flags, uint64(0))}
}

// lookup matches packets that are in a set of the ipset tool.
func (e *encoder) lookup(m *match) ([]expr.Any, error) {
	name, list, _ := strings.Cut(m.set, " ")
	index, err := e.set(name)
	if err != nil {
		return nil, err
	}
	dimensions, flags := uint8(0), uint8(0)
	for side := range strings.SplitSeq(list, ",") {
		dimensions++
		if side == "src" {
			flags |= 1 << dimensions
		}
	}
	if m.negated {
		flags |= 1
	}
	return []expr.Any{&expr.Match{Name: "set", Rev: 1, Info: info(index, dimensions, flags)}}, nil
}

// physdev matches packets that came from a port, or that go to one from another port of the same bridge.
func physdev(port string, out bool) expr.Any {
	const in, outgoing, bridged = 1, 2, 4
	var name, mask, none [unix.IFNAMSIZ]byte
	copy(name[:], port)
	for i := range len(port) + 1 {
		mask[i] = 0xff
	}
	if out {
		return &expr.Match{Name: "physdev", Info: info(none, none, name, mask, uint8(0), uint8(outgoing|bridged))}
	}
	return &expr.Match{Name: "physdev", Info: info(name, mask, none, none, uint8(0), uint8(in))}
}
