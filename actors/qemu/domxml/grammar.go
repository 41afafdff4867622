package domxml

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed grammar.txt
var grammarText string

// kind is one line of grammar.txt.
type kind struct {
	attrs map[string]int // name -> place in the order
	kids  map[string]child
	text  bool
	order int // number of words in the line
	rules []rule
}

type child struct {
	kind   *kind
	place  int
	repeat bool
}

var (
	leafKind = &kind{text: true}
	grammar  = readGrammar(grammarText)
)

// readGrammar panics on a broken table: the table is part of the program.
func readGrammar(text string) map[string]*kind {
	kinds := map[string]*kind{}
	lines := map[string][]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, ": ")
		name = strings.TrimSuffix(name, ":")
		if _, twice := kinds[name]; !ok || twice {
			panic("domxml: grammar: " + line)
		}
		kinds[name] = &kind{attrs: map[string]int{}, kids: map[string]child{}}
		lines[name] = strings.Fields(rest)
	}
	for name, words := range lines {
		k := kinds[name]
		for place, w := range words {
			switch {
			case w == "#":
				k.text = true
			case w[0] == '@':
				k.attrs[w[1:]] = place
			default:
				k.child(kinds, w, place)
			}
		}
		k.order = len(words)
	}
	readRules(valuesText, kinds)
	return kinds
}

func (k *kind) child(kinds map[string]*kind, word string, place int) {
	name, typ, _ := strings.Cut(word, "=")
	repeat := strings.HasSuffix(name, "+")
	name = strings.TrimSuffix(name, "+")
	if typ == "" {
		typ = name
	} else if kinds[typ] == nil && typ != "leaf" {
		panic(fmt.Sprintf("domxml: grammar: no kind %q", typ))
	}
	of := kinds[typ]
	if of == nil {
		of = leafKind
	}
	k.kids[name] = child{of, place, repeat}
}

// arrange drops what the grammar does not know and puts the rest in libvirt's order.
func (k *kind) arrange(n *node) {
	k.arrangeAttrs(n)
	if n.Name == metadataName {
		return
	}
	buckets := make([][]*node, k.order)
	count := 0
	for _, kid := range n.Kids {
		c, ok := k.kids[kid.Name]
		if !ok || !c.repeat && len(buckets[c.place]) > 0 {
			continue
		}
		c.kind.arrange(kid)
		buckets[c.place] = append(buckets[c.place], kid)
		count++
	}
	n.Kids = make([]*node, 0, count)
	for _, b := range buckets {
		n.Kids = append(n.Kids, b...)
	}
	if !k.text || count > 0 {
		n.Text = ""
	}
}

func (k *kind) arrangeAttrs(n *node) {
	kept := n.Attrs[:0]
	for _, a := range n.Attrs {
		if _, ok := k.attrs[a.Name]; ok {
			kept = append(kept, a)
		}
	}
	// Insertion sort: there are few, and mostly in order already.
	for i := 1; i < len(kept); i++ {
		for j := i; j > 0 && k.attrs[kept[j].Name] < k.attrs[kept[j-1].Name]; j-- {
			kept[j], kept[j-1] = kept[j-1], kept[j]
		}
	}
	n.Attrs = kept
}
