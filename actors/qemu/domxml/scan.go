package domxml

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a document. libvirt has the first two from its protocol and from libxml2; the third keeps a hostile document
// of empty elements from costing a hundred times its size.
const (
	maxDocument = 4 << 20
	maxDepth    = 256
	maxNodes    = 1 << 18
)

// Names of the nodes that are no elements. They are kept below <metadata> only.
const (
	textNode    = "#text"
	cdataNode   = "#cdata"
	commentNode = "#comment"
	piNode      = "#pi"
)

// syntaxError is a document that is not well formed; its text is libxml2's.
type syntaxError struct {
	msg string
	doc string
	pos int
}

// message is what libvirt makes of it: origin, line, complaint, the line itself and a pointer below the place.
func (e *syntaxError) message(origin string) string {
	if e.doc == "" {
		return fmt.Sprintf("%s:1: %s\n(null)\n^", origin, e.msg)
	}
	line := 1 + strings.Count(e.doc[:e.pos], "\n")
	cur := e.pos
	for cur > 0 && (cur == len(e.doc) || e.doc[cur] == '\n' || e.doc[cur] == '\r') {
		cur--
	}
	base := cur
	for n := 0; base > 0 && n < 79 && e.doc[base] != '\n' && e.doc[base] != '\r'; n++ {
		base--
	}
	if base < len(e.doc) && (e.doc[base] == '\n' || e.doc[base] == '\r') {
		base++
	}
	end := base
	for end < len(e.doc) && end-base < 79 && e.doc[end] != '\n' && e.doc[end] != '\r' {
		end++
	}
	col := max(min(e.pos, base+79)-base, 0)
	return fmt.Sprintf("%s:%d: %s\n%s\n%s^", origin, line, e.msg, e.doc[base:end], strings.Repeat("-", col))
}

type scanner struct {
	s     string
	pos   int
	nodes int

	counted, lines int // line ends seen before counted
}

// scan reads a document into a tree. The tree below a child <metadata> of the root keeps text, comments and the like;
// everywhere else text counts in leaves only.
func scan(doc string) (*node, *syntaxError) {
	sc := &scanner{s: doc}
	if doc == "" {
		return nil, &syntaxError{msg: "Document is empty"}
	}
	if len(doc) > maxDocument {
		return nil, sc.fail(0, "Document is too large")
	}
	if !utf8.ValidString(doc) {
		return nil, sc.badUTF8()
	}
	if strings.HasPrefix(doc, "\ufeff") {
		sc.pos = 3
	}
	if err := sc.prolog(); err != nil {
		return nil, err
	}
	if !sc.at("<") {
		return nil, sc.fail(sc.pos, "Start tag expected, '<' not found")
	}
	root, err := sc.element(0, false)
	if err != nil {
		return nil, err
	}
	if err := sc.misc(); err != nil {
		return nil, err
	}
	if sc.pos < len(sc.s) {
		return nil, sc.fail(sc.pos, "Extra content at the end of the document")
	}
	return root, nil
}

func (sc *scanner) fail(pos int, format string, args ...any) *syntaxError {
	return &syntaxError{msg: fmt.Sprintf(format, args...), doc: sc.s, pos: min(pos, len(sc.s))}
}

func (sc *scanner) badUTF8() *syntaxError {
	for i, r := range sc.s {
		if r == utf8.RuneError {
			if _, w := utf8.DecodeRuneInString(sc.s[i:]); w == 1 {
				var b strings.Builder
				for j := i; j < i+4 && j < len(sc.s); j++ {
					fmt.Fprintf(&b, " 0x%02X", sc.s[j])
				}
				return sc.fail(i, "Input is not proper UTF-8, indicate encoding !\nBytes:%s", b.String())
			}
		}
	}
	return sc.fail(0, "Input is not proper UTF-8, indicate encoding !")
}

func (sc *scanner) at(prefix string) bool { return strings.HasPrefix(sc.s[sc.pos:], prefix) }

