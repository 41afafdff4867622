package def

import (
	"strconv"
	"strings"

	"github.com/google/uuid"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	wire "virtree/wire/protocol"
)

// Filter is a filter's document. One that was parsed is never changed.
type Filter struct {
	Name      string
	UUID      wire.UUID
	UUIDGiven bool // by the document; else it was made up
	Chain     string
	Priority  int // of the chain
	Entries   []Entry
}

// Entry is a rule or a reference; the other one is nil.
type Entry struct {
	Rule *Rule
	Ref  *Ref
}

// Ref is a reference to another filter.
type Ref struct {
	Filter string
	Params Params
}

// RootChain is the chain of filters that name none.
const RootChain = "root"

// chains are the names with which a chain's name may begin, and the chain's priority when it has none. Compat: libvirt has
// none for stp.
var chains = []struct {
	prefix   string
	priority int
}{{"mac", -800}, {"vlan", -750}, {"stp", 0}, {"arp", -500}, {"rarp", -400}, {"ipv4", -700}, {"ipv6", -600}}

// maxChain is the length of a chain's name.
const maxChain = 12

// ParseFilter reads a document. A missing UUID is made up. validate also holds it against the schema.
func ParseFilter(doc string, validate bool) (*Filter, error) {
	root, err := reader("filter", "(nwfilter_definition)").Read(doc)
	if err != nil {
		return nil, err
	}
	if validate {
		if err := checkFilter(root); err != nil {
			return nil, err
		}
	}
	f := &Filter{Name: root.Get("name"), Chain: RootChain}
	if f.Name == "" {
		return nil, internal("filter has no name")
	}
	if err := f.parseChain(root.Get("chain"), root.Get("priority")); err != nil {
		return nil, err
	}
	if id := root.Kid("uuid").Content(); id == "" {
		f.UUID = wire.UUID(uuid.New())
	} else if f.UUID, f.UUIDGiven = xmltree.UUID(id); !f.UUIDGiven {
		return nil, liberr.New(from, liberr.XMLError, "malformed uuid element")
	}
	for _, k := range root.Kids {
		switch k.Name {
		case "rule":
			r, err := parseRule(k)
			if err != nil {
				return nil, err
			}
			f.Entries = append(f.Entries, Entry{Rule: r})
		case "filterref":
			name, ok := k.Lookup("filter")
			if !ok { // Compat: these are libvirt's words
				return nil, internal("rule node requires action attribute")
			}
			f.Entries = append(f.Entries, Entry{Ref: &Ref{name, parseParams(k)}})
		}
	}
	return f, nil
}

// parseChain takes the chain and its priority. Compat: a priority without a chain is checked and forgotten.
func (f *Filter) parseChain(chain, priority string) error {
	p, given := 0, priority != ""
	if given {
		var ok bool
		if p, ok = signed(priority); !ok {
			return liberr.New(from, liberr.InvalidArg, "Could not parse chain priority '%s'", priority)
		}
		if p < minPriority || p > maxPriority {
			return liberr.New(from, liberr.InvalidArg, "Priority '%d' is outside valid range of [%d,%d]", p, minPriority, maxPriority)
		}
	}
	if chain == "" {
		return nil
	}
	byDefault, err := checkChain(chain)
	if err != nil {
		return err
	}
	f.Chain, f.Priority = chain, byDefault
	if given {
		f.Priority = p
	}
	return nil
}

// checkChain tells a chain's priority by default.
func checkChain(chain string) (int, error) {
	switch {
	case len(chain) > maxChain:
		return 0, liberr.New(from, liberr.InvalidArg, "Name of chain is longer than %d characters", maxChain)
	case !spans(chain, nameChars+".:-"):
		return 0, liberr.New(from, liberr.InvalidArg, "Chain name contains invalid characters")
	case chain == RootChain:
		return 0, nil
	case strings.HasPrefix(chain, RootChain): // Compat: libvirt fails without saying why
		e := liberr.Raw(liberr.FromNone, liberr.InternalError, "An error occurred, but the cause is unknown")
		e.Str1, e.Str2, e.Int1, e.Int2 = "", "", 0, 0
		return 0, e
	}
	var known []string
	for _, c := range chains {
		if strings.HasPrefix(chain, c.prefix) {
			return c.priority, nil
		}
		known = append(known, c.prefix)
	}
	return 0, liberr.New(from, liberr.InvalidArg, "Invalid chain name '%s'. Please use a chain name called '%s' or any of the following prefixes: %s",
		chain, RootChain, strings.Join(known, ", "))
}

// Format prints the document.
func (f *Filter) Format() string {
	w := &writer{}
	w.Grow(64 * (len(f.Entries) + 4))
	w.WriteString("<filter name='" + xmltree.Escape(f.Name) + "' chain='" + f.Chain + "'")
	if f.Priority != 0 {
		w.WriteString(" priority='" + strconv.Itoa(f.Priority) + "'")
	}
	w.WriteString(">\n")
	w.depth++
	w.line("<uuid>", f.UUID.String(), "</uuid>")
	for _, e := range f.Entries {
		if e.Rule != nil {
			w.rule(e.Rule)
		} else {
			w.ref(e.Ref.Filter, e.Ref.Params)
		}
	}
	w.depth--
	w.line("</filter>")
	return w.String()
}

// Variables calls use for each use of a variable in the filter's own rules, and ref for each reference in between.
func (f *Filter) Variables(use func(Access), ref func(*Ref) error) error {
	for _, e := range f.Entries {
		if e.Ref != nil {
			if err := ref(e.Ref); err != nil {
				return err
			}
		} else {
			e.Rule.variables(use)
		}
	}
	return nil
}
