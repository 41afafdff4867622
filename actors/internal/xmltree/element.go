package xmltree

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// metadata is the element whose content is kept as it is: a child of the root, or of the root's child in a file that has more
// than the definition.
const metadata = "metadata"

// kept tells whether what comes next is kept as it is.
func (sc *scanner) kept() bool {
	return sc.keep || len(sc.open) > 1 && sc.open[1].Name == metadata || len(sc.open) > 2 && sc.open[2].Name == metadata
}

// binding is a namespace that an open element declares.
type binding struct {
	prefix, uri string
	depth       int
}

// root reads the root and all in it. It is a loop, not a recursion: the open elements are a list.
func (sc *scanner) root() (*Node, *SyntaxError) {
	root, err := sc.startTag()
	if err != nil || len(sc.open) == 0 {
		return root, err
	}
	t := texts{sc: sc}
	for len(sc.open) > 0 {
		n := sc.open[len(sc.open)-1]
		kept := sc.kept()
		start := sc.pos
		switch {
		case sc.pos == len(sc.s):
			return nil, sc.fail(sc.pos, "Premature end of data in tag %s line %s", local(n.Name), strconv.Itoa(int(n.Line)))
		case sc.at("</"):
			t.flush(n, kept)
			err = sc.endTag(n)
		case sc.at("<?"), sc.at(commentStart):
			typ := Instruction
			if sc.at(commentStart) {
				typ, err = Comment, sc.comment()
			} else {
				err = sc.instruction()
			}
			if err == nil && kept {
				t.flush(n, true)
				n.Kids = append(n.Kids, &Node{Type: typ, Text: unix(sc.s[start:sc.pos])})
			}
		case sc.at(cdataStart):
			if err = sc.cdata(); err != nil {
				return nil, err
			}
			if raw := unix(sc.s[start:sc.pos]); kept {
				t.flush(n, true)
				n.Kids = append(n.Kids, &Node{Type: CData, Text: raw})
			} else {
				t.add(raw[len(cdataStart) : len(raw)-len(cdataEnd)])
			}
		case sc.peek(0) == '<':
			t.flush(n, kept)
			_, err = sc.startTag()
		case sc.peek(0) == '&':
			var text string
			if text, err = sc.reference(false); err == nil {
				t.add(text)
			}
		default:
			if err = sc.characters(); err == nil {
				n.mixed = n.mixed || kept && sc.mixes(sc.s[start:sc.pos])
				t.add(unix(sc.s[start:sc.pos]))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return root, nil
}

// mixes tells whether a text, the one before the position, makes libxml2 keep the blanks that come later in its element.
func (sc *scanner) mixes(text string) bool {
	if strings.Trim(text, " \t\r\n") == "" {
		return sc.peek(0) == '&'
	}
	return blank(text[0]) || strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
}

// texts gathers the pieces of a text.
type texts struct {
	sc   *scanner
	text string
	more strings.Builder // with what came after text
}

func (t *texts) add(s string) {
	switch {
	case t.text == "" && t.more.Len() == 0:
		t.text = s
	default:
		if t.more.Len() == 0 {
			t.more.WriteString(t.text)
		}
		t.more.WriteString(s)
	}
}

// take returns what was gathered, a copy: it may outlive the document.
func (t *texts) take() string {
	s := t.text
	if t.more.Len() > 0 {
		s = t.more.String()
		t.more = strings.Builder{}
	} else if s != "" {
		s = strings.Clone(s)
	}
	t.text = ""
	return s
}

func (t *texts) blank() bool {
	s := t.text
	if t.more.Len() > 0 {
		s = t.more.String()
	}
	return strings.Trim(s, " \t\r\n") == ""
}

// flush puts what was gathered before a child, or at the element's end, into the element.
func (t *texts) flush(n *Node, kept bool) {
	switch {
	case t.text == "" && t.more.Len() == 0:
	case t.blank() && t.nobodys(n, kept):
		t.text, t.more = "", strings.Builder{}
	case kept:
		n.Kids = append(n.Kids, &Node{Type: Text, Text: t.take()})
	default:
		n.Text += t.take()
	}
}

// nobodys tells whether blanks that come next in an element just lay out the document. In text they do not.
func (t *texts) nobodys(n *Node, kept bool) bool {
	switch ends := t.sc.at("</"); {
	case t.sc.keep || n.mixed:
		return false
	case len(n.Kids) == 0:
		return !ends || n.Text != ""
	case !kept:
		return true
	}
	return !n.Kids[0].Type.text() && !n.Kids[len(n.Kids)-1].Type.text()
}

// startTag reads a tag; the position is at its '<'. The element is a child of the last open one, and is open itself unless
// it is empty.
func (sc *scanner) startTag() (*Node, *SyntaxError) {
	if sc.count++; sc.count > maxNodes {
		return nil, sc.fail(sc.pos, "Document has too many elements")
	}
	depth := len(sc.open)
	if depth > maxDepth {
		return nil, sc.fail(sc.pos, "Excessive depth in document: %s use XML_PARSE_HUGE option", strconv.Itoa(maxDepth))
	}
	n := sc.newNode()
	n.Line = sc.line()
	sc.pos++
	var err *SyntaxError
	if n.Name, err = sc.qname(); err != nil {
		return nil, err
	}
	if n.Name == "" {
		return nil, sc.fail(sc.pos, "StartTag: invalid element name")
	}
	if err := sc.attributes(n); err != nil {
		return nil, err
	}
	n.Space = sc.space(n.Name)
	if depth > 0 {
		parent := sc.open[depth-1]
		n.before = int32(len(parent.Text))
		parent.Kids = append(parent.Kids, n)
	}
	switch {
	case sc.at("/>"):
		sc.pos += len("/>")
		sc.close(depth + 1)
	case sc.peek(0) == '>':
		sc.pos++
		sc.open = append(sc.open, n)
	default:
		return nil, sc.fail(sc.pos, "Couldn't find end of Start Tag %s line %s", local(n.Name), strconv.Itoa(int(n.Line)))
	}
	return n, nil
}

// newNode takes a node from a block, so that a document costs few allocations.
func (sc *scanner) newNode() *Node {
	if len(sc.nodes) == 0 {
		sc.nodes = make([]Node, min(max(len(sc.s)/128, 4), 64))
	}
	n := &sc.nodes[0]
	sc.nodes = sc.nodes[1:]
	return n
}

// attributes reads up to what ends the tag.
func (sc *scanner) attributes(n *Node) *SyntaxError {
	sc.blanks()
	first := len(sc.attrs)
	for c := sc.peek(0); c != '>' && !sc.at("/>") && (c >= 0x20 || blank(c)); c = sc.peek(0) {
		a, err := sc.attribute()
		if err != nil {
			return err
		}
		if !a.Declares() || !a.void() {
			if err := sc.declare(a, sc.attrs[first:]); err != nil {
				return err
			}
			sc.attrs = append(sc.attrs, a)
		}
		if sc.peek(0) == '>' || sc.at("/>") {
			break
		}
		if !sc.blanks() {
			return sc.fail(sc.pos, "attributes construct error")
		}
	}
	for i := first; i < len(sc.attrs); i++ {
		for j := first; j < i; j++ {
			if sc.attrs[i].Name == sc.attrs[j].Name {
				return sc.fail(sc.pos, "Attribute %s redefined", sc.attrs[i].Name)
			}
		}
	}
	if len(sc.attrs) > first {
		n.Attrs = slices.Clone(sc.attrs[first:])
		sc.attrs = sc.attrs[:first]
	}
	return nil
}

func (sc *scanner) attribute() (a Attr, err *SyntaxError) {
	if a.Name, err = sc.qname(); err != nil {
		return a, err
	}
	if a.Name == "" {
		return a, sc.fail(sc.pos, "error parsing attribute name")
	}
	sc.blanks()
	if sc.peek(0) != '=' {
		return a, sc.fail(sc.pos, "Specification mandates value for attribute %s", local(a.Name))
	}
	sc.pos++
	sc.blanks()
	a.Value, err = sc.value()
	return a, err
}

// void tells whether a namespace declaration is one that XML forbids. Compat: libxml2 acts as if it was not there.
func (a Attr) void() bool {
	prefix := a.prefix()
	return a.Value == "" && prefix != "" || prefix == "xml" || prefix == "xmlns" || a.Value == "http://www.w3.org/XML/1998/namespace" || a.Value == "http://www.w3.org/2000/xmlns/"
}

// declare notes a namespace, if that is what the attribute declares. One that is there twice is noticed before the end of
// the tag.
func (sc *scanner) declare(a Attr, before []Attr) *SyntaxError {
	if !a.Declares() {
		return nil
	}
	if slices.ContainsFunc(before, func(b Attr) bool { return b.Name == a.Name }) {
		return sc.fail(sc.pos, "Attribute %s redefined", a.Name)
	}
	sc.scope = append(sc.scope, binding{a.prefix(), a.Value, len(sc.open) + 1})
	return nil
}

// space is the namespace of an element of that name.
func (sc *scanner) space(name string) string {
	if len(sc.scope) == 0 {
		return ""
	}
	prefix, _, ok := strings.Cut(name, ":")
	if !ok {
		prefix = ""
	}
	for i := len(sc.scope) - 1; i >= 0; i-- {
		if sc.scope[i].prefix == prefix {
			return sc.scope[i].uri
		}
	}
	return ""
}

// close ends the scope of what elements from that depth on declare.
func (sc *scanner) close(depth int) {
	for len(sc.scope) > 0 && sc.scope[len(sc.scope)-1].depth >= depth {
		sc.scope = sc.scope[:len(sc.scope)-1]
	}
}

// value reads the value of an attribute. A blank of any kind is a blank there.
func (sc *scanner) value() (string, *SyntaxError) {
	quote := sc.peek(0)
	if quote != '"' && quote != '\'' {
		return "", sc.fail(sc.pos, "AttValue: \" or ' expected")
	}
	sc.pos++
	start := sc.pos
	for sc.pos < len(sc.s) && (easy[sc.s[sc.pos]] || sc.s[sc.pos] == ']') && sc.s[sc.pos] >= ' ' && sc.s[sc.pos] != quote {
		sc.pos++
	}
	if sc.peek(0) == quote {
		sc.pos++
		return strings.Clone(sc.s[start : sc.pos-1]), nil
	}
	var b strings.Builder
	b.WriteString(sc.s[start:sc.pos])
	for {
		c, width, err := sc.char(sc.pos)
		switch {
		case err != nil:
			return "", err
		case c == rune(quote):
			sc.pos++
			return b.String(), nil
		case c == '<':
			return "", sc.fail(sc.pos, "Unescaped '<' not allowed in attributes values")
		case c == '&':
			text, err := sc.reference(true)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			continue
		case c == 0:
			return "", sc.fail(sc.pos, "AttValue: ' expected")
		case !allowed(c):
			return "", sc.fail(sc.pos, "invalid character in attribute value")
		case c == '\t' || c == '\n':
			c = ' '
		}
		b.WriteRune(c)
		sc.pos += width
	}
}

// endTag reads the end of n.
func (sc *scanner) endTag(n *Node) *SyntaxError {
	sc.pos += len("</")
	prefixed := local(n.Name) != n.Name
	read := sc.name
	if prefixed {
		read = sc.qname
	}
	name, err := read()
	if err != nil {
		return err
	}
	sc.blanks()
	if sc.peek(0) != '>' {
		return sc.fail(sc.pos, "expected '>'")
	}
	sc.pos++
	if name != n.Name {
		switch {
		case name == "":
			name = "unparsable"
		case prefixed:
			name = local(name)
		}
		return sc.fail(sc.pos, "Opening and ending tag mismatch: %s line %s and %s", local(n.Name), strconv.Itoa(int(n.Line)), name)
	}
	sc.close(len(sc.open))
	sc.open = sc.open[:len(sc.open)-1]
	return nil
}
