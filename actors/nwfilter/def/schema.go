package def

import (
	"fmt"
	"regexp"
	"strings"

	"virtree/wire/liberr"
)

// Documents are held against the schema only when the caller asks for it. What libvirt's validator says about a document
// that does not fit depends on how it walks through the schema; the words below are what it says in the common cases.

func schemaError(file string, lines ...string) error {
	text := "Unable to validate doc against /usr/share/libvirt/schemas/" + file + "\n" + strings.Join(lines, "\n") + "\n"
	return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "%s", text)
}

// pattern is what an attribute's value may look like, variables aside.
type pattern = *regexp.Regexp

func full(p string) pattern { return regexp.MustCompile(`^(?:` + p + `)$`) }

// Patterns of the schema.
var (
	sVariable  = full(`\$[ ]*[a-zA-Z0-9_]+(\[[ ]*[@]?[0-9]+[ ]*\])?[ ]*`)
	sName      = full(`[\pL_][\pL\pN._\-]*`)
	sParam     = full(`[a-zA-Z0-9_]+`)
	sValue     = full(`[a-zA-Z0-9_\.:]+`)
	sPriority  = full(`-?0*(1000|[0-9]{1,3})`)
	sChain     = full(`root|mac[a-zA-Z0-9_\.:\-]{0,9}|stp[a-zA-Z0-9_\.:\-]{0,9}|vlan[a-zA-Z0-9_\.:\-]{0,8}|arp[a-zA-Z0-9_\.:\-]{0,9}|rarp[a-zA-Z0-9_\.:\-]{0,8}|ipv4[a-zA-Z0-9_\.:\-]{0,8}|ipv6[a-zA-Z0-9_\.:\-]{0,8}`)
	sUUID      = full(`\s*[a-fA-F0-9]{32}\s*|\s*[a-fA-F0-9]{8}-([a-fA-F0-9]{4}-){3}[a-fA-F0-9]{12}\s*`)
	sMatch     = full(`yes|no`)
	sAction    = full(strings.Join(actions, "|"))
	sDirection = full(strings.Join(directions, "|"))
	sNoState   = full(`[Ff][Aa][Ll][Ss][Ee]|0`)
	sMAC       = full(`([a-fA-F0-9]{1,2}:){5}[a-fA-F0-9]{1,2}`)
	sUnicast   = full(`[a-fA-F0-9][02468aAcCeE](:[a-fA-F0-9]{2}){5}`)
	sIP4       = full(`([0-2]?[0-9]?[0-9]\.){3}[0-2]?[0-9]?[0-9]`)
	sMask4     = full(`\+?0*([0-9]|[12][0-9]|3[0-2])|([0-2]?[0-9]?[0-9]\.){3}[0-2]?[0-9]?[0-9]`)
	sIP6       = full(`([a-fA-F0-9]{0,4}:){2,7}([a-fA-F0-9]*)(([0-2]?[0-9]?[0-9]\.){3}[0-2]?[0-9]?[0-9])?`)
	sMask6     = full(`\+?0*([0-9]{1,2}|1[01][0-9]|12[0-8])|([a-fA-F0-9]{0,4}:){2,7}([a-fA-F0-9]*)`)
	sDSCP      = full(`0x([0-3][0-9a-fA-F]|[0-9a-fA-F])|\+?0*([0-9]|[1-5][0-9]|6[0-3])`)
	sU8        = full(`0x[0-9a-fA-F]{1,2}|\+?0*([0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])`)
	sU16       = full(`0x[0-9a-fA-F]{1,4}|\+?0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`)
	sU32       = full(`0x[0-9a-fA-F]{1,8}|\+?0*[0-9]{1,10}`)
	sVLAN      = full(`0x[0-9a-fA-F]{1,3}|\+?0*([0-9]{1,3}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-5])`)
	sEther     = full(`0x([6-9a-fA-F][0-9a-fA-F]{2}|[0-9a-fA-F]{4})|1[5-9][0-9]{2}|[2-9][0-9]{3}|[1-6][0-9]{4}|arp|rarp|ipv4|ipv6|vlan`)
	sBoolean   = full(`yes|no|true|false|1|0`)
	sOpcode    = full(`[0-9]{1,5}|[Rr]eply|[Rr]equest|[Rr]equest_[Rr]everse|[Rr]eply_[Rr]everse|DRARP_[Rr]equest|DRARP_[Rr]eply|DRARP_[Ee]rror|InARP_[Rr]equest|ARP_NAK`)
	sProtocol  = full(sU8.String() + `|tcp|udp|udplite|esp|ah|icmp|igmp|sctp|icmpv6`)
	sState     = full(`(NEW|ESTABLISHED|RELATED|INVALID)(,(NEW|ESTABLISHED|RELATED|INVALID))*|NONE`)
	sTCPFlags  = full(`((SYN|ACK|URG|PSH|FIN|RST)(,(SYN|ACK|URG|PSH|FIN|RST))*|ALL|NONE)/((SYN|ACK|URG|PSH|FIN|RST)(,(SYN|ACK|URG|PSH|FIN|RST))*|ALL|NONE)`)
	sIPSet     = full(`[a-zA-Z0-9_\.:\-\+ ]{1,31}`)
	sSetFlags  = full(`([Ss][Rr][Cc]|[Dd][Ss][Tt])(,([Ss][Rr][Cc]|[Dd][Ss][Tt])){0,5}`)
	sAny       = full(`(?s).*`)
)

