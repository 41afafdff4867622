package xmltree

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// local is a name without its prefix, as complaints have it. What follows a prefix is a name itself, else there is no prefix.
func local(name string) string {
	i := strings.IndexByte(name, ':')
	if i <= 0 {
		return name
	}
	rest := name[i+1:]
	if c, _ := utf8.DecodeRuneInString(rest); rest == "" || c == ':' || !nameStart(c) {
		return name
	}
	return rest
}

// name reads a name, "" when there is none.
func (sc *scanner) name() (string, *SyntaxError) { return sc.nameOf(true) }

// qname reads a name that may have a prefix. Compat: what makes no proper one is complained about where nobody hears it.
func (sc *scanner) qname() (string, *SyntaxError) {
	start := sc.pos
	first, err := sc.nameOf(false)
	if err != nil || sc.peek(0) != ':' {
		return first, err
	}
	if first == "" {
		return sc.name()
	}
	sc.pos++
	second, err := sc.nameOf(false)
	switch {
	case err != nil:
	case second == "":
		_, err = sc.nameRest(true)
	case sc.peek(0) == ':':
		sc.pos++
		_, err = sc.name()
	}
	return sc.s[start:sc.pos], err
}

func (sc *scanner) nameOf(colons bool) (string, *SyntaxError) {
	if c := sc.peek(0); c < utf8.RuneSelf && (!startByte(c) || c == ':' && !colons) {
		return "", nil
	} else if c < utf8.RuneSelf {
		return sc.nameRest(colons)
	}
	c, _, err := sc.char(sc.pos)
	if err != nil || !nameStart(c) || c == ':' && !colons {
		return "", err
	}
	return sc.nameRest(colons)
}

// nameRest reads what may stand within a name.
func (sc *scanner) nameRest(colons bool) (string, *SyntaxError) {
	start := sc.pos
	for {
		for sc.pos < len(sc.s) && nameByte[sc.s[sc.pos]] && (colons || sc.s[sc.pos] != ':') {
			sc.pos++
		}
		if sc.peek(0) < utf8.RuneSelf {
			return sc.s[start:sc.pos], nil
		}
		r, width, err := sc.char(sc.pos)
		if err != nil || !nameRune(r, false) {
			return sc.s[start:sc.pos], err
		}
		sc.pos += width
	}
}

// nameByte tells for each byte of ASCII whether names may have it.
var nameByte = func() (t [256]bool) {
	for c := range utf8.RuneSelf {
		t[c] = startByte(byte(c)) || '0' <= c && c <= '9' || c == '-' || c == '.'
	}
	return t
}()

// startByte tells whether names may begin with a byte.
func startByte(c byte) bool { return c == '_' || c == ':' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// nameRunes are the ranges beyond ASCII of which names may consist.
var nameRunes = [][2]rune{{0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x2ff}, {0x370, 0x37d}, {0x37f, 0x1fff}, {0x200c, 0x200d}, {0x2070, 0x218f},
	{0x2c00, 0x2fef}, {0x3001, 0xd7ff}, {0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff}}

func nameStart(c rune) bool {
	return c < utf8.RuneSelf && startByte(byte(c)) || c >= utf8.RuneSelf && nameRune(c, true)
}

// nameRune tells whether names may have, or begin with, a character beyond ASCII.
func nameRune(c rune, first bool) bool {
	if !first && (c == 0xb7 || c >= 0x300 && c <= 0x36f || c == 0x203f || c == 0x2040) {
		return true
	}
	return slices.ContainsFunc(nameRunes, func(r [2]rune) bool { return r[0] <= c && c <= r[1] })
}
