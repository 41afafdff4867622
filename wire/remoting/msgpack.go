package remoting

import (
	"encoding/binary"
	"math"
)

// The envelope is MessagePack written and read by hand: its few fields are on the path of every message, where a
// reflecting encoder would cost more than the system call.

func appendUint(b []byte, u uint64) []byte {
	switch {
	case u < 0x80:
		return append(b, byte(u))
	case u <= math.MaxUint8:
		return append(b, 0xcc, byte(u))
	case u <= math.MaxUint16:
		return append(b, 0xcd, byte(u>>8), byte(u))
	case u <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), u)
}

func appendString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = append(b, 0xda, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

func appendArray(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x90|byte(n))
	case n <= math.MaxUint16:
		return append(b, 0xdc, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

func appendMap(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		return append(b, 0xde, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
}

// cursor reads MessagePack values off a byte slice. After the first mistake every read gives zero and
// bad stays true, so callers check once at the end. Nothing it returns is longer than its input.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() { c.b, c.bad = nil, true }

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0xc1 // the one byte that MessagePack never uses
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

// bigEndian reads an n byte number.
func (c *cursor) bigEndian(n int) uint64 {
	var u uint64
	for _, v := range c.take(n) {
		u = u<<8 | uint64(v)
	}
	return u
}

func (c *cursor) uint() uint64 {
	switch v := c.byte(); {
	case v < 0x80:
		return uint64(v)
	case v >= 0xcc && v <= 0xcf:
		return c.bigEndian(1 << (v - 0xcc))
	}
	c.fail()
	return 0
}

// length reads the head of a value: fix is the code of the short form, limit the lengths it can hold, and
// wide the code of the first long form, of 1<<shift bytes.
func (c *cursor) length(fix, limit, wide byte, shift int) int {
	v := c.byte()
	if limit > 0 && v >= fix && v < fix+limit {
		return int(v - fix)
	}
	if i := int(v) - int(wide); i >= 0 && i+shift < 3 {
		n := c.bigEndian(1 << (i + shift))
		if n <= uint64(len(c.b)) { // every element takes at least a byte
			return int(n)
		}
	}
	c.fail()
	return 0
}

func (c *cursor) string() []byte { return c.take(c.length(0xa0, 32, 0xd9, 0)) }
func (c *cursor) binary() []byte { return c.take(c.length(0, 0, 0xc4, 0)) }
func (c *cursor) array() int     { return c.length(0x90, 16, 0xdc, 1) }
func (c *cursor) maplen() int    { return c.length(0x80, 16, 0xde, 1) }

// maxDepth bounds the nesting of a payload. The MessagePack library recurses while decoding, and a
// stack that outgrows Go's limit is a crash which no recover catches.
const maxDepth = 64

// shallow reports whether b is one or more whole values nested no deeper than maxDepth, without recursion.
func shallow(b []byte) bool {
	var left [maxDepth]uint64 // values still to come at each level
	depth := -1
	c := cursor{b: b}
	for len(c.b) > 0 {
		var children uint64
		v := c.byte()
		switch {
		case v < 0x80 || v >= 0xe0 || v == 0xc0 || v == 0xc2 || v == 0xc3: // small integers, nil, booleans
		case v < 0x90:
			children = 2 * uint64(v&0x0f)
		case v < 0xa0:
			children = uint64(v & 0x0f)
		case v < 0xc0:
			c.take(int(v & 0x1f))
		case v <= 0xc1:
			return false
		case v <= 0xc6: // bin
			c.take(int(c.bigEndian(1 << (v - 0xc4))))
		case v <= 0xc9: // ext: a length and a type byte
			c.take(int(c.bigEndian(1<<(v-0xc7))) + 1)
		case v == 0xca:
			c.take(4)
		case v == 0xcb:
			c.take(8)
		case v <= 0xcf:
			c.take(1 << (v - 0xcc))
		case v <= 0xd3:
			c.take(1 << (v - 0xd0))
		case v <= 0xd8: // fixext: a type byte and the data
			c.take(1<<(v-0xd4) + 1)
		case v <= 0xdb:
			c.take(int(c.bigEndian(1 << (v - 0xd9))))
		case v <= 0xdd:
			children = c.bigEndian(2 << (v - 0xdc))
		default:
			children = 2 * c.bigEndian(2<<(v-0xde))
		}
		if c.bad {
			return false
		}
		if children > 0 {
			if depth++; depth == maxDepth {
				return false
			}
			left[depth] = children
			continue
		}
		for depth >= 0 {
			if left[depth]--; left[depth] > 0 {
				break
			}
			depth--
		}
	}
	return depth < 0
}
