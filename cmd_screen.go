package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// screen draws whole pages on a terminal without flicker: each line is written over the old one, and what was longer is
// erased. It uses the terminal's second page, so that what was on it before comes back. On a file, and on a terminal that
// can do nothing but print, it just writes pages.
type screen struct {
	out      *os.File
	terminal bool
	in       *os.File      // the keyboard; nil when there is none
	cooked   *unix.Termios // how the terminal was, while we read single keys
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseRight  = "\x1b[K"
	eraseBelow  = "\x1b[J"
	plainText   = "\x1b[0m"
)

func openScreen(out *os.File) *screen {
	s := &screen{out: out, terminal: isTerminal(out) && os.Getenv("TERM") != "dumb"}
	s.enter()
	return s
}

func (s *screen) enter() {
	if s.terminal {
		fmt.Fprint(s.out, enterScreen)
	}
	if s.in != nil {
		s.raw()
	}
}

func (s *screen) close() {
	if s.cooked != nil {
		_ = unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSF, s.cooked)
		s.cooked = nil
	}
	if s.terminal {
		fmt.Fprint(s.out, leaveScreen)
	}
}

// keys reads single keys from the keyboard until it ends; nil when there is no keyboard. A key that sends several bytes,
// like an arrow, comes as one string when the terminal sends it in one go, as all do.
func (s *screen) keys(in *os.File) <-chan string {
	if !s.terminal || !isKeyboard(in) {
		return nil
	}
	s.in = in
	s.raw()
	keys := make(chan string)
	go func() {
		defer close(keys)
		buf := make([]byte, 64)
		for {
			n, err := in.Read(buf)
			if err != nil || n == 0 {
				return
			}
			for _, key := range splitKeys(string(buf[:n])) {
				keys <- key
			}
		}
	}()
	return keys
}

// raw switches off echo and lines. Ctrl-C and Ctrl-Z stay signals.
func (s *screen) raw() {
	was, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS)
	if err != nil {
		return
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, &now) == nil {
		s.cooked = was
	}
}

// suspend gives the terminal back and stops the process, as Ctrl-Z should. It returns when the shell lets us go on.
func (s *screen) suspend() {
	s.close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	s.enter()
}

// splitKeys cuts what came in one read: an escape sequence is one key, everything else one character each.
func splitKeys(text string) (keys []string) {
	for text != "" {
		n := 1
		if strings.HasPrefix(text, "\x1b[") || strings.HasPrefix(text, "\x1bO") {
			n = len(text)
			for i := 2; i < len(text); i++ {
				if text[i] >= '@' && text[i] <= '~' {
					n = i + 1
					break
				}
			}
		} else {
			for n < len(text) && text[n]&0xC0 == 0x80 {
				n++
			}
		}
		keys = append(keys, text[:n])
		text = text[n:]
	}
	return keys
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

func isKeyboard(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
