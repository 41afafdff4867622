package xmltree

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	cdataStart = "<![CDATA["
	cdataEnd   = "]]>"
)

// char reads the character at a place. It is 0 at the end, and where a broken one is cut off by it; a line end is '\n'
// however it is written. width is what to step over.
func (sc *scanner) char(at int) (c rune, width int, err *SyntaxError) {
	switch b := byteAt(sc.s, at); {
	case at >= len(sc.s):
		return 0, 0, nil
	case b == '\r' && byteAt(sc.s, at+1) == '\n':
		return '\n', 2, nil
	case b == '\r':
		return '\n', 1, nil
	case b < utf8.RuneSelf:
		return rune(b), 1, nil
	}
	c, width = utf8.DecodeRuneInString(sc.s[at:])
	switch {
	case c == utf8.RuneError && width == 1:
		if r := surrogate(sc.s[at:]); r != 0 {
			return 0, 0, sc.fail(at, "Char 0x%s out of allowed range", strings.ToUpper(strconv.FormatInt(int64(r), 16)))
		}
		if len(sc.s)-at < utf8.UTFMax {
			return 0, 0, nil
		}
		b := sc.s[at:]
		return 0, 0, sc.fail(at, "Input is not proper UTF-8, indicate encoding !\n%s", fmt.Sprintf("Bytes: 0x%02X 0x%02X 0x%02X 0x%02X", b[0], b[1], b[2], b[3]))
	case !allowed(c):
		return 0, 0, sc.fail(at, "Char 0x%s out of allowed range", strings.ToUpper(strconv.FormatInt(int64(c), 16)))
	}
	return c, width, nil
}

// surrogate decodes what has the form of UTF-8 but is no character of Unicode: half of a pair, or beyond the last one.
func surrogate(s string) rune {
	tail := func(i int) (rune, bool) { return rune(byteAt(s, i) & 0x3f), byteAt(s, i)&0xc0 == 0x80 }
	b1, ok1 := tail(1)
	b2, ok2 := tail(2)
	b3, ok3 := tail(3)
	switch {
	case s[0] == 0xed && ok1 && ok2:
		return 0xd000 | b1<<6 | b2
	case s[0]&0xf8 == 0xf0 && ok1 && ok2 && ok3:
		if c := rune(s[0]&7)<<18 | b1<<12 | b2<<6 | b3; c > utf8.MaxRune {
			return c
		}
	}
	return 0
}

// allowed tells whether XML allows a character.
func allowed(c rune) bool {
	return c >= 0x20 && c <= 0xd7ff || c == '\t' || c == '\n' || c == '\r' || c >= 0xe000 && c <= 0xfffd || c >= 0x10000 && c <= utf8.MaxRune
}

// easy tells for each byte whether a document may have it anywhere in text, and it is not looked at: no markup, no '\r', no
// part of a longer character.
var easy = func() (t [256]bool) {
	for c := byte(' '); c <= 0x7f; c++ {
		t[c] = c != '<' && c != '&' && c != ']'
	}
	t['\t'], t['\n'] = true, true
	return t
}()

// characters steps over text, up to markup or the end.
//
// libxml2 goes over what is plain in runs and points at the beginning of the run in which it finds a fault, so the
// beginnings are kept here.
func (sc *scanner) characters() *SyntaxError {
	run, i := sc.pos, sc.pos
	for {
		for i < len(sc.s) && easy[sc.s[i]] {
			i++
		}
		switch c := byteAt(sc.s, i); {
		case c == ']':
			if strings.HasPrefix(sc.s[i:], cdataEnd) {
				return sc.failOn(run, i, "Sequence ']]>' not allowed in content")
			}
			i++
		case c == '<' || c == '&':
			sc.pos = i
			return nil
		case c == '\r' && byteAt(sc.s, i+1) == '\n':
			run, i = i+1, i+2
			if c := byteAt(sc.s, i); c < 0x20 && c != '\t' && c != '\n' || c > 0x7f {
				return sc.oddCharacters(run)
			}
		default:
			return sc.oddCharacters(i)
		}
	}
}

// oddCharacters goes on with text character by character.
func (sc *scanner) oddCharacters(from int) *SyntaxError {
	for i := from; ; {
		c, width, err := sc.char(i)
		switch {
		case err != nil:
			return err
		case c == '<' || c == '&' || c == 0 && i == len(sc.s):
			sc.pos = i
			return nil
		case c == 0 && i == from:
			return sc.fail(i, "internal error: detected an error in element content\n")
		case c == 0:
			sc.pos = i
			return sc.oddCharacters(i)
		case !allowed(c):
			return sc.fail(i, "PCDATA invalid Char value %s", strconv.Itoa(int(c)))
		case c == ']' && strings.HasPrefix(sc.s[i:], cdataEnd):
			return sc.fail(i, "Sequence ']]>' not allowed in content")
		}
		i += width
	}
}

// cdata steps over a section.
func (sc *scanner) cdata() *SyntaxError {
	start := sc.pos + len(cdataStart)
	at, behind := start, [2]int{start, start} // the two characters before at are not counted yet
	for n := 0; ; n++ {
		c, width, err := sc.char(at)
		switch {
		case err != nil:
			return err
		case n < 2 && !allowed(c):
			return sc.fail(at, "Unregistered error message")
		case !allowed(c):
			return sc.fail(at, "CData section not finished\n%s", excerpt(sc.s[start:behind[0]]))
		case n >= 2 && c == '>' && sc.s[behind[0]:at] == "]]":
			sc.pos = at + 1
			return nil
		}
		if n >= 1 {
			behind[0] = behind[1]
		}
		behind[1] = at
		at += width
	}
}

// excerpt is the beginning of a text as complaints show it.
func excerpt(s string) string {
	s = unix(s)
	return s[:min(len(s), 50)]
}

// unix has line ends as XML has them.
func unix(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

var predefined = map[string]string{"lt": "<", "gt": ">", "amp": "&", "quot": "\"", "apos": "'"}

// reference reads &name; or &#number; and returns what it stands for.
func (sc *scanner) reference(inAttribute bool) (string, *SyntaxError) {
	if sc.peek(1) == '#' {
		return sc.charRef()
	}
	sc.pos++
	name, err := sc.name()
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", sc.fail(sc.pos, "xmlParseEntityRef: no name")
	}
	if sc.peek(0) != ';' {
		return "", sc.fail(sc.pos, "EntityRef: expecting ';'")
	}
	sc.pos++
	if text, ok := predefined[name]; ok {
		return text, nil
	}
	return sc.expand(name, inAttribute)
}

func (sc *scanner) charRef() (string, *SyntaxError) {
	base, kind := rune(10), "decimal"
	sc.pos += len("&#")
	if sc.peek(0) == 'x' {
		base, kind = 16, "hexadecimal"
		sc.pos++
	}
	var v rune
	for ; sc.peek(0) != ';'; sc.pos++ {
		d := digit(sc.peek(0))
		if d < 0 || d >= base {
			return "", sc.fail(sc.pos, "CharRef: invalid %s value", kind)
		}
		v = min(v*base+d, utf8.MaxRune+1)
	}
	sc.pos++
	switch {
	case v > utf8.MaxRune:
		return "", sc.fail(sc.pos, "xmlParseCharRef: character reference out of bounds")
	case !allowed(v):
		return "", sc.fail(sc.pos, "xmlParseCharRef: invalid xmlChar value %s", strconv.Itoa(int(v)))
	}
	return string(v), nil
}

// digit is the value of a digit of base 16, -1 when it is none.
func digit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}
