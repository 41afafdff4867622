package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// Value is what a key was set to: an int64, a string, a []string, or a mixed list that no key wants.
type Value struct {
	Line int
	v    any
}

// File is a parsed configuration file.
type File struct {
	Name   string
	Keys   []string // in the order of the file
	values map[string]Value
}

// Read parses a file. One that does not exist is empty.
func Read(name string) (*File, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return Parse(name, "")
	}
	if err != nil {
		return nil, liberr.System(liberr.FromConf, err, "Failed to read file '%s'", name)
	}
	return Parse(name, string(b))
}

// Parse reads
//
//	key = 12            # comment
//	key = -1
//	key = "text"        or 'text'; there are no escapes, a line's end may not be inside
//	key = """text"""    where it may
//	key = [ "a", 'b',   over any number of lines, also after the last comma
//	      ]
//
// A key that is given twice keeps its first value.
func Parse(name, text string) (*File, error) {
	p := &parser{name: name, in: text, line: 1}
	f := &File{Name: name, values: map[string]Value{}}
	for {
		p.skip(true)
		if p.in == "" {
			return f, nil
		}
		key, v, err := p.statement()
		if err != nil {
			return nil, err
		}
		if _, twice := f.values[key]; !twice {
			f.values[key] = v
			f.Keys = append(f.Keys, key)
		}
	}
}

// parser is what is left of the text.
type parser struct {
	name string
	in   string
	line int
}

func (p *parser) fail(what string) error {
	return liberr.New(liberr.FromConf, liberr.ConfSyntax, "%s:%d: %s", p.name, p.line, what)
}

// skip passes over blanks and, if lines is set, over comments and the ends of lines.
func (p *parser) skip(lines bool) {
	for p.in != "" {
		switch c := p.in[0]; {
		case c == ' ' || c == '\t':
			p.in = p.in[1:]
		case lines && (c == '\n' || c == '\r'):
			if c == '\n' {
				p.line++
			}
			p.in = p.in[1:]
		case lines && c == '#':
			p.comment()
		default:
			return
		}
	}
}

func (p *parser) comment() {
	if i := strings.IndexByte(p.in, '\n'); i >= 0 {
		p.in = p.in[i:]
	} else {
		p.in = ""
	}
}

func (p *parser) statement() (string, Value, error) {
	key := p.word()
	if key == "" {
		return "", Value{}, p.fail("expecting a name")
	}
	p.skip(false)
	if !strings.HasPrefix(p.in, "=") {
		return "", Value{}, p.fail("expecting an assignment")
	}
	p.in = p.in[1:]
	p.skip(false)
	v := Value{Line: p.line}
	var err error
	if v.v, err = p.value(); err != nil {
		return "", v, err
	}
	p.skip(false)
	switch {
	case p.in == "" || p.in[0] == '\n' || p.in[0] == '\r':
	case p.in[0] == '#':
		p.comment()
	default:
		return "", v, p.fail("expecting a separator")
	}
	return key, v, nil
}

// word reads a key: a letter, then letters, digits, and _ . - / ?
func (p *parser) word() string {
	i := 0
	for i < len(p.in) {
		c := p.in[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || strings.IndexByte("_.-/?", c) >= 0)) {
			break
		}
		i++
	}
	w := p.in[:i]
	p.in = p.in[i:]
	return w
}