// plain are the attributes that cannot be variables.
var plain = map[pattern]bool{sMatch: true, sBoolean: true, sState: true, sTCPFlags: true, sSetFlags: true, sAny: true}

type pairs map[string]pattern

func merge(all ...pairs) pairs {
	out := pairs{"match": sMatch, "comment": sAny}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

var (
	gMACs  = pairs{"srcmacaddr": sMAC, "srcmacmask": sMAC, "dstmacaddr": sMAC, "dstmacmask": sMAC}
	gMAC   = pairs{"srcmacaddr": sMAC}
	gIP4   = pairs{"srcipaddr": sIP4, "srcipmask": sMask4, "dstipaddr": sIP4, "dstipmask": sMask4}
	gIP6   = pairs{"srcipaddr": sIP6, "srcipmask": sMask6, "dstipaddr": sIP6, "dstipmask": sMask6}
	gMore4 = pairs{
		"srcipfrom": sIP4, "srcipto": sIP4, "dstipfrom": sIP4, "dstipto": sIP4, "dscp": sDSCP,
		"connlimit-above": sU16, "state": sState, "ipset": sIPSet, "ipsetflags": sSetFlags,
	}
	gMore6 = pairs{"srcipfrom": sIP6, "srcipto": sIP6, "dstipfrom": sIP6, "dstipto": sIP6, "dscp": sDSCP}
	gPorts = pairs{"srcportstart": sU16, "srcportend": sU16, "dstportstart": sU16, "dstportend": sU16}
	gProto = pairs{"protocol": sProtocol}
	gTypes = pairs{"type": sU8, "typeend": sU8, "code": sU8, "codeend": sU8}
	gICMP  = pairs{"type": sU8, "code": sU8}
	gTCP   = pairs{"flags": sTCPFlags}
	gARP   = pairs{
		"arpsrcmacaddr": sMAC, "arpsrcipaddr": sIP4, "arpdstmacaddr": sMAC, "arpdstipaddr": sIP4,
		"hwtype": sU16, "opcode": sOpcode, "protocoltype": sU16, "gratuitous": sBoolean,
	}
	gSTP = pairs{
		"srcmacaddr": sMAC, "srcmacmask": sMAC, "type": sU8, "flags": sU8,
		"root-priority": sU16, "root-priority-hi": sU16, "root-address": sMAC, "root-address-mask": sMAC, "root-cost": sU32, "root-cost-hi": sU32,
		"sender-priority": sU16, "sender-priority-hi": sU16, "sender-address": sMAC, "sender-address-mask": sMAC,
		"port": sU16, "port-hi": sU16, "age": sU16, "age-hi": sU16, "max-age": sU16, "max-age-hi": sU16,
		"hello-time": sU16, "hello-time-hi": sU16, "forward-delay": sU16, "forward-delay-hi": sU16,
	}
)

// ruleGrammar is what each protocol's element may have, which is less than what the parser takes.
var ruleGrammar = map[string]pairs{
	"mac":  merge(gMACs, pairs{"protocolid": sEther}),
	"vlan": merge(gMACs, pairs{"vlanid": sVLAN, "encap-protocol": sEther}),
	"stp":  merge(gSTP), "arp": merge(gMACs, gARP), "rarp": merge(gMACs, gARP),
	"ip":   merge(gMACs, gIP4, gPorts, gProto, pairs{"dscp": sDSCP}),
	"ipv6": merge(gMACs, gIP6, gPorts, gProto, gTypes),
	"tcp":  merge(gMAC, gPorts, gIP4, gMore4, gTCP), "tcp-ipv6": merge(gMAC, gPorts, gIP6, gMore6, gTCP),
	"udp": merge(gMAC, gPorts, gIP4, gMore4), "udp-ipv6": merge(gMAC, gPorts, gIP6, gMore6),
	"sctp": merge(gMAC, gPorts, gIP4, gMore4), "sctp-ipv6": merge(gMAC, gPorts, gIP6, gMore6),
	"icmp": merge(gMAC, gIP4, gMore4, gICMP), "icmpv6": merge(gMAC, gIP6, gMore6, gICMP),
	"igmp": merge(gMAC, gIP4, gMore4),
	"all":  merge(gMAC, gIP4, gMore4), "all-ipv6": merge(gMAC, gIP6, gMore6),
	"esp": merge(gMAC, gIP4, gMore4), "esp-ipv6": merge(gMAC, gIP6, gMore6),
	"ah": merge(gMAC, gIP4, gMore4), "ah-ipv6": merge(gMAC, gIP6, gMore6),
	"udplite": merge(gMAC, gIP4, gMore4), "udplite-ipv6": merge(gMAC, gIP6, gMore6),
}

func checkFilter(n *node) error {
	const whole = "Element filter failed to validate content"
	bad := func(lines ...string) error { return schemaError("nwfilter.rng", lines...) }
	name, ok := n.Lookup("name")
	if !ok {
		return bad("Invalid sequence in interleave", whole)
	}
	if !sName.MatchString(name) {
		return bad(notName(name), "Invalid sequence in interleave", whole)
	}
	if lines := wrongAttrs(n, pairs{"name": sAny, "chain": sChain, "priority": sPriority}); lines != nil {
		return bad(lines...)
	}
	if hasText(n) {
		return bad("Element filter has extra content: text")
	}
	for _, k := range n.Kids {
		var lines []string
		switch k.Name {
		case "uuid":
			if sUUID.MatchString(k.Content()) {
				continue
			}
		case "rule":
			if lines = checkRule(k); lines == nil {
				continue
			}
		case "filterref":
			if lines = checkRef(k); lines == nil {
				continue
			}
		default:
			return bad("Element filter has extra content: " + k.Name)
		}
		return bad(append(lines, fmt.Sprintf("Extra element %s in interleave", k.Name), whole)...)
	}
	return nil
}

func notName(v string) string { return fmt.Sprintf("Type NCName doesn't allow value '%s'", v) }

// wrongAttrs complains about the first attribute that is unknown or wrong.
func wrongAttrs(n *node, known pairs) []string {
	for _, a := range n.Attrs {
		if p := known[a.Name]; p == nil || !p.MatchString(a.Value) {
			return []string{fmt.Sprintf("Invalid attribute %s for element %s", a.Name, n.Name)}
		}
	}
	return nil
}

func checkRule(n *node) []string {
	for _, name := range []string{"action", "direction"} {
		if _, ok := n.Lookup(name); !ok {
			return []string{"Element rule failed to validate attributes"}
		}
	}
	lines := wrongAttrs(n, pairs{"action": sAction, "direction": sDirection, "priority": sPriority, "statematch": sNoState})
	if lines != nil && (strings.Contains(lines[0], " action ") || strings.Contains(lines[0], " direction ")) {
		return append([]string{"Element rule failed to validate attributes"}, lines...)
	}
	if lines != nil {
		return lines
	}
	seen := false
	if hasText(n) {
		return []string{"Element rule has extra content: text"}
	}
	for _, k := range n.Kids {
		if g := ruleGrammar[k.Name]; seen || g == nil || !fits(k, g) {
			return []string{"Element rule has extra content: " + k.Name}
		}
		seen = true
	}
	return nil
}

func fits(n *node, g pairs) bool {
	for _, a := range n.Attrs {
		p := g[a.Name]
		if p == nil || !p.MatchString(a.Value) && (plain[p] || !sVariable.MatchString(a.Value)) {
			return false
		}
	}
	return len(n.Kids) == 0 && !hasText(n)
}

func hasText(n *node) bool { return strings.TrimSpace(n.Text) != "" }

func checkRef(n *node) []string {
	const whole = "Element filterref failed to validate content"
	filter, ok := n.Lookup("filter")
	switch {
	case !ok:
		return []string{whole}
	case !sName.MatchString(filter):
		return []string{notName(filter), whole}
	}
	if lines := wrongAttrs(n, pairs{"filter": sAny}); lines != nil {
		return lines
	}
	if hasText(n) {
		return []string{"Expecting element parameter, got text", "Element filterref has extra content: text"}
	}
	for _, k := range n.Kids {
		switch {
		case k.Name != "parameter":
			return []string{"Expecting element parameter, got " + k.Name, "Element filterref has extra content: " + k.Name}
		case !sParam.MatchString(k.Get("name")) || !sValue.MatchString(k.Get("value")) || len(k.Attrs) != 2:
			return []string{"Element parameter failed to validate attributes", "Element filterref has extra content: parameter"}
		}
	}
	return nil
}

func checkBinding(n *node) error {
	const whole = "Element filterbinding failed to validate content"
	bad := func(lines ...string) error { return schemaError("nwfilterbinding.rng", lines...) }
	if lines := wrongAttrs(n, nil); lines != nil {
		return bad(lines...)
	}
	seen := map[string]bool{}
	if hasText(n) {
		return bad("Element filterbinding has extra content: text")
	}
	for _, k := range n.Kids {
		known := bindingGrammar[k.Name]
		if known == nil {
			return bad("Element filterbinding has extra content: " + k.Name)
		}
		if seen[k.Name] {
			return bad("Extra element "+k.Name+" in interleave", whole)
		}
		seen[k.Name] = true
		if lines := known(k); lines != nil && k.Name == "linkdev" {
			return bad("Extra element linkdev in interleave", whole)
		} else if lines != nil {
			return bad(lines...)
		}
	}
	if missing := firstMissing(seen, "owner", "portdev", "mac", "filterref"); missing != "" {
		return bad(nothing(missing), "Invalid sequence in interleave", whole)
	}
	return nil
}

func nothing(name string) string { return "Expecting an element " + name + ", got nothing" }

func firstMissing(seen map[string]bool, names ...string) string {
	for _, n := range names {
		if !seen[n] {
			return n
		}
	}
	return ""
}

// bindingGrammar is what a binding may have.
var bindingGrammar = map[string]func(*node) []string{
	"owner":     checkOwner,
	"portdev":   func(n *node) []string { return only(n, "name", sAny) },
	"linkdev":   func(n *node) []string { return only(n, "name", sAny) },
	"mac":       func(n *node) []string { return only(n, "address", sUnicast) },
	"filterref": checkRef,
}

// only checks an element that is one attribute.
func only(n *node, name string, p pattern) []string {
	v, ok := n.Lookup(name)
	if !ok || !p.MatchString(v) {
		return []string{"Element " + n.Name + " failed to validate attributes"}
	}
	return wrongAttrs(n, pairs{name: p})
}

func checkOwner(n *node) []string {
	const whole = "Element owner failed to validate content"
	seen := map[string]bool{}
	for _, k := range n.Kids {
		if k.Name != "name" && k.Name != "uuid" || seen[k.Name] {
			return []string{"Extra element " + k.Name + " in interleave", whole}
		}
		seen[k.Name] = true
	}
	if missing := firstMissing(seen, "name", "uuid"); missing != "" {
		return []string{nothing(missing), "Invalid sequence in interleave", whole}
	}
	if !sUUID.MatchString(n.Kid("uuid").Content()) {
		return []string{"Error validating datatype string", "Element uuid failed to validate content"}
	}
	return nil
}
