package def

import (
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

const from = liberr.FromNwfilter

type node = xmltree.Node

// reader reads documents whose root must be an element called root, "" is any. origin is how libvirt names such a document.
func reader(root, origin string) xmltree.Reader {
	return xmltree.Reader{Origin: origin, From: from, Root: root}
}

// writer builds a document as libvirt's buffers do: two blanks per level.
type writer struct {
	strings.Builder
	depth int
}

func (w *writer) indent() {
	for range w.depth {
		w.WriteString("  ")
	}
}

// line writes one indented line of these parts.
func (w *writer) line(parts ...string) {
	w.indent()
	for _, p := range parts {
		w.WriteString(p)
	}
	w.WriteByte('\n')
}
