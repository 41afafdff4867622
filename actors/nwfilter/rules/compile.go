package rules

import (
	"cmp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// Limits of one program. libvirt has none; a filter of a few lines can multiply to more than any memory.
const (
	maxRules = 1 << 17
	maxWork  = 1 << 20 // references followed and parameters handed on
)

const from = liberr.FromNwfilter

// MissingError is the error of Compile for a binding whose variables are not all known.
type MissingError struct {
	Names []string // as the rules have them: IP, IP[@2], IP[3]
}

func (e *MissingError) Error() string { return e.libvirt().Error() }

// Unwrap gives the error for the wire.
func (e *MissingError) Unwrap() error { return e.libvirt() }

func (e *MissingError) libvirt() *liberr.Error {
	return liberr.New(from, liberr.InternalError,
		"Cannot instantiate filter due to unresolvable variables or unavailable list elements: %s", strings.Join(e.Names, ", "))
}

// entry is one rule of the tree of filters, before its variables are multiplied out.
type entry struct {
	rule          *libvirtxml.NWFilterRule
	source        *source
	scope         *scope
	chain         string
	chainPriority int
	priority      int
}

func (e *entry) root() bool { return e.chain == "root" }

// compiler is one run of Compile.
type compiler struct {
	binding *Binding
	program *Program
	entries []*entry
	open    map[string]bool // filters that led to this one
	missing []string
	work    int
	rules   int
}

func compile(b *Binding) (*Program, error) {
	c := &compiler{binding: b, program: &Program{Port: b.Port}, open: map[string]bool{}}
	vars := &scope{vars: b.Vars}
	if len(b.Vars["MAC"]) == 0 && b.MAC != "" {
		vars = &scope{vars: map[string][]string{"MAC": {b.MAC}}, outer: vars}
	}
	if err := c.collect(b.Root, vars); err != nil {
		return nil, err
	}
	if len(c.missing) > 0 {
		return nil, &MissingError{Names: c.missing}
	}
	// Compat: rules of root chains come first, whatever the priorities of others.
	slices.SortStableFunc(c.entries, func(a, b *entry) int {
		if a.root() != b.root() {
			if a.root() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.priority, b.priority)
	})
	if err := c.link(); err != nil {
		return nil, err
	}
	return c.program, c.net()
}

// collect walks the tree of filters, depth first.
func (c *compiler) collect(f *libvirtxml.NWFilter, vars *scope) error {
	if c.open[f.Name] {
		return liberr.New(from, liberr.OperationFailed, "filter would introduce a loop")
	}
	c.open[f.Name] = true
	defer delete(c.open, f.Name)
	chain := f.Chain
	if chain == "" {
		chain = "root"
	}
	if _, known := prefixOf(chain); !known && chain != "root" {
		return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: no chain can be called '%s'", chain)
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		switch {
		case e.Rule != nil:
			if len(c.entries) == maxRules {
				return c.tooMany()
			}
			n := &entry{rule: e.Rule, source: sourceOf(e.Rule), scope: vars, chain: chain, chainPriority: f.Priority, priority: e.Rule.Priority}
			c.noteMissing(n)
			c.entries = append(c.entries, n)
		case e.Ref != nil:
			next := c.binding.Filters(e.Ref.Filter)
			if next == nil {
				return liberr.New(from, liberr.InternalError, "referenced filter '%s' is missing", e.Ref.Filter)
			}
			if c.work += 1 + len(e.Ref.Parameters) + len(c.open); c.work > maxWork {
				return c.tooMany()
			}
			if err := c.collect(next, parameters(e.Ref, vars)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) tooMany() error {
	return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: port '%s' would have more than %d rules", c.binding.Port, maxRules)
}

// parameters are the variables of a filter that another one refers to. Those that no variable can be are left out.
func parameters(ref *libvirtxml.NWFilterRef, outer *scope) *scope {
	var own map[string][]string
	for _, p := range ref.Parameters {
		if !onlyOf(p.Name, nameChars) || !onlyOf(p.Value, valueChars) {
			continue
		}
		if own == nil {
			own = map[string][]string{}
		}
		own[p.Name] = append(own[p.Name], p.Value)
	}
	if own == nil {
		return outer
	}
	return &scope{vars: own, outer: outer}
}

// noteMissing keeps the names of variables that the rule cannot have.
func (c *compiler) noteMissing(e *entry) {
	for _, g := range e.source.given {
		name, is := strings.CutPrefix(g.text, "$")
		if !is {
			continue
		}
		if a, ok := parseAccess(name); ok && !a.available(e.scope) && !slices.Contains(c.missing, a.String()) && len(c.missing) < 1000 {
			c.missing = append(c.missing, a.String())
		}
	}
}

// link fills the link chains. A sub-chain's place among the rules of its root is where its priority stands; what a packet
// needs to be led into it follows from its name.
func (c *compiler) link() error {
	for _, k := range []kind{linkIn, linkOut} {
		type sub struct {
			name     string
			priority int
		}
		priorities := map[string]int{}
		used := false
		for _, e := range c.entries {
			if e.stands(k) {
				used = true
				if !e.root() {
					priorities[e.chain] = e.chainPriority // the last one says
				}
			}
		}
		if !used {
			continue
		}
		var subs []sub
		for name, p := range priorities {
			subs = append(subs, sub{name, p})
		}
		slices.SortFunc(subs, func(a, b sub) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
		})
		ch := &chain{}
		c.program.chains[k] = ch
		at := map[string]int{"root": -1}
		lead := func(s sub) {
			p, _ := prefixOf(s.name)
			at[s.name] = len(ch.subs)
			ch.subs = append(ch.subs, subChain{name: s.name})
			ch.rules = append(ch.rules, rule{matches: p.guard, verdict: jump, sub: s.name})
		}
		for _, e := range c.entries {
			if e.source.protocol.net {
				continue
			}
			priority := e.priority
			if !e.root() {
				priority = max(priority, e.chainPriority)
			}
			for len(subs) > 0 && subs[0].priority <= priority {
				lead(subs[0])
				subs = subs[1:]
			}
			if !e.stands(k) {
				continue
			}
			if _, led := at[e.chain]; !led {
				// Compat: two filters give the chain different priorities, and this rule comes before the chain would.
				return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: chain '%s' has two priorities", e.chain)
			}
			into := &ch.rules
			if n := at[e.chain]; n >= 0 {
				into = &ch.subs[n].rules
			}
			if err := c.instantiate(e, func(i *instance) error {
				r, err := i.linkRule(k)
				if err == nil {
					*into = append(*into, r)
				}
				return err
			}); err != nil {
				return err
			}
		}
		for _, s := range subs {
			lead(s)
		}
	}
	return nil
}

// stands tells whether the rule is one of that link chain.
func (e *entry) stands(k kind) bool {
	if e.source.protocol.net {
		return false
	}
	switch e.rule.Direction {
	case "out":
		return k == linkIn
	case "in":
		return k == linkOut
	}
	return true
}

// net fills the net chains.
func (c *compiler) net() error {
	for _, e := range c.entries {
		if !e.source.protocol.net {
			continue
		}
		if e.rule.Action == "continue" {
			return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: protocol %s has no action 'continue'", e.source.protocol.name)
		}
		in, out := netIn4, netOut4
		if e.source.protocol.six {
			in, out = netIn6, netOut6
		}
		if c.program.chains[in] == nil {
			c.program.chains[in], c.program.chains[out] = &chain{}, &chain{}
		}
		if err := c.instantiate(e, func(i *instance) error {
			for _, k := range []kind{in, out} {
				if r, made := i.netRule(k == in); made {
					c.program.chains[k].rules = append(c.program.chains[k].rules, r)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// instance is a rule with one combination of its variables.
type instance struct {
	entry   *entry
	values  *values
	builder builder
}

// instantiate reads the rule's attributes and gives it to make once for each combination of its variables.
func (c *compiler) instantiate(e *entry, make func(*instance) error) error {
	var v values
	var accesses []access
	var vary []given
	for _, g := range e.source.given {
		name, variable := strings.CutPrefix(g.text, "$")
		if !variable {
			if !v[g.attribute].read(attributes[g.attribute].syntax, g.text, e.source.protocol.six) {
				return illegal(g.attribute, g.text)
			}
			continue
		}
		a, ok := parseAccess(name)
		if !ok {
			return illegal(g.attribute, g.text)
		}
		accesses, vary = append(accesses, a), append(vary, g)
	}
	comb := &combination{}
	if len(accesses) > 0 {
		var err error
		if comb, err = newCombination(accesses, e.scope); err != nil {
			return err
		}
	}
	n := comb.count(maxRules)
	if e.source.protocol.net || e.rule.Direction != "inout" {
		n *= 2 // link rules of both directions come by twice
	}
	if c.rules += n; c.rules > 2*maxRules {
		return c.tooMany()
	}
	i := &instance{entry: e, values: &v, builder: builder{protocol: e.source.protocol, negated: e.source.negated}}
	for {
		for n, g := range vary {
			v[g.attribute] = value{}
			if text := comb.value(n); !v[g.attribute].read(attributes[g.attribute].syntax, text, e.source.protocol.six) {
				return illegal(g.attribute, text)
			}
		}
		if err := check(e.source.protocol, e.source.negated, &v); err != nil {
			return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: %s", err)
		}
		if err := make(i); err != nil {
			return err
		}
		if !comb.next() {
			return nil
		}
	}
}

func illegal(a attribute, text string) error {
	return liberr.New(from, liberr.InternalError, "%s has illegal value %s", attributes[a].name, text)
}

// begin starts the conditions of one direction.
func (i *instance) begin(reverse bool) *builder {
	i.builder.reverse, i.builder.matches = reverse, i.builder.matches[:0]
	return &i.builder
}

// finish makes the rule of what was built.
func (i *instance) finish(b *builder) rule {
	r := rule{matches: slices.Clone(b.matches), comment: i.entry.source.comment}
	switch i.entry.rule.Action {
	case "drop":
		r.verdict = drop
	case "reject":
		r.verdict = reject
	case "return":
		r.verdict = goBack
	case "continue":
		r.verdict = goOn
	}
	return r
}

// linkRule makes the rule of a link chain. Frames from the guest meet a rule of both directions turned round.
func (i *instance) linkRule(k kind) (rule, error) {
	reverse := k == linkIn && i.entry.rule.Direction == "inout"
	if reverse && i.entry.source.protocol == protoSTP && i.values[aSrcMAC].given {
		return rule{}, liberr.New(from, liberr.InternalError, "STP filtering in inout direction with source MAC address set is not supported")
	}
	b := i.begin(reverse)
	i.entry.source.protocol.build(i.values, b)
	r := i.finish(b)
	if r.verdict == reject {
		r.verdict = drop // who sent a mere frame cannot be told
	}
	return r, nil
}
