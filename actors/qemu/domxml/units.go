package domxml

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// memory keeps the sizes the steps pass on, in KiB.
type memory struct {
	total   uint64 // <memory>, or the sum of the NUMA cells and memory modules
	current uint64
	maximum uint64 // <maxMemory>
	slots   uint64
}

// scale multiplies a number with its unit, as virScaleInteger does; the result is in bytes.
func scale(v uint64, unit string, def uint64, limit uint64) (uint64, error) {
	factor := def
	switch unit {
	case "":
	case "b", "byte", "bytes":
		factor = 1
	default:
		var ok bool
		if factor, ok = unitFactor(unit); !ok {
			return 0, liberr.New(liberr.FromNone, liberr.InvalidArg, "unknown suffix '%s'", unit)
		}
	}
	hi, lo := bits.Mul64(v, factor)
	if hi != 0 || lo > limit {
		return 0, liberr.New(liberr.FromNone, liberr.Overflow, "value too large: %d%s", v, unit)
	}
	return lo, nil
}

// unitFactor knows k, KB and KiB and their larger kin; case does not matter.
func unitFactor(unit string) (uint64, bool) {
	u := strings.ToLower(unit)
	power := 1 + strings.IndexByte("kmgtpe", u[0])
	if power == 0 {
		return 0, false
	}
	base := uint64(1024)
	switch u[1:] {
	case "", "ib":
	case "b":
		base = 1000
	default:
		return 0, false
	}
	f := uint64(1)
	for range power {
		f *= base
	}
	return f, true
}

// kib reads a size element as virParseScaledValue and virDomainParseMemory do: whole KiB, rounded up. path is what the
// error names.
func kib(n *node, path string) (uint64, error) {
	if n == nil {
		return 0, nil
	}
	return kibText(n.Text, n.Get("unit"), path)
}

func kibText(text, unit, path string) (uint64, error) {
	v, err := strconv.ParseUint(cNumber(text), 10, 64)
	if err != nil {
		return 0, xmlError("Invalid value '%s' for element or attribute '%s'", text, path)
	}
	bytes, err := scale(v, unit, 1024, math.MaxInt64/2)
	if err != nil {
		return 0, err
	}
	return (bytes + 1023) / 1024, nil
}

// normalizeKiB rewrites a size element in KiB.
func normalizeKiB(n *node, path string) error {
	if n == nil {
		return nil
	}
	v, err := kib(n, path)
	if err != nil {
		return err
	}
	setKiB(n, v)
	return nil
}

func setKiB(n *node, v uint64) {
	n.Set("unit", "KiB")
	n.Text = utoa(v)
}

// bitmap is a set of small numbers in libvirt's notation, "0-3,^2,7".
type bitmap []bool

const maxBit = 16384

func parseBitmap(s string) (bitmap, error) {
	bad := func() error { return liberr.New(liberr.FromNone, liberr.InvalidArg, "Failed to parse bitmap '%s'", s) }
	var b bitmap
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		clear := strings.HasPrefix(part, "^")
		part = strings.TrimPrefix(part, "^")
		from, to, isRange := strings.Cut(part, "-")
		lo, err := strconv.ParseUint(strings.TrimSpace(from), 10, 32)
		hi := lo
		if err == nil && isRange {
			hi, err = strconv.ParseUint(strings.TrimSpace(to), 10, 32)
		}
		if err != nil || lo > hi || hi >= maxBit || clear && isRange {
			return nil, bad()
		}
		for len(b) <= int(hi) {
			b = append(b, false)
		}
		for i := lo; i <= hi; i++ {
			b[i] = !clear
		}
	}
	return b, nil
}

func (b bitmap) String() string {
	var out []string
	for i := 0; i < len(b); i++ {
		if !b[i] {
			continue
		}
		j := i
		for j+1 < len(b) && b[j+1] {
			j++
		}
		if i == j {
			out = append(out, strconv.Itoa(i))
		} else {
			out = append(out, strconv.Itoa(i)+"-"+strconv.Itoa(j))
		}
		i = j
	}
	return strings.Join(out, ",")
}

func (b bitmap) count() (n int) {
	for _, on := range b {
		if on {
			n++
		}
	}
	return n
}

func (b bitmap) last() int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] {
			return i
		}
	}
	return -1
}

// normalizeBitmap rewrites an attribute in the shortest form.
func normalizeBitmap(n *node, attr string) (bitmap, error) {
	v, ok := n.Lookup(attr)
	if !ok {
		return nil, nil
	}
	b, err := parseBitmap(v)
	if err != nil {
		return nil, err
	}
	if b.count() == 0 {
		return nil, liberr.New(liberr.FromNone, liberr.InvalidArg, "Invalid value of '%s': %s", attr, v)
	}
	n.Set(attr, b.String())
	return b, nil
}
