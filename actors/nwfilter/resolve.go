package nwfilter

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/nwfilter/def"
	"virtree/actors/nwfilter/rules"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// filter is a filter as it is defined. It never changes, so jobs may hold it.
type filter struct {
	*def.Filter
	shared *libvirtxml.NWFilter
	sum    [sha256.Size]byte // of all that it says but the UUID
}

// newFilter is for jobs: it takes its time when the filter is large.
func newFilter(f *def.Filter) *filter {
	nameless := *f
	nameless.UUID = protocol.UUID{}
	return &filter{f, f.Shared(), sha256.Sum256([]byte(nameless.Format()))}
}

func (f *filter) wire() protocol.Nwfilter { return protocol.Nwfilter{Name: f.Name, UUID: f.UUID} }

// catalogue is all filters by name. The one that the branch holds is replaced, never changed, so jobs may hold it.
type catalogue map[string]*filter

// with returns a catalogue that also has f, or has it in place of one of that name.
func (c catalogue) with(f *filter) catalogue {
	out := maps.Clone(c)
	out[f.Name] = f
	return out
}

// without returns a catalogue that lacks a filter.
func (c catalogue) without(name string) catalogue {
	out := maps.Clone(c)
	delete(out, name)
	return out
}

// byUUID returns the filter of that UUID, nil if there is none.
func (c catalogue) byUUID(id protocol.UUID) *filter {
	for _, f := range c {
		if f.UUID == id {
			return f
		}
	}
	return nil
}

// reaches tells whether a filter is root or one that root refers to.
func (c catalogue) reaches(root, name string) bool {
	seen := map[string]bool{}
	var walk func(string) bool
	walk = func(at string) bool {
		if at == name {
			return true
		}
		f := c[at]
		if f == nil || seen[at] {
			return false
		}
		seen[at] = true
		return f.refersTo(walk)
	}
	return walk(root)
}

// refersTo tells whether is holds for a reference of the filter.
func (f *filter) refersTo(is func(name string) bool) bool {
	return slices.ContainsFunc(f.Entries, func(e def.Entry) bool { return e.Ref != nil && is(e.Ref.Filter) })
}

// loops tells whether a filter would come back to itself.
func (c catalogue) loops(f *filter) bool {
	return f.refersTo(func(name string) bool { return c.reaches(name, f.Name) })
}

// Variables that the driver fills in.
const (
	varMAC      = "MAC"
	varIP       = "IP"
	varLearning = "CTRL_IP_LEARNING"
	varServers  = "DHCPSERVER"
)

// method is how a port's address becomes known.
type method string

const (
	learnNone method = ""
	learnAny  method = "any"
	learnDHCP method = "dhcp"
)

// maxVisits bounds how often filters are entered on the way through a tree of references: without a loop in it there can
// still be more ways than anybody can walk.
const maxVisits = 100_000

// root is a port's filter; that it is missing is an error of its own in libvirt's words.
func (c catalogue) root(name string) (*filter, error) {
	if f := c[name]; f != nil {
		return f, nil
	}
	return nil, liberr.New(from, liberr.InternalError, "referenced filter '%s' is missing", name)
}

// missing lists the uses of variables, in a tree of filters, that have no value, as they are written. A value from above
// goes before the one that a reference gives.
func (c catalogue) missing(root string, vars def.Params) (map[string]bool, error) {
	absent, visits := map[string]bool{}, 0
	var walk func(name string, vars def.Params) error
	walk = func(name string, vars def.Params) error {
		f, err := c.root(name)
		if err != nil {
			return err
		}
		if visits++; visits > maxVisits {
			return liberr.New(from, liberr.InternalError, "filter '%s' refers to others in too many ways", root)
		}
		return f.Variables(func(a def.Access) {
			if !a.Resolves(vars) {
				absent[a.String()] = true
			}
		}, func(r *def.Ref) error {
			below := vars
			if len(r.Params) > 0 {
				below = maps.Clone(r.Params)
				maps.Copy(below, vars)
			}
			return walk(r.Filter, below)
		})
	}
	return absent, walk(root, vars)
}

// resolve makes the program of a port, or says how its address must be learned before there can be one.
func (c catalogue) resolve(b *def.Binding, vars def.Params) (*rules.Program, method, error) {
	absent, err := c.missing(b.Filter, vars)
	if err != nil {
		return nil, learnNone, err
	}
	if len(absent) > 0 {
		how, err := c.howToLearn(b, vars, absent)
		return nil, how, err
	}
	p, err := rules.Compile(&rules.Binding{
		Port: b.Port, MAC: b.Address(), Root: c[b.Filter].shared, Vars: vars,
		Filters: func(name string) *libvirtxml.NWFilter {
			if f := c[name]; f != nil {
				return f.shared
			}
			return nil
		},
	})
	return p, learnNone, err
}

// howToLearn is for a port that lacks variables: only an address can be learned. Compat: it is not in the list of what is
// missing unless it is the only one and must not be learned.
func (c catalogue) howToLearn(b *def.Binding, vars def.Params, absent map[string]bool) (method, error) {
	onlyIP := len(absent) == 1 && absent[varIP]
	if onlyIP {
		how := string(learnAny)
		if v := vars[varLearning]; len(v) > 0 {
			how = v[0]
		}
		switch strings.ToLower(how) {
		case "none":
		case string(learnAny):
			return learnAny, nil
		case string(learnDHCP):
			return learnDHCP, nil
		default:
			return learnNone, liberr.New(from, liberr.ParseFailed, "filter '%s' learning value '%s' invalid.", b.Filter, how)
		}
	} else {
		delete(absent, varIP)
	}
	return learnNone, liberr.New(from, liberr.InternalError, "Cannot instantiate filter due to unresolvable variables or unavailable list elements: %s",
		strings.Join(slices.Sorted(maps.Keys(absent)), ", "))
}
