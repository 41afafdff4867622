package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// sizes are an image's in bytes: what the guest sees, what the image takes of the host, how long its
// file or device is.
type sizes struct{ capacity, allocation, physical uint64 }

// localPath is a source that is a file or device of this host.
func localPath(s *libvirtxml.DomainDiskSource) string {
	switch {
	case s == nil:
		return ""
	case s.File != nil:
		return s.File.File
	case s.Block != nil:
		return s.Block.Dev
	}
	return ""
}

// imageSizes measures an image that no QEMU has open, or that QEMU measures otherwise.
func imageSizes(path, format string) (sizes, error) {
	var s sizes
	if path == "" {
		return s, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return s, liberr.System(liberr.FromQemu, errors.Unwrap(err), "Failed to open file '%s'", path)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return s, liberr.System(liberr.FromQemu, err, "cannot stat file '%s'", path)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.physical, s.allocation = uint64(st.Size), uint64(st.Blocks)*512
	case unix.S_IFBLK:
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return s, liberr.System(liberr.FromQemu, errors.Unwrap(err), "failed to seek to end of %s", path)
		}
		s.physical, s.allocation = uint64(end), uint64(end)
	}
	head := make([]byte, 1024)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return s, liberr.System(liberr.FromQemu, errors.Unwrap(err), "cannot read header '%s'", path)
	}
	s.capacity = s.physical
	if c, ok := imageCapacity(head[:n], format); ok {
		s.capacity = c
	}
	return s, nil
}

// capacities tells where the formats with a header keep the size that the guest sees.
var capacities = map[string]struct {
	magic  string
	offset int
	order  binary.ByteOrder
	unit   uint64
}{
	"qcow":  {"QFI\xfb", 24, binary.BigEndian, 1},
	"qcow2": {"QFI\xfb", 24, binary.BigEndian, 1},
	"qed":   {"QED\x00", 48, binary.LittleEndian, 1},
	"vdi":   {"", 368, binary.LittleEndian, 1},
	"vpc":   {"conectix", 48, binary.BigEndian, 1},
	"vmdk":  {"KDMV", 12, binary.LittleEndian, 512},
}

// imageCapacity reads the size that the guest sees from an image's header.
func imageCapacity(head []byte, format string) (uint64, bool) {
	c, ok := capacities[format]
	if !ok || len(head) < c.offset+8 || !bytes.HasPrefix(head, []byte(c.magic)) {
		return 0, false
	}
	return c.order.Uint64(head[c.offset:]) * c.unit, true
}
