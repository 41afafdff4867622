package conf

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"virtree/actors/iface/def"
)

// ifupdown is /etc/network/interfaces with what it sources.
type ifupdown struct{ root, main string }

// Kind names the format.
func (*ifupdown) Kind() string { return "ifupdown" }

// file is one file of it, as a list of stanzas that make up its text.
type file struct {
	path    string
	stanzas []*stanza
	changed bool
}

// stanza is a statement with the lines that belong to it.
type stanza struct {
	words   []string // of its first line; nil for blank lines and comments
	options []option // of an iface stanza
	raw     string   // its text, all lines, with their ends
}

type option struct{ name, value string } // name with '-' for '_'

func (s *stanza) is(word string) bool { return len(s.words) > 0 && s.words[0] == word }

// iface tells whether the stanza defines an interface of that name.
func (s *stanza) iface(name string) bool {
	return s.is("iface") && len(s.words) > 1 && s.words[1] == name
}

// selects tells whether it is one of the lines that say when interfaces are brought up.
func (s *stanza) selects() bool {
	return s.is("auto") || len(s.words) > 0 && strings.HasPrefix(s.words[0], "allow-")
}

// get is the value of the first option of that name.
func (s *stanza) get(names ...string) (string, bool) {
	for _, o := range s.options {
		if slices.Contains(names, o.name) {
			return o.value, true
		}
	}
	return "", false
}

// statements are the words that begin a stanza; any other line is an option of the one before.
func begins(word string) bool {
	switch word {
	case "iface", "auto", "mapping", "source", "source-directory", "template", "no-scripts", "no-auto-down", "rename":
		return true
	}
	return strings.HasPrefix(word, "allow-")
}

// parseFile cuts a file into stanzas. Joined again they are the file.
func parseFile(path, text string) *file {
	f := &file{path: path}
	var cur *stanza
	for len(text) > 0 {
		raw, line := "", ""
		for { // a backslash at the end joins lines
			n := strings.IndexByte(text, '\n') + 1
			if n == 0 {
				n = len(text)
			}
			part := text[:n]
			raw, text = raw+part, text[n:]
			part = strings.TrimSuffix(part, "\n")
			if body, more := strings.CutSuffix(part, "\\"); more && text != "" && !strings.HasPrefix(strings.TrimSpace(line+part), "#") {
				line += body + " "
				continue
			}
			line += part
			break
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
			f.stanzas = append(f.stanzas, &stanza{raw: raw})
			continue
		case begins(words[0]):
			cur = &stanza{words: words, raw: raw}
			f.stanzas = append(f.stanzas, cur)
			continue
		case cur == nil: // an option of nothing
			f.stanzas = append(f.stanzas, &stanza{raw: raw})
			continue
		}
		// Comments between the options belong to the stanza too.
		for last := len(f.stanzas) - 1; f.stanzas[last] != cur; last = len(f.stanzas) - 1 {
			i := slices.Index(f.stanzas, cur)
			cur.raw += f.stanzas[i+1].raw
			f.stanzas = slices.Delete(f.stanzas, i+1, i+2)
		}
		cur.raw += raw
		value := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), words[0]))
		cur.options = append(cur.options, option{strings.ReplaceAll(words[0], "_", "-"), value})
	}
	return f
}

func (f *file) text() []byte {
	var b strings.Builder
	for _, s := range f.stanzas {
		b.WriteString(s.raw)
	}
	return []byte(b.String())
}

// sourceName is what source-directory takes, as ifupdown does.
func sourceName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) < 0
}

// read reads the main file and what it sources, in that order.
func (u *ifupdown) read() ([]*file, error) {
	var files []*file
	return files, u.readInto(&files, u.main)
}

// maxFiles bounds a configuration whose files source each other.
const maxFiles = 256

