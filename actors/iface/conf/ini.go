package conf

import (
	"slices"
	"strings"
)

// unit is one of systemd's files, as a list of lines that make up its text.
type unit struct {
	path    string
	lines   []unitLine
	changed bool
}

type unitLine struct {
	section    string // "Network"
	key, value string // empty for headings, comments and blank lines
	raw        string
}

// parseUnit cuts a file into lines. Joined again they are the file.
func parseUnit(path, text string) *unit {
	u := &unit{path: path}
	section := ""
	for _, raw := range strings.SplitAfter(text, "\n") {
		if raw == "" {
			continue
		}
		l := unitLine{section: section, raw: raw}
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
			l.section = section
		default:
			key, value, _ := strings.Cut(line, "=")
			l.key, l.value = strings.TrimSpace(key), strings.TrimSpace(value)
		}
		u.lines = append(u.lines, l)
	}
	return u
}

func (u *unit) text() []byte {
	var b strings.Builder
	for _, l := range u.lines {
		b.WriteString(l.raw)
	}
	return []byte(b.String())
}

// all are the words of a key in all sections of that name. An empty assignment forgets those before.
func (u *unit) all(section, key string) (words []string) {
	for _, l := range u.lines {
		if l.section != section || l.key != key {
			continue
		}
		if l.value == "" {
			words = nil
			continue
		}
		words = append(words, strings.Fields(l.value)...)
	}
	return words
}

// get is the last value of a key.
func (u *unit) get(section, key string) (value string) {
	for _, l := range u.lines {
		if l.section == section && l.key == key {
			value = l.value
		}
	}
	return value
}

// drop takes a word out of the values of a key.
func (u *unit) drop(section, key, word string) {
	for i := 0; i < len(u.lines); i++ {
		l := &u.lines[i]
		words := strings.Fields(l.value)
		if l.section != section || l.key != key || !slices.Contains(words, word) {
			continue
		}
		u.changed = true
		words = slices.DeleteFunc(words, func(w string) bool { return w == word })
		if len(words) == 0 {
			u.lines = slices.Delete(u.lines, i, i+1)
			i--
			continue
		}
		l.value = strings.Join(words, " ")
		l.raw = key + "=" + l.value + "\n"
	}
}

// add appends a value to a section, which it makes when it is missing.
func (u *unit) add(section, key, value string) {
	u.changed = true
	line := unitLine{section, key, value, key + "=" + value + "\n"}
	at := -1
	for i, l := range u.lines {
		if l.section == section && (l.key != "" || strings.HasPrefix(strings.TrimSpace(l.raw), "[")) {
			at = i + 1
		}
	}
	if n := len(u.lines); n > 0 && !strings.HasSuffix(u.lines[n-1].raw, "\n") {
		u.lines[n-1].raw += "\n"
	}
	if at < 0 {
		if len(u.lines) > 0 {
			u.lines = append(u.lines, unitLine{section: section, raw: "\n"})
		}
		u.lines = append(u.lines, unitLine{section: section, raw: "[" + section + "]\n"})
		at = len(u.lines)
	}
	u.lines = slices.Insert(u.lines, at, line)
}

// only tells whether a file has no other keys than these ("Match.Name").
func (u *unit) only(keys ...string) bool {
	return !slices.ContainsFunc(u.lines, func(l unitLine) bool { return l.key != "" && !slices.Contains(keys, l.section+"."+l.key) })
}
