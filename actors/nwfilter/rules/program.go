package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Program is what one port is filtered by: a value, not to be changed. It has nothing of the kernel in it.
type Program struct {
	Port   string
	chains [kinds]*chain // nil where there is nothing to filter
}

// kind tells where in a packet's way a chain stands.
type kind uint8

const (
	linkIn  kind = iota // frames from the guest
	linkOut             // frames for the guest
	netIn4              // IPv4 from the guest
	netIn6
	netOut4 // IPv4 for the guest, from another port of its bridge
	netOut6
	kinds
)

var kindNames = [kinds]string{"link-in", "link-out", "net4-in", "net6-in", "net4-out", "net6-out"}

// chain is a root chain with its sub-chains.
type chain struct {
	rules []rule
	subs  []subChain
}

// subChain is a chain that its root leads some packets into. A packet that no rule of it decides is accepted, as at the end
// of a chain of ebtables.
type subChain struct {
	name  string
	rules []rule
}

// verdict is what a rule does with a packet that meets its conditions.
type verdict uint8

const (
	accept verdict = iota
	drop
	reject // drop, and tell the sender
	goBack // return to the chain that led here
	goOn   // next rule
	jump   // to a sub-chain
)

var verdictNames = [...]string{"accept", "drop", "reject", "return", "continue", "jump"}

// rule is conditions, all of which must hold, and a verdict.
type rule struct {
	matches []match
	verdict verdict
	sub     string // jump: the sub-chain's name
	comment string
}

func (r *rule) String() string {
	var s strings.Builder
	for i := range r.matches {
		s.WriteString(r.matches[i].String())
		s.WriteByte(' ')
	}
	s.WriteString(verdictNames[r.verdict])
	if r.verdict == jump {
		s.WriteString(" " + r.sub)
	}
	if r.comment != "" {
		fmt.Fprintf(&s, " comment %q", r.comment)
	}
	return s.String()
}

// String is the program as text, one rule a line, for tests and for logs.
func (p *Program) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "port %s\n", p.Port)
	for k, c := range p.chains {
		if c == nil {
			continue
		}
		printChain(&s, kindNames[k], c.rules)
		for _, sub := range c.subs {
			printChain(&s, kindNames[k]+" "+sub.name, sub.rules)
		}
	}
	return s.String()
}

func printChain(s *strings.Builder, name string, rules []rule) {
	fmt.Fprintf(s, "chain %s\n", name)
	for i := range rules {
		fmt.Fprintf(s, "\t%s\n", &rules[i])
	}
}

// id names the chain by what is in it: chains of the same content are the same chain, whatever port they are for.
// A limit of connections counts for one port, so there the port is part of the content.
func (c *chain) id(port string) string {
	h := sha256.New()
	buf := make([]byte, 0, 1024)
	str := func(s string) { buf = append(append(buf, byte(len(s)>>8), byte(len(s))), s...) }
	list := func(rules []rule) {
		for i := range rules {
			r := &rules[i]
			buf = append(buf, 'r', byte(r.verdict), byte(len(r.matches)))
			str(r.sub)
			str(r.comment)
			for j := range r.matches {
				m := &r.matches[j]
				neg := byte(0)
				if m.negated {
					neg = 1
				}
				buf = append(buf, byte(m.field), byte(m.operator), neg)
				n := fields[m.field].length
				buf = append(append(buf, m.a[:n]...), m.b[:n]...)
				str(m.set)
				if m.field == connLimit {
					str(port)
				}
			}
			h.Write(buf)
			buf = buf[:0]
		}
	}
	list(c.rules)
	for _, sub := range c.subs {
		buf = append(buf, 's')
		str(sub.name)
		list(sub.rules)
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil)[:idLength/2])
}

// idLength is how many characters an id has.
const idLength = 32

// hasVerdict tells whether a rule of the root chain has that verdict, hasField whether one compares that field.
func (c *chain) hasVerdict(v verdict) bool {
	return slices.ContainsFunc(c.rules, func(r rule) bool { return r.verdict == v })
}

func (c *chain) hasField(f field) bool {
	return slices.ContainsFunc(c.rules, func(r rule) bool {
		return slices.ContainsFunc(r.matches, func(m match) bool { return m.field == f })
	})
}
