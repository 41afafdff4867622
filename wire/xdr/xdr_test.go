package xdr

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u32, u64 := rapid.Uint32().Draw(t, "u32"), rapid.Uint64().Draw(t, "u64")
		f := rapid.Float64().Draw(t, "f")
		bl := rapid.Bool().Draw(t, "b")
		s := rapid.StringMatching(`[^\x00]{0,40}`).Draw(t, "s")
		o := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "o")
		fixed := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "fixed")

		var b []byte
		b = AppendUint32(b, u32)
		b = AppendInt64(b, int64(u64))
		b = AppendFloat64(b, f)
		b = AppendBool(b, bl)
		b = AppendString(b, s)
		b = AppendOpaque(b, o)
		b = AppendFixedOpaque(b, fixed)
		if len(b)%4 != 0 {
			t.Fatalf("length %d is not a multiple of a unit", len(b))
		}

		d := NewDecoder(b)
		gotFixed := make([]byte, len(fixed))
		if d.Uint32() != u32 || d.Int64() != int64(u64) || math.Float64bits(d.Float64()) != math.Float64bits(f) ||
			d.Bool() != bl || d.String(200) != s || string(d.Opaque(40)) != string(o) {
			t.Fatal("values changed")
		}
		d.FixedOpaque(gotFixed)
		if string(gotFixed) != string(fixed) || d.Finish() != nil {
			t.Fatalf("fixed opaque changed, or %v", d.Err())
		}
	})
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name string
		b    []byte
		read func(*Decoder)
		want error
	}{
		{"a unit that ends early", []byte{0, 0, 1}, func(d *Decoder) { d.Uint32() }, ErrShort},
		{"a hyper that ends early", []byte{0, 0, 0, 1}, func(d *Decoder) { d.Uint64() }, ErrShort},
		{"a string over its limit", AppendString(nil, "abcde"), func(d *Decoder) { d.String(4) }, ErrLimit},
		{"a length with nothing behind it", []byte{0xff, 0xff, 0xff, 0xff}, func(d *Decoder) { d.Opaque(math.MaxUint32) }, ErrShort},
		{"an array that cannot fit", []byte{0, 0, 1, 0, 0, 0, 0, 0}, func(d *Decoder) { d.Len(1000, 4) }, ErrShort},
		{"a string without its padding", []byte{0, 0, 0, 1, 'a'}, func(d *Decoder) { d.String(9) }, ErrShort},
		{"a string with a NUL byte", AppendString(nil, "a\x00b"), func(d *Decoder) { d.String(9) }, ErrString},
		{"bytes behind the last field", make([]byte, 8), func(d *Decoder) { d.Uint32(); _ = d.Finish() }, ErrTrailing},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(c.b)
			c.read(&d)
			if !errors.Is(d.Err(), c.want) {
				t.Fatalf("got %v, want %v", d.Err(), c.want)
			}
			if d.Uint32() != 0 || d.String(4) != "" {
				t.Fatal("a failed decoder still reads")
			}
		})
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'a', 0, 0, 0}, []byte{0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b, ops []byte) {
		d := NewDecoder(b)
		for _, op := range ops {
			switch op % 8 {
			case 0:
				d.Uint32()
			case 1:
				d.Uint64()
			case 2:
				_ = d.String(1 << 20)
			case 3:
				d.Opaque(1 << 20)
			case 4:
				d.FixedOpaque(make([]byte, int(op)/8))
			case 5:
				d.Bool()
			case 6:
				d.Len(1<<30, 4)
			case 7:
				d.SkipString(1 << 20)
			}
		}
		if d.Offset() > len(b) {
			t.Fatal("read past the end")
		}
	})
}
