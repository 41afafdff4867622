package xmltree

import (
	"strings"

	"virtree/wire/liberr"
)

// Bounds of a document. libvirt has the first two from its protocol and from libxml2; the third keeps a hostile document
// of empty elements from costing a hundred times its size.
const (
	maxDocument = 4 << 20
	maxDepth    = 256
	maxNodes    = 1 << 18
)

// Reader reads documents of one kind.
type Reader struct {
	Origin string        // what libvirt calls such a document: "(network_definition)"
	From   liberr.Domain // whose error it is that a document is not well formed
	Root   string        // the element it must consist of; "" is any
}

// Read reads a document. Errors are *liberr.Error with libvirt's code and wording: XMLDetail when it is no XML, XMLError
// when it is another document.
func (r Reader) Read(doc string) (*Node, error) {
	root, bad := Scan(doc)
	if bad != nil {
		return nil, bad.Libvirt(r.From, r.Origin)
	}
	if r.Root != "" && root.Local() != r.Root {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "expecting root element of '%s', not '%s'", r.Root, root.Local())
	}
	return root, nil
}

// Scan reads a document. Below <metadata> of the root or its child everything is kept as it was written, comments too.
func Scan(doc string) (*Node, *SyntaxError) { return scan(doc, false) }

// scan is Scan; with keep everything is kept everywhere, blanks too.
func scan(doc string, keep bool) (*Node, *SyntaxError) {
	if i := strings.IndexByte(doc, 0); i >= 0 { // where libvirt's strings end
		doc = doc[:i]
	}
	sc := &scanner{s: doc, size: len(doc), keep: keep, spent: &expansion{}}
	if len(doc) > maxDocument {
		return nil, sc.fail(0, "Document is too large")
	}
	return sc.document()
}

// scanner is one reading. Its methods stop at the first fault.
type scanner struct {
	s     string
	pos   int
	size  int  // of the document
	count int  // nodes
	keep  bool // everything, with all blanks

	entities map[string]*entity
	spent    *expansion
	within   int  // how many entities this text stands in
	lenient  bool // entities may be declared where nobody looks: an unknown one is passed over

	open  []*Node   // elements that have not ended
	scope []binding // namespaces that are declared in them

	nodes []Node // made in advance, as are attributes
	attrs []Attr

	counted, ends int // line ends seen before counted
}

func (sc *scanner) document() (*Node, *SyntaxError) {
	if strings.HasPrefix(sc.s, "\ufeff") && len(sc.s) >= 4 {
		sc.pos = len("\ufeff")
	}
	if sc.pos == len(sc.s) {
		return nil, sc.fail(sc.pos, "Document is empty")
	}
	for _, part := range []func() *SyntaxError{sc.declaration, sc.misc, sc.doctype} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	if sc.peek(0) != '<' {
		return nil, sc.fail(sc.pos, "Start tag expected, '<' not found")
	}
	root, err := sc.root()
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

// misc passes over blanks, comments and processing instructions outside the root.
func (sc *scanner) misc() *SyntaxError {
	for {
		sc.blanks()
		var err *SyntaxError
		switch {
		case sc.at("<?"):
			err = sc.instruction()
		case sc.at(commentStart):
			err = sc.comment()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fail is a complaint about a place.
func (sc *scanner) fail(at int, complaint string, words ...string) *SyntaxError {
	return sc.failOn(at, at, complaint, words...)
}

// failOn is a complaint about a place when libxml2 has counted lines up to another one already. Each %s of the complaint is
// one of the words.
func (sc *scanner) failOn(at, lineOf int, complaint string, words ...string) *SyntaxError {
	var b strings.Builder
	for _, w := range words {
		before, after, _ := strings.Cut(complaint, "%s")
		b.WriteString(before)
		b.WriteString(w)
		complaint = after
	}
	b.WriteString(complaint)
	return &SyntaxError{Complaint: b.String(), doc: sc.s, at: min(at, len(sc.s)), line: 1 + strings.Count(sc.s[:min(lineOf, len(sc.s))], "\n")}
}

func (sc *scanner) at(prefix string) bool { return strings.HasPrefix(sc.s[sc.pos:], prefix) }

// peek is the byte some places ahead, 0 behind the end.
func (sc *scanner) peek(ahead int) byte { return byteAt(sc.s, sc.pos+ahead) }

// blanks steps over blanks and tells whether there were any.
func (sc *scanner) blanks() bool {
	start := sc.pos
	for sc.pos < len(sc.s) && blank(sc.s[sc.pos]) {
		sc.pos++
	}
	return sc.pos > start
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// line counts on from where it last stopped: it is asked about places in order.
func (sc *scanner) line() int32 {
	sc.ends += strings.Count(sc.s[sc.counted:sc.pos], "\n")
	sc.counted = sc.pos
	return int32(1 + sc.ends)
}
