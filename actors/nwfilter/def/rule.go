package def

import (
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// Limits of a rule's priority, and the one it has when it names none or an impossible one.
const (
	minPriority     = -1000
	maxPriority     = 1000
	defaultPriority = 500
)

// Rule is one rule of a filter.
type Rule struct {
	Action    string // drop, accept, reject, return, continue
	Direction string // in, out, inout
	Priority  int
	NoState   bool // statematch='false'

	protocol *protocol // nil for a rule of no protocol, or of one that nobody knows
	items    []item    // in the order of the protocol's attributes
}

// item is an attribute that the rule has.
type item struct {
	at     int    // in the protocol's attributes
	value  string // as printed; of a variable with its dollar sign
	negate bool
}

var actions = []string{"drop", "accept", "reject", "return", "continue"}

var directions = []string{"in", "out", "inout"}

func internal(format string, args ...any) error {
	return liberr.New(from, liberr.InternalError, format, args...)
}

func parseRule(n *node) (*Rule, error) {
	r := &Rule{Priority: defaultPriority}
	var ok bool
	if r.Action, ok = n.Lookup("action"); !ok {
		return nil, internal("rule node requires action attribute")
	}
	if !slices.Contains(actions, r.Action) {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "unknown rule action attribute value")
	}
	if r.Direction, ok = n.Lookup("direction"); !ok {
		return nil, internal("rule node requires direction attribute")
	}
	if !slices.Contains(directions, r.Direction) {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "unknown rule direction attribute value")
	}
	if p, ok := signed(n.Get("priority")); ok && minPriority <= p && p <= maxPriority {
		r.Priority = p
	}
	s := n.Get("statematch")
	r.NoState = s == "0" || strings.EqualFold(s, "false")
	for _, k := range n.Kids {
		if r.protocol == nil {
			r.protocol = protocols[k.Name]
		}
		if r.protocol == nil || k.Name != r.protocol.name {
			continue
		}
		if err := r.parseDetails(k); err != nil {
			return nil, err
		}
	}
	if r.protocol != nil {
		r.fixup()
	}
	return r, nil
}

// signed reads what C's strtol reads of a number that an int holds.
func signed(s string) (int, bool) {
	t := strings.TrimPrefix(strings.TrimLeft(s, spaces), "+")
	if strings.ContainsRune(t, '_') || strings.HasPrefix(t, "+") {
		return 0, false
	}
	v, err := strconv.ParseInt(t, 10, 32)
	return int(v), err == nil
}

// parseDetails reads an element of the rule's protocol; it adds to, or replaces, what earlier ones said. Compat: of
// several bad values the last one is complained about, in the order in which libvirt knows attributes.
func (r *Rule) parseDetails(n *node) (err error) {
	negate := n.Get("match") == "no"
	for at, a := range r.protocol.attrs {
		given, ok := n.Lookup(a.name)
		if !ok {
			continue
		}
		value, valid := "", false
		if v, is := strings.CutPrefix(given, "$"); is {
			var use Access
			use, valid = ParseAccess(v)
			value = "$" + use.String()
		} else {
			value, valid = a.kind(given)
		}
		if !valid {
			err = internal("%s has illegal value %s", a.name, given)
			continue
		}
		r.put(item{at, value, negate})
	}
	if err != nil {
		return err
	}
	return r.checkPorts()
}

func (r *Rule) put(it item) {
	i, found := slices.BinarySearchFunc(r.items, it.at, func(e item, at int) int { return e.at - at })
	if found {
		r.items[i] = it
		return
	}
	r.items = slices.Insert(r.items, i, it)
}

func (r *Rule) find(name string) *item {
	at, ok := r.protocol.index[name]
	if !ok {
		return nil
	}
	for i := range r.items {
		if r.items[i].at == at {
			return &r.items[i]
		}
	}
	return nil
}

// checkPorts refuses ports in rules whose protocol may have none.
func (r *Rule) checkPorts() error {
	if r.protocol.ports == "" || !slices.ContainsFunc(portAttrs, func(a attribute) bool { return r.find(a.name) != nil }) {
		return nil
	}
	if p := r.find("protocol"); p != nil {
		switch p.value {
		case "tcp", "udp", "sctp", "33", "0x21":
			return nil
		}
	}
	return internal("%s rule with port specification requires protocol specification with protocol to be either one of tcp(6), udp(17), dccp(33), or sctp(132)", r.protocol.ports)
}

// fixup does what libvirt does to a rule that was read.
func (r *Rule) fixup() {
	for _, f := range r.protocol.follows {
		if b := r.find(f[1]); b != nil {
			a := r.find(f[0])
			b.negate = a != nil && a.negate
		}
	}
	if r.protocol.ipset {
		r.dropIPSet()
	}
}

// dropIPSet keeps a set that comes without flags, with the flags that libvirt gives it. Compat: libvirt forgets sets that
// come with flags, but for the protocols all and all-ipv6.
func (r *Rule) dropIPSet() {
	set, flags := r.find("ipset"), r.find("ipsetflags")
	if set != nil && flags == nil {
		r.put(item{at: r.protocol.index["ipsetflags"], value: "src"})
		return
	}
	at := [2]int{r.protocol.index["ipset"], r.protocol.index["ipsetflags"]}
	r.items = slices.DeleteFunc(r.items, func(i item) bool { return i.at == at[0] || i.at == at[1] })
}

// format writes the rule. Attributes that are negated and those that are not take turns in elements of their own.
func (w *writer) rule(r *Rule) {
	w.indent()
	w.WriteString("<rule action='" + r.Action + "' direction='" + r.Direction + "' priority='" + strconv.Itoa(r.Priority) + "'")
	if r.NoState {
		w.WriteString(" statematch='false'")
	}
	if r.protocol == nil {
		w.WriteString("/>\n")
		return
	}
	w.WriteString(">\n")
	w.depth++
	for i := 0; i == 0 || i < len(r.items); {
		w.indent()
		w.WriteString("<" + r.protocol.name)
		if i < len(r.items) && r.items[i].negate {
			w.WriteString(" match='no'")
		}
		for first := i; i < len(r.items) && r.items[i].negate == r.items[first].negate; i++ {
			w.WriteString(" " + r.protocol.attrs[r.items[i].at].name + "='")
			w.WriteString(xmltree.Escape(r.items[i].value))
			w.WriteString("'")
		}
		w.WriteString("/>\n")
		if len(r.items) == 0 {
			break
		}
	}
	w.depth--
	w.line("</rule>")
}

// variables calls f for each use of a variable in the rule.
func (r *Rule) variables(f func(Access)) {
	for _, it := range r.items {
		if v, is := strings.CutPrefix(it.value, "$"); is && r.protocol.attrs[it.at].name != commentAttr.name {
			a, _ := ParseAccess(v)
			f(a)
		}
	}
}
