package caps

import (
	"fmt"
	"strings"

	"virtree/actors/internal/xmltree"
)

// xmlWriter prints elements as libvirt does: two spaces a level, single quotes, an empty element closed in its tag.
type xmlWriter struct {
	b     strings.Builder
	depth int
}

func (w *xmlWriter) line(format string, args ...any) {
	for range w.depth {
		w.b.WriteString("  ")
	}
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *xmlWriter) blank() { w.b.WriteByte('\n') }

// in prints an element around what inner prints. open is the tag with its attributes.
func (w *xmlWriter) in(open string, inner func()) {
	name, _, _ := strings.Cut(open, " ")
	w.line("<%s>", open)
	w.depth++
	inner()
	w.depth--
	w.line("</%s>", name)
}

// enum prints a list of values, or an empty element for none.
func (w *xmlWriter) enum(name string, values []string) {
	if len(values) == 0 {
		w.line("<enum name='%s'/>", name)
		return
	}
	w.in(fmt.Sprintf("enum name='%s'", name), func() {
		for _, v := range values {
			w.line("<value>%s</value>", xmlText(v))
		}
	})
}

// xmlText escapes a text or an attribute.
func xmlText(s string) string { return xmltree.Escape(s) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
