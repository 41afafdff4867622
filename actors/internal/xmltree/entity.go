package xmltree

import "strings"

// entity is what a name stands for.
type entity struct {
	text     string // as it was declared
	known    bool   // it is in the document
	markup   bool   // its text has elements
	expanded string
	done     bool
	busy     bool // it is being expanded: met again it is a loop
	weight   int  // how many references it took to expand it
}

// expansion is what the entities of a document have cost so far.
type expansion struct{ bytes, references int }

// entityDeclaration reads <!ENTITY name 'text'> or one that stands for something outside, which nobody fetches.
func (sc *scanner) entityDeclaration() *SyntaxError {
	sc.pos += len("<!ENTITY")
	if !sc.blanks() {
		return sc.fail(sc.pos, "Space required after '<!ENTITY'")
	}
	parameter := sc.peek(0) == '%'
	if parameter {
		sc.pos++
		if !sc.blanks() {
			return sc.fail(sc.pos, "Space required after '%%'")
		}
	}
	name, err := sc.name()
	if err != nil {
		return err
	}
	if name == "" {
		return sc.fail(sc.pos, "xmlParseEntityDecl: no name")
	}
	if !sc.blanks() {
		return sc.fail(sc.pos, "Space required after the entity name")
	}
	e := &entity{}
	if quote := sc.peek(0); quote == '"' || quote == '\'' {
		if e.text, err = sc.quoted("EntityValue: \" or ' expected"); err != nil {
			return err
		}
		if err := sc.checkReferences(e.text); err != nil {
			return err
		}
		e.known, e.markup = true, strings.Contains(e.text, "<")
	} else {
		if !sc.at("SYSTEM") && !sc.at("PUBLIC") {
			return sc.fail(sc.pos, "Entity value required")
		}
		lenient := sc.lenient
		if err := sc.externalID(); err != nil {
			return err
		}
		sc.lenient = lenient
		if sc.blanks() && sc.at("NDATA") {
			sc.pos += len("NDATA")
			sc.blanks()
			if _, err := sc.name(); err != nil {
				return err
			}
		}
	}
	sc.blanks()
	if sc.peek(0) != '>' {
		return sc.fail(sc.pos, "xmlParseEntityDecl: entity %s not terminated", name)
	}
	sc.pos++
	if !parameter {
		if sc.entities == nil {
			sc.entities = map[string]*entity{}
		}
		if sc.entities[name] == nil { // the first declaration counts
			sc.entities[name] = e
		}
	}
	return nil
}

// checkReferences refuses the text of an entity with references that are none, or that only files of document types may have.
func (sc *scanner) checkReferences(text string) *SyntaxError {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c != '%' && (c != '&' || byteAt(text, i+1) == '#') {
			continue
		}
		inner := &scanner{s: text, pos: i + 1}
		name, err := inner.name()
		switch {
		case err != nil || name == "" || inner.peek(0) != ';':
			return sc.fail(sc.pos, "EntityValue: '%s' forbidden except for entities references", text[i:i+1])
		case text[i] == '%':
			return sc.fail(sc.pos, "PEReferences forbidden in internal subset")
		}
		i = inner.pos
	}
	return nil
}

// Bounds of entities: how deep they may stand in one another, and how many times its own size a text may grow by them; in
// bytes once they are more than a little.
const (
	maxNesting     = 40
	maxExpansion   = 10
	freelyExpanded = 10000
)

const loop = "Detected an entity reference loop"

// expand returns what an entity of the document type stands for; the position is behind the reference.
func (sc *scanner) expand(name string, inAttribute bool) (string, *SyntaxError) {
	e := sc.entities[name]
	switch {
	case e == nil && sc.lenient:
		return "", nil
	case e == nil:
		return "", sc.fail(sc.pos, "Entity '%s' not defined", name)
	case !e.known && inAttribute:
		return "", sc.fail(sc.pos, "Attribute references external entity '%s'", name)
	case !e.known:
		return "", nil
	case e.markup && inAttribute:
		return "", sc.fail(sc.pos, "'<' in entity '%s' is not allowed in attributes values", name)
	case e.markup: // libvirt would not find elements in there either
		return "", sc.fail(sc.pos, "Entity '%s' failed to parse", name)
	case e.busy, sc.within > maxNesting:
		return "", sc.fail(sc.pos, loop)
	}
	sc.spent.references++
	if e.done {
		sc.spent.references += e.weight
	} else if err := sc.resolve(e, inAttribute); err != nil {
		return "", err
	}
	// A reference takes three bytes at least.
	if sc.spent.bytes += len(e.expanded); sc.spent.bytes > max(freelyExpanded, maxExpansion*sc.size) || 3*e.weight >= maxExpansion*sc.pos {
		return "", sc.fail(sc.pos, loop)
	}
	return e.expanded, nil
}

// resolve expands an entity for the first time. What is wrong in its text is reported there, but for attributes.
func (sc *scanner) resolve(e *entity, inAttribute bool) *SyntaxError {
	before := sc.spent.references
	e.busy = true
	inner := &scanner{s: e.text, size: sc.size, entities: sc.entities, spent: sc.spent, lenient: sc.lenient, within: sc.within + 1}
	text, fault := inner.entityText(inAttribute)
	e.busy = false
	switch {
	case fault != nil && inAttribute:
		return sc.fail(sc.pos, fault.Complaint)
	case fault != nil:
		fault.inside = true
		return fault
	}
	e.expanded, e.done, e.weight = text, true, sc.spent.references-before+1
	return nil
}

// entityText expands the text of an entity.
func (sc *scanner) entityText(inAttribute bool) (string, *SyntaxError) {
	var b strings.Builder
	for sc.pos < len(sc.s) {
		start := sc.pos
		var err *SyntaxError
		var text string
		switch {
		case sc.s[sc.pos] == '&':
			text, err = sc.reference(inAttribute)
		case inAttribute:
			rest, _, _ := strings.Cut(sc.s[sc.pos:], "&")
			text = unix(rest)
			sc.pos += len(rest)
		default:
			err = sc.characters()
			text = unix(sc.s[start:sc.pos])
		}
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
