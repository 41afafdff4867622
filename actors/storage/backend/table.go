package backend

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// partitionTable is what parted says of a disk.
type partitionTable struct {
	label      string // in libvirt's words; "" for none
	cylinder   uint64 // bytes; 0 where the label knows none
	end        uint64 // the first byte that no partition can have
	partitions []partition
	free       []freeRange
}

type partition struct {
	number            int
	extended, logical bool
	def.Extent
}

type freeRange struct {
	logical bool // in the extended partition
	def.Extent
}

func (e freeRange) size() uint64 { return e.End - e.Start }

// partedLabel is parted's name of a label, where it is another one than libvirt's.
func partedLabel(format string) string {
	switch format {
	case "dos", "unknown":
		return "msdos"
	}
	return format
}

// table reads the partition table of a disk.
func (b blocks) table(ctx context.Context, device string) (*partitionTable, error) {
	out, err := b.output(ctx, "parted", "-m", "-s", device, "unit", "B", "print", "free")
	if err != nil {
		if strings.Contains(string(out)+err.Error(), "unrecognised disk label") {
			return &partitionTable{}, nil
		}
		return nil, err
	}
	t := parseTable(out)
	if t.label == "dos" {
		t.markExtended(b.at(device))
		chs, err := b.output(ctx, "parted", "-m", "-s", device, "unit", "chs", "print")
		if err != nil {
			return nil, err
		}
		t.setGeometry(chs)
	}
	return t, nil
}

// parseTable reads lines of NUMBER:START:END:SIZE:FILESYSTEM:NAME:FLAGS; free ranges have the file system free.
func parseTable(out []byte) *partitionTable {
	t := &partitionTable{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for n := 0; lines.Scan(); n++ {
		f := strings.Split(strings.TrimSuffix(lines.Text(), ";"), ":")
		switch {
		case n == 1 && len(f) > 5:
			if t.label = f[len(f)-3]; t.label == "msdos" {
				t.label = "dos"
			}
			t.end = number(f[len(f)-7])
		case n > 1 && len(f) >= 4:
			e := def.Extent{Start: number(f[1]), End: number(f[2]) + 1}
			if f[len(f)-1] == "free" && len(f) == 5 {
				t.free = append(t.free, freeRange{Extent: e})
			} else {
				no, _ := strconv.Atoi(f[0])
				t.partitions = append(t.partitions, partition{number: no, Extent: e, logical: no > 4 && t.label == "dos"})
			}
		}
	}
	return t
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(s, "B"), 10, 64)
	return n
}

// markExtended finds the extended partition, which parted's output for machines does not tell from others.
func (t *partitionTable) markExtended(device string) {
	f, err := os.Open(device)
	if err != nil {
		return
	}
	defer f.Close()
	sector := make([]byte, 512)
	if _, err := f.ReadAt(sector, 0); err != nil {
		return
	}
	for i := range t.partitions {
		p := &t.partitions[i]
		if p.number < 1 || p.number > 4 {
			continue
		}
		switch sector[446+16*(p.number-1)+4] {
		case 0x05, 0x0f, 0x85:
			p.extended = true
			for j := range t.free {
				if r := &t.free[j]; r.Start >= p.Start && r.End <= p.End {
					r.logical = true
				}
			}
		}
	}
}

// setGeometry takes cylinders, heads and sectors from the third line. Nothing lies behind the last whole cylinder.
func (t *partitionTable) setGeometry(out []byte) {
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 {
		return
	}
	f := strings.Split(strings.TrimSuffix(lines[2], ";"), ":")
	if len(f) < 3 {
		return
	}
	t.cylinder = number(f[1]) * number(f[2]) * 512
	if last := number(f[0]) * t.cylinder; last > 0 && last < t.end {
		t.end = last
		for i := range t.free {
			if r := &t.free[i]; r.End > last && r.Start < last {
				r.End = last
			}
		}
	}
}

// space sums up. An extended partition holds others and is no use of space itself.
func (t *partitionTable) space() (s Space) {
	for _, p := range t.partitions {
		s.Capacity = max(s.Capacity, p.End)
		if !p.extended {
			s.Allocation += p.End - p.Start
		}
	}
	for _, r := range t.free {
		s.Capacity = max(s.Capacity, r.End)
		s.Available += r.size()
		s.Free = append(s.Free, r.Extent)
	}
	return s
}

// next says which kind and number a new partition has; extended is what was asked for.
func (t *partitionTable) next(extended bool) (kind string, number int, err error) {
	used := map[int]bool{}
	primaries, hasExtended := 0, false
	for _, p := range t.partitions {
		used[p.number] = true
		if !p.logical {
			primaries++
		}
		hasExtended = hasExtended || p.extended
	}
	lowest := func(n int) int {
		for used[n] {
			n++
		}
		return n
	}
	switch {
	case t.label != "dos":
		return "primary", lowest(1), nil
	case extended && hasExtended:
		return "", 0, liberr.New(from, liberr.InternalError, "extended partition already exists")
	case extended && primaries < 4:
		return "extended", lowest(1), nil
	case primaries < 4:
		return "primary", lowest(1), nil
	case hasExtended && !extended:
		return "logical", lowest(5), nil
	}
	return "", 0, liberr.New(from, liberr.InternalError, "no extended partition found and no primary partition available")
}

// follows tells whether a logical partition ends there.
func (t *partitionTable) follows(at uint64) bool {
	return slices.ContainsFunc(t.partitions, func(p partition) bool { return p.logical && p.End == at })
}

// place finds room: the smallest free range that is large enough. In a label with cylinders partitions end with one.
func (t *partitionTable) place(size uint64, logical bool) (def.Extent, error) {
	var best *freeRange
	var at def.Extent
	for i := range t.free {
		r := &t.free[i]
		need := size
		if t.cylinder > 0 {
			need = (size + t.cylinder - 1) / t.cylinder * t.cylinder
			if extra := r.Start % t.cylinder; need > extra {
				need -= extra
			}
		}
		start := r.Start
		if logical && t.follows(start) {
			start += 1024 // what says that it is there is before it
		}
		if need == 0 || r.logical != logical || r.End-start < need || best != nil && best.size() <= r.size() {
			continue
		}
		best, at = r, def.Extent{Start: start, End: start + need}
	}
	if best == nil {
		return def.Extent{}, liberr.New(from, liberr.InternalError, "no large enough free extent")
	}
	return at, nil
}
