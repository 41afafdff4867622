package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// maxChain bounds a chain of backing files; libvirt's limit.
const maxChain = 200

// completeChain writes the backing files of a disk into its definition, where that says nothing of them:
// as far as the headers of qcow2 images tell.
func completeChain(d *libvirtxml.DomainDisk) error {
	if d.BackingStore != nil {
		return nil
	}
	if d.Driver == nil || d.Driver.Type != "qcow2" {
		d.BackingStore = &libvirtxml.DomainDiskBackingStore{} // which says that there is none
		return nil
	}
	seen := map[string]bool{}
	path, to := diskPath(d), &d.BackingStore
	for range maxChain {
		if seen[path] {
			return liberr.New(liberr.FromStorage, liberr.InternalError, "backing store for %s (%s) is self-referential", diskPath(d), path)
		}
		seen[path] = true
		h, err := readQcow2(path)
		if err != nil {
			return liberr.New(liberr.FromStorage, liberr.InternalError, "cannot read the header of image '%s': %v", path, err).WithCause(err)
		}
		if h.backing == "" {
			*to = &libvirtxml.DomainDiskBackingStore{}
			return nil
		}
		next := h.backing
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		if _, err := os.Stat(next); err != nil {
			return liberr.System(liberr.FromStorage, err, "Cannot access backing file '%s' of storage file '%s'", next, path)
		}
		if h.format == "" {
			return liberr.New(liberr.FromStorage, liberr.OperationFailed,
				"Requested operation is not valid: format of backing image '%s' of image '%s' was not specified in the image metadata (See https://libvirt.org/kbase/backing_chains.html for troubleshooting)", next, path)
		}
		*to = &libvirtxml.DomainDiskBackingStore{
			Format: &libvirtxml.DomainDiskFormat{Type: h.format},
			Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: next}},
		}
		if h.format != "qcow2" {
			(*to).BackingStore = &libvirtxml.DomainDiskBackingStore{}
			return nil
		}
		path, to = next, &(*to).BackingStore
	}
	return liberr.New(liberr.FromStorage, liberr.InternalError, "the chain of backing files of '%s' is too long", diskPath(d))
}

// qcow2Header is what a chain needs of an image's header.
type qcow2Header struct{ backing, format string }

const (
	qcow2Magic         = 0x514649fb
	qcow2BackingFormat = 0xe2792aca // header extension: the backing file's format
	maxName            = 1023       // of a backing file, by the format's rules
)

var errNotQcow2 = errors.New("not a qcow2 image")

// readQcow2 reads the header of an image. It reads at most one cluster's beginning, whatever the header
// claims.
func readQcow2(path string) (qcow2Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return qcow2Header{}, err
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	n, _ := f.ReadAt(b, 0)
	return parseQcow2(b[:n])
}

func parseQcow2(b []byte) (qcow2Header, error) {
	var h qcow2Header
	if len(b) < 72 || binary.BigEndian.Uint32(b) != qcow2Magic {
		return h, errNotQcow2
	}
	version := binary.BigEndian.Uint32(b[4:])
	at, size := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	if at == 0 || size == 0 {
		return h, nil
	}
	if size > maxName || at > uint64(len(b)) || at+uint64(size) > uint64(len(b)) {
		return h, fmt.Errorf("backing file name of %d bytes at %d", size, at)
	}
	h.backing = string(b[at : at+uint64(size)])
	ext := uint64(72)
	if version >= 3 && len(b) >= 104 {
		ext = uint64(binary.BigEndian.Uint32(b[100:]))
	}
	for ext+8 <= at && ext+8 <= uint64(len(b)) {
		kind, length := binary.BigEndian.Uint32(b[ext:]), uint64(binary.BigEndian.Uint32(b[ext+4:]))
		if kind == 0 || ext+8+length > uint64(len(b)) {
			break
		}
		if kind == qcow2BackingFormat {
			h.format = string(b[ext+8 : ext+8+length])
		}
		ext += 8 + (length+7)&^7
	}
	return h, nil
}
