package rules

import "libvirt.org/go/libvirtxml"

// Binding is what one port is to be filtered by.
//
// Filters are taken as parsed, with one convention, because libvirtxml does not tell an absent priority from 0: the
// priorities of filters and rules are what they say, so whoever parses fills in ChainPriority and RulePriority.
type Binding struct {
	Port string // name of the link, such as vnet0
	MAC  string // the guest's address; it is variable MAC if Vars has none
	Root *libvirtxml.NWFilter
	// Filters finds a filter that another one refers to; nil if there is none of that name.
	Filters func(name string) *libvirtxml.NWFilter
	Vars    map[string][]string // the binding's parameters
}

// RulePriority is the priority of a rule that names none.
const RulePriority = 500

// ChainPriority is the priority of a chain whose filter names none: that of the protocol its name begins with. 0 for the
// root chain.
func ChainPriority(chain string) int {
	if p, ok := prefixOf(chain); ok {
		return p.priority
	}
	return 0
}

// Compile makes the program of a binding.
//
// Errors are libvirt's: a filter that is missing or refers to itself, a variable without value (MissingError), a value that
// does not fit its attribute, lists of different lengths under one iterator. A binding that would become more than
// 131,072 rules is refused.
func Compile(b *Binding) (*Program, error) { return compile(b) }

// chainPrefix is a protocol that the name of a sub-chain begins with.
type chainPrefix struct {
	name     string
	priority int // default, in [-1000, 1000]
	guard    []match
}

// chainPrefixes are tried in this order; what the guard matches is led into the chain.
var chainPrefixes = []chainPrefix{
	{"ipv4", -700, []match{number(etherType, etherIPv4)}},
	{"ipv6", -600, []match{number(etherType, etherIPv6)}},
	{"arp", -500, []match{number(etherType, etherARP)}},
	{"rarp", -400, []match{number(etherType, etherRARP)}},
	{"mac", -800, nil},
	{"vlan", -750, []match{number(etherType, etherVLAN)}},
	{"stp", -810, []match{bytesEqual(etherDst, bridgeGroup[:])}},
}

func prefixOf(chain string) (chainPrefix, bool) {
	for _, p := range chainPrefixes {
		if len(chain) >= len(p.name) && chain[:len(p.name)] == p.name {
			return p, true
		}
	}
	return chainPrefix{}, false
}
