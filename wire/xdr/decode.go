package xdr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The ways in which a payload can fail to decode.
var (
	ErrShort    = errors.New("xdr: payload ends too early")
	ErrLimit    = errors.New("xdr: length exceeds its limit")
	ErrRange    = errors.New("xdr: value does not fit its type")
	ErrUnion    = errors.New("xdr: unknown union discriminant")
	ErrTrailing = errors.New("xdr: bytes follow the last field")
	ErrString   = errors.New("xdr: string contains a NUL byte")
)

// Decoder reads XDR from a slice. The first failure sticks: later reads return zero values, and Err
// tells what went wrong. Strings and opaque values are copies, so the slice may be reused afterwards.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder returns a decoder of b. It keeps no reference to b in what it returns.
func NewDecoder(b []byte) Decoder { return Decoder{buf: b} }

// Err returns the first failure, or nil.
func (d *Decoder) Err() error { return d.err }

// Offset returns how many bytes were read.
func (d *Decoder) Offset() int { return d.off }

// Remaining returns how many bytes are left.
func (d *Decoder) Remaining() int { return len(d.buf) - d.off }

// Fail records err unless the decoder has failed already.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = err
		d.off = len(d.buf)
	}
}

// Finish fails with ErrTrailing when bytes are left, and returns Err.
func (d *Decoder) Finish() error {
	if d.err == nil && d.off != len(d.buf) {
		d.err = fmt.Errorf("%w (%d)", ErrTrailing, len(d.buf)-d.off)
	}
	return d.err
}

func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || len(d.buf)-d.off < n {
		d.Fail(ErrShort)
		return nil
	}
	p := d.buf[d.off : d.off+n]
	d.off += n
	return p
}

// Uint32 reads one unit.
func (d *Decoder) Uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// Int32 reads one unit.
func (d *Decoder) Int32() int32 { return int32(d.Uint32()) }

// Uint64 reads a uhyper.
func (d *Decoder) Uint64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Int64 reads a hyper.
func (d *Decoder) Int64() int64 { return int64(d.Uint64()) }

// Float64 reads an IEEE double.
func (d *Decoder) Float64() float64 { return math.Float64frombits(d.Uint64()) }

// Bool reads one unit; anything but 0 is true, as in C: there are clients that send other values than 1.
func (d *Decoder) Bool() bool { return d.Uint32() != 0 }

// Uint8 reads a char or uchar: one unit of which the low byte counts, as rpcgen's decoders do.
func (d *Decoder) Uint8() uint8 { return uint8(d.Uint32()) }

// Uint16 reads a ushort: one unit of which the low half counts.
func (d *Decoder) Uint16() uint16 { return uint16(d.Uint32()) }

// Len reads an array or opaque length, at most max, of elements that take at least size bytes each.
func (d *Decoder) Len(max uint32, size int) int {
	n := d.Uint32()
	if n > max {
		d.Fail(fmt.Errorf("%w: %d > %d", ErrLimit, n, max))
		return 0
	}
	if int64(n)*int64(size) > int64(d.Remaining()) {
		d.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// String reads a string of at most max bytes.
func (d *Decoder) String(max uint32) string {
	p := d.view(max)
	for _, c := range p {
		if c == 0 {
			d.Fail(ErrString)
			return ""
		}
	}
	return string(p)
}

// Opaque reads variable-length opaque data of at most max bytes; the result is a copy and never nil
// unless the decoder failed.
func (d *Decoder) Opaque(max uint32) []byte {
	p := d.view(max)
	if d.err != nil {
		return nil
	}
	return append(make([]byte, 0, len(p)), p...)
}

// FixedOpaque fills dst.
func (d *Decoder) FixedOpaque(dst []byte) {
	n := len(dst)
	if p := d.take((n + 3) &^ 3); p != nil {
		copy(dst, p)
	}
}

// view reads a length and the padded bytes, without copying.
func (d *Decoder) view(max uint32) []byte {
	n := d.Len(max, 1)
	p := d.take((n + 3) &^ 3)
	if p == nil {
		return nil
	}
	return p[:n]
}

// Skip passes over n bytes.
func (d *Decoder) Skip(n int) { d.take(n) }

// SkipString passes over a string of at most max bytes without copying it.
func (d *Decoder) SkipString(max uint32) { d.view(max) }
