package domxml

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

//go:embed values.txt
var valuesText string

// rule is what one attribute may say.
type rule struct {
	attr     string
	required bool
	number   string // "int", "uint", with "+" refusing zero; "" for a choice
	choice   []string
}

var shorthand = map[string][]string{"yes": {"yes", "no"}, "on": {"on", "off"}}

func readRules(text string, kinds map[string]*kind) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, ": ")
		k := kinds[name]
		if k == nil {
			panic("domxml: values: no kind " + name)
		}
		for _, word := range strings.Fields(rest) {
			attr, what, _ := strings.Cut(word, "=")
			r := rule{attr: strings.TrimSuffix(attr, "!"), required: strings.HasSuffix(attr, "!")}
			switch what {
			case "int", "uint", "int+", "uint+":
				r.number = what
			default:
				if r.choice = shorthand[what]; r.choice == nil {
					r.choice = strings.Split(what, "|")
				}
			}
			k.rules = append(k.rules, r)
		}
	}
}

// check applies the rules to an element and everything below it. Numbers are rewritten in decimal.
func (k *kind) check(n *node) error {
	for _, r := range k.rules {
		if err := r.check(n); err != nil {
			return err
		}
	}
	if n.Name == metadataName {
		return nil
	}
	for _, kid := range n.Kids {
		if err := k.kids[kid.Name].kind.check(kid); err != nil {
			return err
		}
	}
	return nil
}

func (r *rule) check(n *node) error {
	v, ok := n.Lookup(r.attr)
	if !ok {
		if r.required {
			return missingAttr(n, r.attr)
		}
		return nil
	}
	if r.number == "" {
		if !slices.Contains(r.choice, v) {
			return badValue(n, r.attr, v)
		}
		return nil
	}
	i, err := strconv.ParseInt(cNumber(v), 0, 64)
	unsigned := strings.HasPrefix(r.number, "uint")
	switch {
	case err != nil && unsigned, unsigned && i < 0, unsigned && i > 1<<32-1:
		return xmlError("Invalid value for attribute '%s' in element '%s': '%s'. Expected non-negative integer value", r.attr, n.Name, v)
	case err != nil, i > 1<<31-1 && !unsigned:
		return xmlError("Invalid value for attribute '%s' in element '%s': '%s'. Expected integer value", r.attr, n.Name, v)
	case i == 0 && strings.HasSuffix(r.number, "+"):
		return xmlError("Invalid value for attribute '%s' in element '%s': Zero is not permitted", r.attr, n.Name)
	}
	n.Set(r.attr, strconv.FormatInt(i, 10))
	return nil
}

func missingAttr(n *node, attr string) error {
	return xmlError("Missing required attribute '%s' in element '%s'", attr, n.Name)
}

func badValue(n *node, attr, v string) error {
	return xmlError("Invalid value for attribute '%s' in element '%s': '%s'.", attr, n.Name, v)
}
