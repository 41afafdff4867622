package rules

import (
	"libvirt.org/go/libvirtxml"
)

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
	// TCPIPv6Flags is the attribute 'flags' of a tcp-ipv6 rule, for which libvirtxml has no field. May be nil.
	TCPIPv6Flags func(*libvirtxml.NWFilterRuleTCPIPv6) string
}

// RulePriority is the priority of a rule that names none.
const RulePriority = 500

// ChainPriority is the priority of a chain whose filter names none. 0 for the root chain.
func ChainPriority(chain string) int { return defaultPriority(chain) }

// Compile makes the program of a binding.
//
// Errors are libvirt's: a filter that is missing or refers to itself, a variable without value, a value that does not fit
// its attribute, lists of different lengths under one iterator.
func Compile(b *Binding) (*Program, error) { return compile(b) }
