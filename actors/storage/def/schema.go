package def

import (
	"regexp"
	"slices"
	"strings"

	"virtree/wire/liberr"
)

// The Validate flags ask that a document has nothing but what the schema knows. rule, group and member are as much of a
// schema as these documents need; their complaints are those of libxml2's validator, which clients print.

// rule is what one element may hold.
type rule struct {
	name  string
	space string // its name space; "" is none
	attrs []attribute
	text  *regexp.Regexp // what it must consist of; nil with a nil group: nothing
	group *group
	pick  func(e *node) *rule // chooses among rules by what is there; nil means that none fits
	terse bool                // of an element that must be there the complaint is all
}

// attribute is one that a rule knows.
type attribute struct {
	name     string
	value    *regexp.Regexp // nil: any
	optional bool
}

// group is a set of members in any order.
type group struct{ members []member }

// member is an element or a group within a group.
type member struct {
	rule           *rule
	group          *group
	optional, many bool
}

func (m member) knows(e *node) bool {
	if m.group != nil {
		return slices.ContainsFunc(m.group.members, func(m member) bool { return m.knows(e) })
	}
	return e.Is(m.rule.space, m.rule.name)
}

const badSequence = "Invalid sequence in interleave"

// fits returns what is wrong with an element, nil when nothing is.
func (r *rule) fits(e *node) []string {
	failed := "Element " + e.Local() + " failed to validate content"
	if r.pick != nil {
		if r = r.pick(e); r == nil {
			return []string{failed}
		}
	}
	if why := r.attributes(e); why != "" {
		return []string{why}
	}
	switch {
	case r.text != nil && len(e.Kids) > 0:
		return []string{"Datatype element " + e.Local() + " has child elements", failed}
	case r.text != nil:
		if !r.text.MatchString(e.Text) {
			return []string{"Error validating datatype string", failed}
		}
		return nil
	case r.group == nil && len(e.Kids) > 0:
		return []string{"Element " + e.Local() + " has extra content: " + e.Kids[0].Local()}
	case r.group == nil && strings.TrimSpace(e.Text) != "":
		return []string{failed}
	case r.group == nil:
		return nil
	}
	known := member{group: r.group}
	for _, c := range e.Kids {
		if !known.knows(c) {
			return []string{"Element " + e.Local() + " has extra content: " + c.Local()}
		}
	}
	if strings.TrimSpace(e.Text) != "" {
		return []string{failed}
	}
	why, inner := r.group.fits(e)
	switch {
	case why == nil:
		return nil
	case inner && r.terse:
		return why[:len(why)-1]
	}
	return append(why, failed)
}

func (r *rule) attributes(e *node) string {
	for _, a := range r.attrs {
		v, there := e.Lookup(a.name)
		good := a.value == nil || a.value.MatchString(v)
		if !a.optional && (!there || !good) {
			return "Element " + e.Local() + " failed to validate attributes"
		}
		if there && !good {
			return "Invalid attribute " + a.name + " for element " + e.Local()
		}
	}
	for _, a := range e.Attrs {
		if a.Declares() {
			continue
		}
		if !slices.ContainsFunc(r.attrs, func(k attribute) bool { return k.name == a.Name }) {
			return "Invalid attribute " + a.Name + " for element " + e.Local()
		}
	}
	return ""
}

// fits looks at the children of e that are the group's; inner tells that what is wrong is wrong within one of them.
func (g *group) fits(e *node) (why []string, inner bool) {
	for _, m := range g.members {
		if m.group != nil {
			if why, _ := m.group.fits(e); why != nil {
				return slices.Compact(append(why, badSequence)), false
			}
			continue
		}
		var mine []*node
		for _, c := range e.Kids {
			if m.knows(c) {
				mine = append(mine, c)
			}
		}
		if len(mine) == 0 && !m.optional {
			return []string{"Expecting an element " + m.rule.name + ", got nothing", badSequence}, false
		}
		for i, c := range mine {
			why := m.rule.fits(c)
			switch {
			case why == nil && (i == 0 || m.many):
			case i > 0 || m.optional:
				return []string{"Extra element " + m.rule.name + " in interleave"}, false
			default:
				return append(why, badSequence), true
			}
		}
	}
	return nil, false
}

// checkSchema refuses a document that its schema does not know.
func (r *rule) checkSchema(e *node, file string) error {
	why := r.fits(e)
	if why == nil {
		return nil
	}
	return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "Unable to validate doc against /usr/share/libvirt/schemas/%s\n%s\n", file, strings.Join(why, "\n"))
}