func (u *ifupdown) readInto(files *[]*file, path string) error {
	if len(*files) >= maxFiles || slices.ContainsFunc(*files, func(f *file) bool { return f.path == path }) {
		return nil
	}
	text, err := readIfThere(path)
	if err != nil || text == nil {
		return err
	}
	f := parseFile(path, string(text))
	*files = append(*files, f)
	for _, s := range f.stanzas {
		if len(s.words) < 2 {
			continue
		}
		for _, pattern := range s.words[1:] {
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(path), pattern)
			} else if u.root != "" {
				pattern = filepath.Join(u.root, pattern)
			}
			var found []string
			switch s.words[0] {
			case "source":
				found, _ = filepath.Glob(pattern)
			case "source-directory":
				entries, _ := os.ReadDir(pattern)
				for _, e := range entries {
					if sourceName(e.Name()) {
						found = append(found, filepath.Join(pattern, e.Name()))
					}
				}
			}
			sort.Strings(found)
			for _, name := range found {
				if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
					continue
				}
				if err := u.readInto(files, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// use is how much a configuration says.
type use int

const (
	absent use = iota
	exists
	beyondLoopback
)

func (u *ifupdown) inUse() (use, error) {
	files, err := u.read()
	if err != nil || len(files) == 0 {
		return absent, err
	}
	for _, f := range files {
		for _, s := range f.stanzas {
			if s.is("iface") && len(s.words) > 1 && s.words[1] != "lo" {
				return beyondLoopback, nil
			}
		}
	}
	return exists, nil
}

// Interfaces reads all definitions.
func (u *ifupdown) Interfaces() ([]*def.Interface, error) {
	files, err := u.read()
	if err != nil {
		return nil, err
	}
	return describe(files), nil
}

// remove takes the stanzas of a name out, and the name out of the lines that bring it up. It returns where the first
// stanza was; a nil file when there was none.
func remove(files []*file, name string) (at *file, index int) {
	for _, f := range files {
		for i := 0; i < len(f.stanzas); i++ {
			s := f.stanzas[i]
			switch {
			case s.iface(name):
				f.stanzas = slices.Delete(f.stanzas, i, i+1)
				f.changed = true
				if at == nil {
					at, index = f, i
				}
				i--
			case s.selects() && slices.Contains(s.words[1:], name):
				f.changed = true
				s.words = slices.DeleteFunc(s.words, func(w string) bool { return w == name })
				s.raw = strings.Join(s.words, " ") + "\n"
				if len(s.words) == 1 {
					f.stanzas = slices.Delete(f.stanzas, i, i+1)
					if at == f && i < index {
						index--
					}
					i--
				}
			}
		}
	}
	return at, index
}

func (u *ifupdown) define(i *def.Interface) (change, error) {
	files, err := u.read()
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		files = []*file{{path: u.main}}
	}
	for _, p := range i.Ports() {
		removeAll(files, p)
	}
	var olds []*def.Interface // its ports of before, which nobody has now
	for _, d := range describe(files) {
		if d.Name == i.Name {
			olds = d.Ports()
		}
	}
	at, index := remove(files, i.Name)
	for _, p := range olds {
		removeBare(files, p)
	}
	if at == nil {
		at = files[0]
		if n := len(files[0].stanzas); n > 0 && !strings.HasSuffix(files[0].stanzas[n-1].raw, "\n") {
			files[0].stanzas[n-1].raw += "\n"
		}
		at.stanzas = append(at.stanzas, &stanza{raw: "\n"})
		index = len(at.stanzas)
	}
	at.changed = true
	index = min(index, len(at.stanzas))
	at.stanzas = slices.Insert(at.stanzas, index, parseFile("", stanzasOf(i)).stanzas...)
	return changes(files), nil
}

// removeAll takes an interface and all below it out.
func removeAll(files []*file, i *def.Interface) {
	for _, p := range i.Ports() {
		removeAll(files, p)
	}
	remove(files, i.Name)
}

// removeBare does so for ports that have nothing of their own.
func removeBare(files []*file, i *def.Interface) {
	if !plain(files, i.Name) {
		return
	}
	for _, p := range i.Ports() {
		removeBare(files, p)
	}
	remove(files, i.Name)
}

func (u *ifupdown) undefine(name string) (change, error) {
	files, err := u.read()
	if err != nil {
		return nil, err
	}
	for _, i := range describe(files) {
		if i.Name == name {
			remove(files, name)
			for _, p := range i.Ports() {
				removeBare(files, p)
			}
		}
	}
	return changes(files), nil
}

func changes(files []*file) change {
	c := change{}
	for _, f := range files {
		if f.changed {
			c[f.path] = f.text()
		}
	}
	return c
}
