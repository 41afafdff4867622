package xmltree

import (
	"regexp"
	"strings"
)

// declaration reads <?xml version='1.0' encoding='UTF-8' standalone='yes'?>.
func (sc *scanner) declaration() *SyntaxError {
	if !sc.at("<?xml") || !blank(sc.peek(len("<?xml"))) {
		return nil
	}
	sc.pos += len("<?xml")
	sc.blanks()
	version, err := sc.pseudo("version", (*scanner).versionNumber)
	switch {
	case err != nil:
		return err
	case version == "":
		return sc.fail(sc.pos, "Malformed declaration expecting version")
	case !strings.HasPrefix(version, "1."):
		return sc.fail(sc.pos, "Unsupported version '%s'", version)
	}
	if !blank(sc.peek(0)) {
		if sc.at("?>") {
			sc.pos += len("?>")
			return nil
		}
		return sc.fail(sc.pos, "Blank needed here")
	}
	sc.blanks()
	encoding, err := sc.pseudo("encoding", (*scanner).encodingName)
	switch {
	case err != nil:
		return err
	case encoding != "" && !knownEncoding(encoding):
		return sc.fail(sc.pos, "Unsupported encoding %s", encoding)
	}
	sc.blanks()
	if _, err := sc.pseudo("standalone", (*scanner).yesNo); err != nil {
		return err
	}
	sc.blanks()
	if !sc.at("?>") {
		return sc.fail(sc.pos, "parsing XML declaration: '?>' expected")
	}
	sc.pos += len("?>")
	return nil
}

// pseudo reads a part of the declaration, "" when it is not there.
func (sc *scanner) pseudo(name string, value func(*scanner) (string, *SyntaxError)) (string, *SyntaxError) {
	if !sc.at(name) {
		return "", nil
	}
	sc.pos += len(name)
	sc.blanks()
	if sc.peek(0) != '=' {
		return "", sc.fail(sc.pos, "expected '='")
	}
	sc.pos++
	sc.blanks()
	quote := sc.peek(0)
	if quote != '"' && quote != '\'' {
		return "", sc.fail(sc.pos, "String not started expecting ' or \"")
	}
	sc.pos++
	v, err := value(sc)
	if err != nil {
		return "", err
	}
	if sc.peek(0) != quote {
		return "", sc.fail(sc.pos, "String not closed expecting \" or '")
	}
	sc.pos++
	return v, nil
}

func (sc *scanner) versionNumber() (string, *SyntaxError) {
	start := sc.pos
	if c := sc.peek(0); c < '0' || c > '9' {
		return "", nil
	}
	if sc.pos++; sc.peek(0) != '.' {
		return "", nil
	}
	sc.pos++
	for c := sc.peek(0); '0' <= c && c <= '9'; c = sc.peek(0) {
		sc.pos++
	}
	return sc.s[start:sc.pos], nil
}

func (sc *scanner) encodingName() (string, *SyntaxError) {
	start := sc.pos
	if c := sc.peek(0) | 0x20; c < 'a' || c > 'z' {
		return "", sc.fail(sc.pos, "Invalid XML encoding name")
	}
	for c := sc.peek(0); nameByte[c] && c != ':'; c = sc.peek(0) {
		sc.pos++
	}
	return sc.s[start:sc.pos], nil
}

func (sc *scanner) yesNo() (string, *SyntaxError) {
	for _, v := range []string{"no", "yes"} {
		if sc.at(v) {
			sc.pos += len(v)
			return v, nil
		}
	}
	return "", sc.fail(sc.pos, "standalone accepts only 'yes' or 'no'")
}

// encodings are the ones that hosts have converters for, as they are compared: in small letters, without hyphens.
var encodings = regexp.MustCompile(`^(utf(7|8|16|32)(le|be)?|ucs[24](le|be)?|iso8859[1-9][0-6]?|iso10646ucs[24]|iso2022(jp|kr|cn)|usascii|ascii|html|latin[1-9]|windows125[0-8]|` +
	`(cp|ibm)[0-9]+|koi8[rut]|euc(jp|kr|cn|tw)|shift_?jis|sjis|big5|gbk|gb2312|gb18030|tis620|macintosh)$`)

// knownEncoding tells whether the declared encoding is one. Compat: libvirt hands libxml2 a string, of which it takes the
// characters for UTF-8 whatever the document says.
func knownEncoding(name string) bool {
	return encodings.MatchString(strings.ReplaceAll(strings.ToLower(name), "-", ""))
}

