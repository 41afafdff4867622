package command

import "virtree/wire/liberr"

// hugepageFor is the huge page size of a guest node, and whether it has one; a size of 0 is the host's default.
func (b *builder) hugepageFor(cell int) (uint64, bool) {
	h := b.backing().MemoryHugePages
	if h == nil {
		return 0, false
	}
	var general *uint64
	for _, p := range h.Hugepages {
		size := kib(uint64(p.Size), p.Unit)
		if p.Nodeset == "" {
			general = &size
			continue
		}
		if set, err := parseSet(p.Nodeset); err == nil && cell >= 0 {
			for _, n := range set {
				if n == cell {
					return size, size > ordinaryPageKiB
				}
			}
		}
	}
	switch {
	case general != nil:
		return *general, *general > ordinaryPageKiB
	case len(h.Hugepages) == 0:
		return b.defaultHugepage(), true
	}
	return 0, false
}

// ordinaryPageKiB is the size that needs no hugetlbfs.
const ordinaryPageKiB = 4

func (b *builder) defaultHugepage() uint64 {
	for _, m := range b.rt.Hugepages {
		if m.Default {
			return m.SizeKiB
		}
	}
	return 0
}

func (b *builder) hugepageMount(sizeKiB uint64) (HugepageMount, error) {
	if len(b.rt.Hugepages) == 0 {
		return HugepageMount{}, internal("hugetlbfs filesystem is not mounted or disabled by administrator config")
	}
	for _, m := range b.rt.Hugepages {
		if m.SizeKiB == sizeKiB || (sizeKiB == 0 && m.Default) {
			return m, nil
		}
	}
	return HugepageMount{}, liberr.New(liberr.FromQemu, liberr.InternalError,
		"Unable to find any usable hugetlbfs mount for %d KiB", sizeKiB)
}
