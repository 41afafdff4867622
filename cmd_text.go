package main

import (
	"strings"
	"unicode"
)

// clean makes one printable line of a text that somebody else chose, such as a domain's name or the reason of a crash: it
// must not move the cursor, change colours or turn the direction of writing.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return '·'
		}
		return r
	}, text)
}

// wide are the characters that take two columns on a terminal, as far as they are likely in names.
var wide = []struct{ from, to rune }{
	{0x1100, 0x115F}, {0x2E80, 0xA4CF}, {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFE30, 0xFE6F}, {0xFF00, 0xFF60},
	{0xFFE0, 0xFFE6}, {0x1F300, 0x1FAFF}, {0x20000, 0x3FFFD},
}

// columns is the room that a character takes on a terminal.
func columns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	for _, w := range wide {
		if r >= w.from && r <= w.to {
			return 2
		}
	}
	return 1
}

func textWidth(text string) (n int) {
	for _, r := range text {
		n += columns(r)
	}
	return n
}

// cut shortens a line to the width of the terminal; 0 is any width. Colours are put on later.
func cut(line string, width int) string {
	if width <= 0 || textWidth(line) <= width {
		return line
	}
	room, end := width-1, 0
	for i, r := range line {
		if room -= columns(r); room < 0 {
			break
		}
		end = i + len(string(r))
	}
	return line[:end] + "…"
}

// pad fills a cell with blanks, at its left for numbers.
func pad(text string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(0, width-textWidth(text)))
	if right {
		return blanks + text
	}
	return text + blanks
}