func (sc *scanner) blanks() bool {
	start := sc.pos
	for sc.pos < len(sc.s) && isBlank(sc.s[sc.pos]) {
		sc.pos++
	}
	return sc.pos > start
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (sc *scanner) prolog() *syntaxError {
	for {
		if err := sc.misc(); err != nil {
			return err
		}
		if !sc.at("<!DOCTYPE") {
			return nil
		}
		// Entities of a document type are not read: nothing libvirt prints has any, and they are how small documents
		// grow large. A use of one is then "not defined".
		end, depth := sc.pos, 0
		for ; end < len(sc.s); end++ {
			if c := sc.s[end]; c == '<' || c == '[' {
				depth++
			} else if c == '>' || c == ']' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		if end == len(sc.s) {
			return sc.fail(end, "DOCTYPE improperly terminated")
		}
		sc.pos = end + 1
	}
}

// misc skips blanks, comments and processing instructions outside the root.
func (sc *scanner) misc() *syntaxError {
	for {
		sc.blanks()
		switch {
		case sc.at("<?"):
			if _, err := sc.until("?>", "PI "+sc.piName()+" never end ..."); err != nil {
				return err
			}
		case sc.at("<!--"):
			if _, err := sc.until("-->", "Comment not terminated"); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (sc *scanner) piName() string {
	rest := sc.s[min(sc.pos+2, len(sc.s)):]
	return rest[:nameLen(rest)]
}

// until returns the text up to and with the terminator, and steps over it.
func (sc *scanner) until(end, complaint string) (string, *syntaxError) {
	i := strings.Index(sc.s[sc.pos:], end)
	if i < 0 {
		return "", sc.fail(len(sc.s), "%s", complaint)
	}
	text := sc.s[sc.pos : sc.pos+i+len(end)]
	sc.pos += len(text)
	return text, nil
}

func nameLen(s string) int {
	i := 0
	for i < len(s) {
		c := s[i]
		letter := c == '_' || c == ':' || c >= 0x80 || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			break
		}
		i++
	}
	return i
}

// element reads one element; the position is at its '<'. mixed keeps everything that is no element.
func (sc *scanner) element(depth int, mixed bool) (*node, *syntaxError) {
	if sc.nodes++; sc.nodes > maxNodes {
		return nil, sc.fail(sc.pos, "Document has too many elements")
	}
	if depth > maxDepth {
		return nil, sc.fail(sc.pos, "Excessive depth in document: %d use XML_PARSE_HUGE option", maxDepth)
	}
	line := sc.line()
	sc.pos++
	w := nameLen(sc.s[sc.pos:])
	if w == 0 {
		return nil, sc.fail(sc.pos, "StartTag: invalid element name")
	}
	n := &node{name: sc.s[sc.pos : sc.pos+w]}
	sc.pos += w
	if done, err := sc.attributes(n, line); done || err != nil {
		return n, err
	}
	if err := sc.content(n, line, depth, mixed); err != nil {
		return nil, err
	}
	return n, nil
}

// attributes reads up to the end of the start tag; done says that the element is empty.
func (sc *scanner) attributes(n *node, line int) (done bool, err *syntaxError) {
	for {
		blank := sc.blanks()
		switch {
		case sc.at("/>"):
			sc.pos += 2
			return true, nil
		case sc.at(">"):
			sc.pos++
			return false, nil
		}
		w := nameLen(sc.s[sc.pos:])
		if w > 0 && !blank {
			return false, sc.fail(sc.pos, "attributes construct error")
		}
		if w == 0 {
			return false, sc.fail(sc.pos, "Couldn't find end of Start Tag %s line %d", n.name, line)
		}
		name := sc.s[sc.pos : sc.pos+w]
		sc.pos += w
		sc.blanks()
		if !sc.at("=") {
			return false, sc.fail(sc.pos, "Specification mandates value for attribute %s", name)
		}
		sc.pos++
		sc.blanks()
		value, err := sc.attrValue()
		if err != nil {
			return false, err
		}
		if n.has(name) {
			return false, sc.fail(sc.pos, "Attribute %s redefined", name)
		}
		n.attrs = append(n.attrs, attr{name, value})
	}
}

func (sc *scanner) attrValue() (string, *syntaxError) {
	if !sc.at("'") && !sc.at("\"") {
		return "", sc.fail(sc.pos, "AttValue: \" or ' expected")
	}
	quote := sc.s[sc.pos]
	sc.pos++
	var b strings.Builder
	for sc.pos < len(sc.s) {
		switch c := sc.s[sc.pos]; {
		case c == quote:
			sc.pos++
			return b.String(), nil
		case c == '<':
			return "", sc.fail(sc.pos, "Unescaped '<' not allowed in attributes values")
		case c == '&':
			if err := sc.reference(&b); err != nil {
				return "", err
			}
		case isBlank(c): // attribute values are normalised: a literal line end is a blank
			b.WriteByte(' ')
			sc.pos++
		case c < 0x20:
			return "", sc.fail(sc.pos, "invalid character in attribute value")
		default:
			b.WriteByte(c)
			sc.pos++
		}
	}
	return "", sc.fail(sc.pos, "AttValue: ' expected")
}

var entities = map[string]string{"lt": "<", "gt": ">", "amp": "&", "quot": "\"", "apos": "'"}

// reference reads &name; or &#number;.
func (sc *scanner) reference(b *strings.Builder) *syntaxError {
	sc.pos++
	if sc.at("#") {
		return sc.charRef(b)
	}
	w := nameLen(sc.s[sc.pos:])
	if w == 0 {
		return sc.fail(sc.pos, "xmlParseEntityRef: no name")
	}
	name := sc.s[sc.pos : sc.pos+w]
	sc.pos += w
	if !sc.at(";") {
		return sc.fail(sc.pos, "EntityRef: expecting ';'")
	}
	sc.pos++
	text, ok := entities[name]
	if !ok {
		return sc.fail(sc.pos, "Entity '%s' not defined", name)
	}
	b.WriteString(text)
	return nil
}

func (sc *scanner) charRef(b *strings.Builder) *syntaxError {
	sc.pos++
	base := 10
	if sc.at("x") {
		base = 16
		sc.pos++
	}
	start := sc.pos
	for sc.pos < len(sc.s) && strings.IndexByte("0123456789abcdefABCDEF", sc.s[sc.pos]) >= 0 {
		sc.pos++
	}
	v, err := strconv.ParseUint(sc.s[start:sc.pos], base, 32)
	if err != nil || !sc.at(";") {
		kind := "decimal"
		if base == 16 {
			kind = "hexadecimal"
		}
		return sc.fail(sc.pos, "xmlParseCharRef: invalid %s value", kind)
	}
	sc.pos++
	if v > utf8.MaxRune || v >= 0xd800 && v < 0xe000 || v < 0x20 && v != 9 && v != 10 && v != 13 {
		return sc.fail(sc.pos, "xmlParseCharRef: invalid xmlChar value %d", v)
	}
	b.WriteRune(rune(v))
	return nil
}

// content reads up to and with the end tag.
func (sc *scanner) content(n *node, line, depth int, mixed bool) *syntaxError {
	var text strings.Builder
	flush := func() {
		if mixed && strings.Trim(text.String(), " \t\r\n") != "" {
			n.add(&node{name: textNode, text: text.String()})
		}
		if mixed {
			text.Reset()
		}
	}
	for sc.pos < len(sc.s) {
		switch {
		case sc.at("</"):
			flush()
			n.text = text.String()
			return sc.endTag(n, line)
		case sc.at("<!--"), sc.at("<?"):
			end, kind, complaint := "-->", commentNode, "Comment not terminated"
			if sc.at("<?") {
				end, kind, complaint = "?>", piNode, "PI "+sc.piName()+" never end ..."
			}
			flush()
			raw, err := sc.until(end, complaint)
			if err != nil {
				return err
			}
			if mixed {
				n.add(&node{name: kind, text: raw})
			}
		case sc.at("<![CDATA["):
			raw, err := sc.until("]]>", "CData section not finished")
			if err != nil {
				return err
			}
			if mixed {
				flush()
				n.add(&node{name: cdataNode, text: raw})
			} else {
				text.WriteString(raw[len("<![CDATA[") : len(raw)-len("]]>")])
			}
		case sc.at("<"):
			flush()
			k, err := sc.element(depth+1, mixed || depth == 0 && sc.at("<metadata"))
			if err != nil {
				return err
			}
			n.kids = append(n.kids, k)
		case sc.at("&"):
			if err := sc.reference(&text); err != nil {
				return err
			}
		default:
			c := sc.s[sc.pos]
			if c < 0x20 && !isBlank(c) {
				return sc.fail(sc.pos, "PCDATA invalid Char value %d", c)
			}
			if c == '\r' { // line ends are normalised
				c = '\n'
				if strings.HasPrefix(sc.s[sc.pos:], "\r\n") {
					sc.pos++
				}
			}
			text.WriteByte(c)
			sc.pos++
		}
	}
	return sc.fail(sc.pos, "Premature end of data in tag %s line %d", n.name, line)
}

func (sc *scanner) endTag(n *node, line int) *syntaxError {
	sc.pos += 2
	w := nameLen(sc.s[sc.pos:])
	name := sc.s[sc.pos : sc.pos+w]
	sc.pos += w
	sc.blanks()
	if !sc.at(">") {
		return sc.fail(sc.pos, "expected '>'")
	}
	sc.pos++
	if name != n.name {
		return sc.fail(sc.pos, "Opening and ending tag mismatch: %s line %d and %s", n.name, line, name)
	}
	return nil
}

// line counts on from where it last stopped: positions only grow.
func (sc *scanner) line() int {
	sc.lines += strings.Count(sc.s[sc.counted:sc.pos], "\n")
	sc.counted = sc.pos
	return 1 + sc.lines
}