// doctype reads a document type. Nothing is loaded, and of its declarations only entities that stand for text are kept.
func (sc *scanner) doctype() *SyntaxError {
	if !sc.at("<!DOCTYPE") {
		return nil
	}
	sc.pos += len("<!DOCTYPE")
	sc.blanks()
	name, err := sc.name()
	if err != nil {
		return err
	}
	if name == "" {
		return sc.fail(sc.pos, "xmlParseDocTypeDecl : no DOCTYPE name !")
	}
	sc.blanks()
	if err := sc.externalID(); err != nil {
		return err
	}
	sc.blanks()
	if sc.peek(0) != '[' {
		if err := sc.endDoctype(); err != nil {
			return err
		}
	}
	if sc.peek(0) == '[' { // Compat: libxml2 takes the declarations behind the end too
		sc.pos++
		if err := sc.subset(); err != nil {
			return err
		}
		if err := sc.endDoctype(); err != nil {
			return err
		}
	}
	return sc.misc()
}

func (sc *scanner) endDoctype() *SyntaxError {
	if sc.peek(0) != '>' {
		return sc.fail(sc.pos, "DOCTYPE improperly terminated")
	}
	sc.pos++
	return nil
}

// externalID reads SYSTEM 'uri' or PUBLIC 'id' 'uri', if there is one.
func (sc *scanner) externalID() *SyntaxError {
	system, public := sc.at("SYSTEM"), sc.at("PUBLIC")
	if !system && !public {
		return nil
	}
	sc.lenient = true
	sc.pos += len("SYSTEM")
	if !sc.blanks() {
		return sc.fail(sc.pos, "Space required after '%s'", sc.s[sc.pos-len("SYSTEM"):sc.pos])
	}
	if public {
		if err := sc.literal("SystemLiteral"); err != nil { // Compat: called so here too
			return err
		}
		if !sc.blanks() {
			return sc.fail(sc.pos, "Space required after the Public Identifier")
		}
	}
	return sc.literal("SystemLiteral")
}

func (sc *scanner) literal(kind string) *SyntaxError {
	quote := sc.peek(0)
	if quote != '"' && quote != '\'' {
		return sc.fail(sc.pos, "%s \" or ' expected", kind)
	}
	_, err := sc.quoted("Unfinished System or Public ID \" or ' expected")
	return err
}

// quoted reads up to and with the quote that is at the position.
func (sc *scanner) quoted(unfinished string) (string, *SyntaxError) {
	quote := sc.peek(0)
	start := sc.pos + 1
	for sc.pos = start; sc.peek(0) != quote; {
		c, width, err := sc.char(sc.pos)
		switch {
		case err != nil:
			return "", err
		case !allowed(c):
			return "", sc.fail(sc.pos, unfinished)
		}
		sc.pos += width
	}
	sc.pos++
	return sc.s[start : sc.pos-1], nil
}

// subset reads the declarations between the brackets.
func (sc *scanner) subset() *SyntaxError {
	for {
		start := sc.pos
		sc.blanks()
		var err *SyntaxError
		switch {
		case sc.peek(0) == ']':
			sc.pos++
			sc.blanks()
			return nil
		case sc.at("<!ENTITY"):
			err = sc.entityDeclaration()
		case sc.at(commentStart):
			err = sc.comment()
		case sc.at("<?"):
			err = sc.instruction()
		case sc.at("<!ELEMENT"), sc.at("<!ATTLIST"), sc.at("<!NOTATION"):
			err = sc.otherDeclaration()
		case sc.peek(0) == '%':
			sc.lenient = true
			if i := strings.IndexByte(sc.s[sc.pos:], ';'); i > 0 {
				sc.pos += i + 1
			}
		}
		if err != nil {
			return err
		}
		if sc.pos == start {
			return sc.fail(sc.pos, "internal error: xmlParseInternalSubset: error detected in Markup declaration\n")
		}
	}
}

// otherDeclaration steps over a declaration that only a validator needs.
func (sc *scanner) otherDeclaration() *SyntaxError {
	for i := sc.pos; i < len(sc.s); i++ {
		switch c := sc.s[i]; c {
		case '>':
			sc.pos = i + 1
			return nil
		case '"', '\'':
			n := strings.IndexByte(sc.s[i+1:], c)
			if n < 0 {
				return sc.fail(len(sc.s), "AttValue: ' expected")
			}
			i += n + 1
		}
	}
	return sc.fail(len(sc.s), "DOCTYPE improperly terminated")
}
