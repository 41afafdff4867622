package xmltree

import (
	"strconv"
	"strings"
)

const (
	commentStart = "<!--"
	commentEnd   = "-->"
)

// comment steps over a comment. Two hyphens within one are a fault.
func (sc *scanner) comment() *SyntaxError {
	start := sc.pos + len(commentStart)
	for i := start; ; i++ {
		switch c := byteAt(sc.s, i); {
		case strings.HasPrefix(sc.s[i:], commentEnd):
			sc.pos = i + len(commentEnd)
			return nil
		case strings.HasPrefix(sc.s[i:], "--") && i == start:
			return sc.fail(i, "Double hyphen within comment")
		case strings.HasPrefix(sc.s[i:], "--"):
			return sc.fail(i, "Double hyphen within comment: <!--%s", excerpt(sc.s[start:i]))
		case c == '\r' && byteAt(sc.s, i+1) == '\n':
			i++
		case c < 0x20 && c != '\t' && c != '\n' || c > 0x7f:
			return sc.oddComment(start, i)
		}
	}
}

// oddComment goes on with a comment character by character. Its words for the same faults are others.
func (sc *scanner) oddComment(start, from int) *SyntaxError {
	at, behind := from, [2]int{from, from} // two characters are held back
	for n := 0; ; n++ {
		c, width, err := sc.char(at)
		hyphens := n >= 2 && sc.s[behind[0]:at] == "--"
		switch {
		case err != nil:
			return err
		case c == 0 && n <= 2:
			return sc.fail(at, "Comment not terminated")
		case c == 0:
			return sc.fail(at, "Comment not terminated \n<!--%s", excerpt(sc.s[start:behind[0]]))
		case !allowed(c):
			if n == 1 { // Compat: libxml2 names the one before
				c, _, _ = sc.char(from)
			}
			return sc.fail(at, "xmlParseComment: invalid xmlChar value %s", strconv.Itoa(int(c)))
		case hyphens && c == '>':
			sc.pos = at + 1
			return nil
		case hyphens:
			return sc.fail(at, "Comment must not contain '--' (double-hyphen)")
		}
		if n >= 1 {
			behind[0] = behind[1]
		}
		behind[1] = at
		at += width
	}
}

// instruction steps over a processing instruction.
func (sc *scanner) instruction() *SyntaxError {
	sc.pos += len("<?")
	target, err := sc.name()
	switch {
	case err != nil:
		return err
	case target == "":
		return sc.fail(sc.pos, "xmlParsePI : no target name")
	case target == "xml":
		return sc.fail(sc.pos, "XML declaration allowed only at the start of the document")
	case strings.EqualFold(target, "xml"):
		return sc.fail(sc.pos, "Invalid PI name")
	case sc.at("?>"):
		sc.pos += len("?>")
		return nil
	case !sc.blanks():
		return sc.fail(sc.pos, "ParsePI: PI %s space expected", target)
	}
	for {
		c, width, err := sc.char(sc.pos)
		switch {
		case err != nil:
			return err
		case !allowed(c):
			return sc.fail(sc.pos, "ParsePI: PI %s never end ...", target)
		case c == '?' && sc.peek(1) == '>':
			sc.pos += len("?>")
			return nil
		}
		sc.pos += width
	}
}
