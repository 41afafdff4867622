package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/def"
	"virtree/actors/storage/image"
	"virtree/wire/virt"
)

// Identity tells whether a file is the one that was looked at, and unchanged.
type Identity struct {
	Device, Inode    uint64
	Size             int64
	Modified, Change def.Time
}

func identityOf(st *unix.Stat_t) Identity {
	t := times(st)
	return Identity{st.Dev, st.Ino, st.Size, t.Modify, t.Change}
}

func times(st *unix.Stat_t) def.Times {
	at := func(t unix.Timespec) def.Time { return def.Time{Sec: int64(t.Sec), Nsec: int64(t.Nsec)} }
	return def.Times{Access: at(st.Atim), Modify: at(st.Mtim), Change: at(st.Ctim)}
}

func permissions(st *unix.Stat_t) def.Permissions {
	return def.Permissions{Mode: int64(st.Mode & 0o7777), Owner: int64(st.Uid), Group: int64(st.Gid)}
}

// same tells whether the file of a volume in the folder at is as it was when it was looked at. Only its times of access may
// be newer.
func same(at int, v *def.Volume) bool {
	var st unix.Stat_t
	return unix.Fstatat(at, v.Name, &st, 0) == nil && v.Identity == identityOf(&st) && unchanged(v.Backing)
}

// look makes a volume of a file in a folder: nil for what cannot be one.
func look(p *def.Pool, name string) *def.Volume {
	path := p.VolumePath(name)
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil { // gone meanwhile, or a link to nowhere
		return nil
	}
	id := identityOf(&st)
	v := &def.Volume{
		Name: name, Key: path, Path: path, Permissions: permissions(&st), Times: times(&st), Identity: id,
		CapacityGiven: true, AllocationGiven: true,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		v.Type, v.Format = virt.StorageVolDir, "dir"
		return v
	case unix.S_IFBLK:
		v.Type = virt.StorageVolBlock
	case unix.S_IFREG:
		v.Type = virt.StorageVolFile
	default:
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	v.Allocation, v.Physical = uint64(st.Blocks)*512, uint64(st.Size)
	if v.Type == virt.StorageVolBlock {
		end, err := f.Seek(0, 2)
		if err != nil {
			return nil
		}
		v.Physical, v.Allocation = uint64(end), uint64(end)
	}
	v.Capacity = v.Physical
	readHeader(v, f)
	if p.Refresh == "capacity" {
		v.Allocation = v.Capacity
	}
	return v
}

// readHeader puts what the image says of itself into the volume. A broken header says as much as could be read.
func readHeader(v *def.Volume, f *os.File) {
	i, _ := image.Probe(f)
	v.Format = i.Format
	switch {
	case i.Format == "luks": // Compat: for libvirt an encrypted raw image
		v.Format = "raw"
		if i.Payload < v.Physical {
			v.Capacity = v.Physical - i.Payload
		}
	case i.Capacity != 0:
		v.Capacity = i.Capacity
	}
	if i.Encryption != "" {
		v.Encryption = &def.Encryption{Format: i.Encryption}
	}
	v.Compat, v.ClusterSize = i.Compat, i.ClusterSize
	if i.Extended {
		v.Features = &def.Features{LazyRefcounts: i.LazyRefcounts, ExtendedL2: i.ExtendedL2}
	}
	if i.Backing != "" && printable(i.Backing) {
		v.Backing = lookBacking(v.Path, i)
	}
}

// unchanged tells whether what is known of the image below is so yet.
func unchanged(b *def.Backing) bool {
	if b == nil {
		return true
	}
	var st unix.Stat_t
	return b.Identity != nil && unix.Stat(b.Path, &st) == nil && b.Identity == identityOf(&st)
}

// lookBacking finds out about the image below; one that is not there, or not a file, is named all the same.
func lookBacking(of string, i image.Info) *def.Backing {
	b := &def.Backing{Path: i.Backing, Format: i.BackingFormat, Permissions: def.NoPermissions}
	if !printable(b.Format) {
		b.Format = ""
	}
	if strings.HasPrefix(b.Path, "json:") || strings.Contains(b.Path, "://") {
		if b.Format == "" {
			b.Format = "raw"
		}
		return b
	}
	b.Path = strings.TrimPrefix(b.Path, "file:")
	if !filepath.IsAbs(b.Path) {
		b.Path = filepath.Join(filepath.Dir(of), b.Path)
	}
	var st unix.Stat_t
	if err := unix.Stat(b.Path, &st); err == nil {
		b.Permissions = permissions(&st)
		t := times(&st)
		b.Times, b.Identity = &t, identityOf(&st)
	}
	if b.Format == "" {
		b.Format = "raw"
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			if f, err := os.OpenFile(b.Path, os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
				below, _ := image.Probe(f)
				b.Format = below.Format
				_ = f.Close()
			}
		}
	}
	return b
}

// printable tells whether an XML document can carry the text.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' || r == utf8.RuneError || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}

func unsupportedFlags(flags uint32, function string) string {
	return fmt.Sprintf("unsupported flags (0x%x) in function %s", flags, function)
}
