package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// screen draws whole pages on a terminal without flicker: each line is written over the old one, and what was longer is
// erased. It uses the terminal's second page, so that what was on it before comes back. On a file it just writes pages.
type screen struct {
	out      *os.File
	terminal bool
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseRight  = "\x1b[K"
	eraseBelow  = "\x1b[J"
	red         = "\x1b[31m"
	plainText   = "\x1b[0m"
)

func openScreen(out *os.File) *screen {
	s := &screen{out: out, terminal: isTerminal(out)}
	if s.terminal {
		fmt.Fprint(out, enterScreen)
	}
	return s
}

func (s *screen) close() {
	if s.terminal {
		fmt.Fprint(s.out, leaveScreen)
	}
}

func (s *screen) show(draw func(w io.Writer)) {
	var page bytes.Buffer
	draw(&page)
	if !s.terminal {
		_, _ = s.out.Write(page.Bytes())
		return
	}
	lines := strings.Split(strings.TrimSuffix(page.String(), "\n"), "\n")
	if h := height(); h > 0 && len(lines) > h {
		lines = lines[:h]
	}
	var b strings.Builder
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(line + plainText + eraseRight + "\r\n")
	}
	b.WriteString(eraseBelow)
	fmt.Fprint(s.out, b.String())
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && width() > 0
}

// cut shortens a line to the width of the terminal; 0 is any width. The colours around it are put on later.
func cut(line string, width int) string {
	if width <= 0 {
		return line
	}
	if r := []rune(line); len(r) > width {
		return string(r[:max(0, width-1)]) + "…"
	}
	return line
}
