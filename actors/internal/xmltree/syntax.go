package xmltree

import (
	"fmt"

	"virtree/wire/liberr"
)

// SyntaxError is a document that is not well formed.
type SyntaxError struct {
	Complaint string // libxml2's; it may have several lines

	doc  string
	at   int // where the arrow points
	line int

	inside bool // doc is the text of an entity
}

// maxContext is how much of a line is shown, in bytes: an error must fit into a packet. libvirt knows no bound.
const maxContext = 128 << 10

// Message is what libvirt makes of the error: the document's name, the line, the complaint, the line's text and an arrow
// below the place.
func (e *SyntaxError) Message(origin string) string {
	start := e.at
	for start > 0 && lineEnd(byteAt(e.doc, start)) {
		start--
	}
	for start > 0 && !lineEnd(byteAt(e.doc, start)) && e.at-start < maxContext {
		start--
	}
	if lineEnd(byteAt(e.doc, start)) {
		start++
	}
	end := start
	for end < len(e.doc) && !lineEnd(e.doc[end]) && end-start < 2*maxContext {
		end++
	}
	text := "(null)" // Compat: libvirt's printf meets an empty buffer
	if end > start {
		text = e.doc[start:end]
	}
	place := fmt.Sprintf("%s:%d", origin, e.line)
	if e.inside {
		place = fmt.Sprintf("at line %d", e.line)
	}
	return fmt.Sprintf("%s: %s\n%s\n%s^", place, e.Complaint, text, arrow(e.doc[min(start, e.at):min(e.at, end)]))
}

// arrow is the line below a text that leads to its end.
func arrow(text string) string {
	b := []byte(text)
	for i := range b {
		if b[i] != '\t' {
			b[i] = '-'
		}
	}
	return string(b)
}

func (e *SyntaxError) Error() string { return e.Message("document") }

// Libvirt is the error that clients get, of the driver's domain.
func (e *SyntaxError) Libvirt(from liberr.Domain, origin string) error {
	return liberr.Raw(from, liberr.XMLDetail, e.Message(origin))
}

func lineEnd(c byte) bool { return c == '\n' || c == '\r' }

// byteAt is the byte at a place, 0 behind the end.
func byteAt(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}
