package metrics

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/meter"
)

// Kind is the type of a family, in the words of the text format.
type Kind string

// Kinds of families.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Page is a text under construction. All samples of a family come together: Family, then its samples. Labels are pairs
// of name and value, in the order of their names.
type Page struct {
	b      []byte
	daemon string // for the label of that name, which every sample has
	name   string // of the family
	kind   Kind
	help   string
	open   bool // the family has its head
}

// daemonLabel is the label that tells processes apart.
const daemonLabel = "daemon"

// NewPage begins the page of a daemon's process.
func NewPage(daemon string) *Page { return &Page{daemon: clean(daemon)} }

// Grow makes room for so many bytes more: a page is about as long as the one before it.
func (p *Page) Grow(n int) { p.b = slices.Grow(p.b, n) }

// Bytes is the page so far.
func (p *Page) Bytes() []byte { return p.b }

// Raw appends families that are text already.
func (p *Page) Raw(text []byte) { p.b = append(p.b, text...) }

// Family begins a family. Its head is written with its first sample: a family without samples leaves no trace.
func (p *Page) Family(name string, kind Kind, help string) {
	p.name, p.kind, p.help, p.open = name, kind, help, false
}

// Value adds a sample.
func (p *Page) Value(v float64, labels ...string) {
	p.line("", "", labels)
	p.number(v)
}

// Count adds a sample that is a whole number.
func (p *Page) Count(n uint64, labels ...string) {
	p.line("", "", labels)
	p.b = append(strconv.AppendUint(p.b, n, 10), '\n')
}

// Durations adds the samples of a histogram, in seconds.
func (p *Page) Durations(r meter.Reading, labels ...string) {
	n := uint64(0)
	for i, c := range r.Buckets {
		n += c
		bound := "+Inf"
		if i < len(meter.Bounds) {
			bound = bounds[i]
		}
		p.line("_bucket", bound, labels)
		p.b = append(strconv.AppendUint(p.b, n, 10), '\n')
	}
	p.line("_sum", "", labels)
	p.number(r.Sum.Seconds())
	p.line("_count", "", labels)
	p.b = append(strconv.AppendUint(p.b, n, 10), '\n')
}

// bounds are the upper ends of a histogram's buckets as labels.
var bounds = func() (texts [len(meter.Bounds)]string) {
	for i, b := range meter.Bounds {
		texts[i] = strconv.FormatFloat(b.Seconds(), 'g', -1, 64)
	}
	return texts
}()

// line writes all of a sample but its value.
func (p *Page) line(suffix, bound string, labels []string) {
	if !p.open {
		p.open = true
		p.b = append(p.b, "# HELP "+p.name+" "+p.help+"\n# TYPE "+p.name+" "+string(p.kind)+"\n"...)
	}
	p.b = append(append(p.b, p.name...), suffix...)
	p.b = append(p.b, '{')
	own := false
	for i := 0; i+1 < len(labels); i += 2 {
		if !own && labels[i] > daemonLabel {
			own = true
			p.label(daemonLabel, p.daemon)
		}
		p.label(labels[i], clean(labels[i+1]))
	}
	if !own {
		p.label(daemonLabel, p.daemon)
	}
	if bound != "" {
		p.label("le", bound)
	}
	p.b[len(p.b)-1] = '}' // instead of the last comma
	p.b = append(p.b, ' ')
}

func (p *Page) label(name, value string) {
	p.b = append(append(p.b, name...), '=', '"')
	p.b = append(append(p.b, value...), '"', ',')
}

func (p *Page) number(v float64) {
	switch {
	case math.IsInf(v, 1):
		p.b = append(p.b, "+Inf"...)
	case math.IsInf(v, -1):
		p.b = append(p.b, "-Inf"...)
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		p.b = strconv.AppendInt(p.b, int64(v), 10)
	default:
		p.b = strconv.AppendFloat(p.b, v, 'g', -1, 64)
	}
	p.b = append(p.b, '\n')
}

var escapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// clean makes a label's value of any text, names that clients have chosen among them.
func clean(s string) string {
	for i := range len(s) {
		if c := s[i]; c == '\\' || c == '\n' || c == '"' || c >= 0x80 {
			return escapes.Replace(strings.ToValidUTF8(s, "\uFFFD"))
		}
	}
	return s
}
