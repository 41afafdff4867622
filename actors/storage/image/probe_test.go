package image

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func qcow2Header(version uint32, backing string) []byte {
	b := make([]byte, 512)
	copy(b, "QFI\xfb")
	binary.BigEndian.PutUint32(b[4:], version)
	binary.BigEndian.PutUint32(b[20:], 16)
	binary.BigEndian.PutUint64(b[24:], 1<<30)
	binary.BigEndian.PutUint32(b[100:], 104)
	if backing != "" {
		binary.BigEndian.PutUint64(b[8:], 400)
		binary.BigEndian.PutUint32(b[16:], uint32(len(backing)))
		copy(b[400:], backing)
	}
	return b
}

func TestHostileHeadersAreRefused(t *testing.T) {
	cases := map[string]func(b []byte){
		"clusters of 2^63 bytes":           func(b []byte) { binary.BigEndian.PutUint32(b[20:], 63) },
		"a name of 4 GiB":                  func(b []byte) { binary.BigEndian.PutUint32(b[16:], 1<<32-1) },
		"a name at the end of the world":   func(b []byte) { binary.BigEndian.PutUint64(b[8:], 1<<63) },
		"a name behind the end":            func(b []byte) { binary.BigEndian.PutUint64(b[8:], 510) },
		"a name with a zero byte":          func(b []byte) { b[401] = 0 },
		"a header that ends within itself": func(b []byte) { binary.BigEndian.PutUint32(b[100:], 8) },
	}
	for name, spoil := range cases {
		b := qcow2Header(3, "base.img")
		spoil(b)
		if i, err := Probe(bytes.NewReader(b)); err == nil || i.Format != "qcow2" {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if i, err := Probe(bytes.NewReader(qcow2Header(3, "base.img"))); err != nil || i.Backing != "base.img" || i.Capacity != 1<<30 || i.Compat != "1.1" || !i.Extended {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestLUKSPayload(t *testing.T) {
	b := make([]byte, 592)
	copy(b, "LUKS\xba\xbe\x00\x01")
	binary.BigEndian.PutUint32(b[104:], 4040)
	if i, err := Probe(bytes.NewReader(b)); err != nil || i.Format != "luks" || i.Payload != 4040*512 {
		t.Errorf("%+v, %v", i, err)
	}
}

func FuzzProbe(f *testing.F) {
	f.Add(qcow2Header(2, ""))
	f.Add(qcow2Header(3, "nbd://h/e"))
	f.Add([]byte("QED\x00"))
	f.Add([]byte("KDMV\x01\x00\x00\x00"))
	f.Add([]byte("OOOM\x00\x00\x00\x02"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, _ := Probe(bytes.NewReader(b))
		if i.Format == "" || len(i.Backing) > maxName || len(i.BackingFormat) > front {
			t.Errorf("%+v", i)
		}
	})
}
