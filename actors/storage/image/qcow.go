package image

const (
	extBackingFormat = 0xe2792aca
	bitExtendedL2    = 1 << 4 // incompatible feature
	bitLazyRefcounts = 1 << 0 // compatible feature
)

func qcow1(h *header, i *Info) (err error) {
	i.Capacity = h.be64(24)
	if h.be32(36) == 1 {
		i.Encryption = "qcow"
	}
	i.Backing, err = h.name(h.be64(8), h.be32(16))
	return err
}

func qcow2(h *header, i *Info) (err error) {
	bits := h.be32(20)
	if bits < 9 || bits > 21 {
		return broken("cluster size of 2^%d", bits)
	}
	i.ClusterSize = 1 << bits
	i.Capacity = h.be64(24)
	switch h.be32(32) {
	case 1:
		i.Encryption = "qcow"
	case 2:
		i.Encryption = "luks"
	}
	extensions := uint64(72)
	if h.be32(4) == 3 {
		i.Compat, i.Extended = "1.1", true
		i.ExtendedL2 = h.be64(72)&bitExtendedL2 != 0
		i.LazyRefcounts = h.be64(80)&bitLazyRefcounts != 0
		if extensions = uint64(h.be32(100)); extensions < 104 {
			return broken("header of %d bytes", extensions)
		}
	}
	backing := h.be64(8)
	if i.Backing, err = h.name(backing, h.be32(16)); err != nil || i.Backing == "" {
		return err
	}
	if min(backing, front) > first {
		h.grow()
	}
	for at := extensions; at+8 <= uint64(len(h.b)) && at+8 <= backing; {
		kind, length := h.be32(int(at)), uint64(h.be32(int(at)+4))
		at += 8
		if kind == 0 || at+length > uint64(len(h.b)) {
			break
		}
		if kind == extBackingFormat {
			i.BackingFormat, err = text(h.b[at : at+length])
			return err
		}
		at += (length + 7) &^ 7
	}
	return nil
}
