package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Info is what a header tells.
type Info struct {
	Format        string // libvirt's name; "raw" for what no format claims, "luks" for LUKS itself
	Capacity      uint64 // as the guest sees it; 0 where the header does not say
	Payload       uint64 // of LUKS: where the data begins; the rest of the file is the capacity
	Backing       string // as the header has it; may be relative or a URI
	BackingFormat string // "" where the header does not say
	Encryption    string // "", "qcow" or "luks"
	Compat        string // "1.1" for version 3 of qcow2
	ClusterSize   uint64
	Extended      bool // version 3 of qcow2: has the features below
	LazyRefcounts bool
	ExtendedL2    bool
}

// ErrHeader is the kind of every complaint about a header.
var ErrHeader = errors.New("the image's header is broken")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHeader, fmt.Sprintf(format, args...))
}

const (
	first   = 4 << 10  // bytes that are read of every image
	front   = 64 << 10 // bytes that are read of an image at most, a name behind them apart
	maxName = 4096     // bytes of a backing file's name
)

// header is the front of an image.
type header struct {
	b []byte
	r io.ReaderAt
}

func (h *header) be32(at int) uint32 { return binary.BigEndian.Uint32(h.at(at, 4)) }
func (h *header) be64(at int) uint64 { return binary.BigEndian.Uint64(h.at(at, 8)) }
func (h *header) le32(at int) uint32 { return binary.LittleEndian.Uint32(h.at(at, 4)) }
func (h *header) le64(at int) uint64 { return binary.LittleEndian.Uint64(h.at(at, 8)) }

var zeros [8]byte

// at returns n (at most 8) bytes, zeros behind the end.
func (h *header) at(at, n int) []byte {
	if at < 0 || at+n > len(h.b) {
		return zeros[:n]
	}
	return h.b[at : at+n]
}

// grow reads the rest of the front, for formats that have something there.
func (h *header) grow() {
	if len(h.b) < first {
		return
	}
	b := make([]byte, front)
	n, _ := h.r.ReadAt(b, 0)
	h.b = b[:max(n, 0)]
}

// far is is for what lies far behind the beginning.
func (h *header) far(at int64, magic string) bool {
	b := make([]byte, len(magic))
	n, _ := h.r.ReadAt(b, at)
	return n == len(b) && string(b) == magic
}

func (h *header) is(at int, magic string) bool {
	return at+len(magic) <= len(h.b) && string(h.b[at:at+len(magic)]) == magic
}

// name reads a file's name that the header points to.
func (h *header) name(at uint64, n uint32) (string, error) {
	switch {
	case at == 0 || n == 0:
		return "", nil
	case n > maxName || at > 1<<20:
		return "", broken("backing file's name of %d bytes at %d", n, at)
	}
	b := make([]byte, n)
	if got, err := h.r.ReadAt(b, int64(at)); got < len(b) {
		return "", broken("backing file's name at %d: %v", at, err)
	}
	return text(b)
}

func text(b []byte) (string, error) {
	if bytes.IndexByte(b, 0) >= 0 {
		return "", broken("a zero byte in a backing file's name")
	}
	return string(b), nil
}

// format is one that can be told by its header.
type format struct {
	name string
	is   func(h *header) bool
	read func(h *header, i *Info) error
}

var formats = []format{
	{"qcow2", func(h *header) bool { return h.is(0, "QFI\xfb") && (h.be32(4) == 2 || h.be32(4) == 3) }, qcow2},
	{"qcow", func(h *header) bool { return h.is(0, "QFI\xfb") && h.be32(4) == 1 }, qcow1},
	{"luks", func(h *header) bool { return h.is(0, "LUKS\xba\xbe") && h.be32(4)&0xffff <= 2 }, luks},
	{"qed", func(h *header) bool { return h.is(0, "QED\x00") }, qed},
	{"vmdk", func(h *header) bool { return h.is(0, "KDMV") && h.le32(4) >= 1 && h.le32(4) <= 3 }, vmdk},
	{"vdi", func(h *header) bool { return h.le32(64) == 0xbeda107f && h.le32(68) == 0x00010001 }, func(h *header, i *Info) error {
		i.Capacity = h.le64(368)
		return nil
	}},
	{"vpc", func(h *header) bool { return h.is(0, "conectix") && h.be32(12) == 0x10000 }, func(h *header, i *Info) error {
		i.Capacity = h.be64(40)
		return nil
	}},
	{"bochs", func(h *header) bool {
		return h.is(0, "Bochs Virtual HD Image") && (h.le32(64) == 0x20000 || h.le32(64) == 0x10000)
	}, func(h *header, i *Info) error {
		i.Capacity = h.le64(84)
		return nil
	}},
	{"cow", func(h *header) bool { return h.is(0, "OOOM") && h.be32(4) == 2 }, cow},
	{"cloop", func(h *header) bool { return h.is(0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop") }, nil},
	{"iso", func(h *header) bool { return len(h.b) == first && h.far(32769, "CD001") }, nil},
}

// Probe reads the header of an image. The Info is good as far as it goes also when there is an error.
func Probe(r io.ReaderAt) (Info, error) {
	h := &header{b: make([]byte, first), r: r}
	n, err := r.ReadAt(h.b, 0)
	h.b = h.b[:n]
	if err != nil && !errors.Is(err, io.EOF) {
		return Info{Format: "raw"}, err
	}
	for _, f := range formats {
		if !f.is(h) {
			continue
		}
		i := Info{Format: f.name}
		if f.read == nil {
			return i, nil
		}
		err := f.read(h, &i)
		return i, err
	}
	return Info{Format: "raw"}, nil
}