func (p *parser) value() (any, error) {
	if p.in == "" {
		return nil, p.fail("expecting a value")
	}
	switch c := p.in[0]; {
	case c == '"' || c == '\'':
		return p.text()
	case c == '[':
		return p.list()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return nil, p.fail("expecting a value")
}

func (p *parser) text() (string, error) {
	quote, lines := p.in[:1], false
	if strings.HasPrefix(p.in, `"""`) {
		quote, lines = `"""`, true
	}
	rest := p.in[len(quote):]
	end := strings.Index(rest, quote)
	if end < 0 || !lines && strings.Contains(rest[:end], "\n") {
		return "", p.fail("unterminated string")
	}
	s := rest[:end]
	p.in = rest[end+len(quote):]
	p.line += strings.Count(s, "\n")
	return s, nil
}

func (p *parser) number() (int64, error) {
	i := 1
	for i < len(p.in) && p.in[i] >= '0' && p.in[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(p.in[:i], 10, 64)
	if err != nil {
		return 0, p.fail("unterminated number")
	}
	p.in = p.in[i:]
	return n, nil
}

// mixed is a list with numbers or lists in it: good syntax, and of the wrong type for every key there is.
type mixed struct{}

func (p *parser) list() (any, error) {
	p.in = p.in[1:]
	out, others := []string{}, false
	for {
		p.skip(true)
		if strings.HasPrefix(p.in, "]") {
			p.in = p.in[1:]
			if others {
				return mixed{}, nil
			}
			return out, nil
		}
		if p.in == "" {
			return nil, p.fail("list is not closed with ]")
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if s, ok := v.(string); ok {
			out = append(out, s)
		} else {
			others = true
		}
		p.skip(true)
		switch {
		case strings.HasPrefix(p.in, ","):
			p.in = p.in[1:]
		case p.in == "":
			return nil, p.fail("list is not closed with ]")
		case p.in[0] != ']':
			return nil, p.fail("expecting a separator in list")
		}
	}
}

// Has reports whether the key is set.
func (f *File) Has(key string) bool { _, ok := f.values[key]; return ok }

func (f *File) wrong(key, format string, args ...any) error {
	at := fmt.Sprintf("%s:%d: ", f.Name, f.values[key].Line)
	return liberr.New(liberr.FromConf, liberr.InternalError, "%s%s", at, fmt.Sprintf(format, args...))
}

// The getters leave the target as it is, with its default, when the key is not set.

// String gets a string.
func (f *File) String(key string, to *string) error {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	s, ok := v.v.(string)
	if !ok {
		return f.wrong(key, "expected a string for '%s' parameter", key)
	}
	*to = s
	return nil
}

// Strings gets a list of strings; a single string is a list too if one is allowed.
func (f *File) Strings(key string, single bool, to *[]string) error {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	switch s := v.v.(type) {
	case []string:
		*to = s
		return nil
	case string:
		if single {
			*to = []string{s}
			return nil
		}
	}
	if single {
		return f.wrong(key, "expected a string or string list for '%s' parameter", key)
	}
	return f.wrong(key, "expected a string list for '%s' parameter", key)
}

// Bool gets a number that must be 0 or 1.
func (f *File) Bool(key string, to *bool) error {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	n, ok := v.v.(int64)
	switch {
	case !ok:
		return f.wrong(key, "expected a bool for '%s' parameter", key)
	case n != 0 && n != 1:
		return f.wrong(key, "value for '%s' parameter must be 0 or 1", key)
	}
	*to = n == 1
	return nil
}

// Int gets a signed 32 bit number.
func (f *File) Int(key string, to *int) error {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	n, ok := v.v.(int64)
	switch {
	case !ok:
		return f.wrong(key, "expected a signed integer for '%s' parameter", key)
	case n < math.MinInt32 || n > math.MaxInt32:
		return f.wrong(key, "value for '%s' parameter must be in range %d:%d", key, math.MinInt32, math.MaxInt32)
	}
	*to = int(n)
	return nil
}

// Uint gets an unsigned 32 bit number.
func (f *File) Uint(key string, to *uint) error {
	n := uint64(*to)
	if err := f.uint(key, math.MaxUint32, &n); err != nil {
		return err
	}
	*to = uint(n)
	return nil
}

// Uint64 gets an unsigned number.
func (f *File) Uint64(key string, to *uint64) error { return f.uint(key, math.MaxInt64, to) }

func (f *File) uint(key string, limit uint64, to *uint64) error {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	n, ok := v.v.(int64)
	switch {
	case !ok || n < 0:
		return f.wrong(key, "expected an unsigned integer for '%s' parameter", key)
	case uint64(n) > limit:
		return f.wrong(key, "value for '%s' parameter must be in range 0:%d", key, limit)
	}
	*to = uint64(n)
	return nil
}
