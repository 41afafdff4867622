package image

import "bytes"

const sector = 512

func luks(h *header, i *Info) error {
	i.Encryption = "luks"
	if h.be32(4)&0xffff == 1 { // the other version says it in a document of its own
		i.Payload = uint64(h.be32(104)) * sector
	}
	return nil
}

const (
	qedHasBacking = 1 << 0
	qedBackingRaw = 1 << 2
)

func qed(h *header, i *Info) (err error) {
	i.Capacity = h.le64(48)
	features := h.le64(16)
	if features&qedHasBacking == 0 {
		return nil
	}
	if features&qedBackingRaw != 0 {
		i.BackingFormat = "raw"
	}
	i.Backing, err = h.name(uint64(h.le32(56)), h.le32(60))
	return err
}

// vmdk has a text with a line that names the parent.
func vmdk(h *header, i *Info) (err error) {
	sectors := h.le64(12)
	if sectors > (1<<63)/sector {
		return broken("%d sectors", sectors)
	}
	i.Capacity = sectors * sector
	const descriptor, longest = 512, 20 * 1024
	h.grow()
	if len(h.b) <= descriptor {
		return nil
	}
	b := h.b[descriptor:min(len(h.b), descriptor+longest)]
	_, b, ok := bytes.Cut(b, []byte(`parentFileNameHint="`))
	if !ok {
		return nil
	}
	name, _, ok := bytes.Cut(b, []byte(`"`))
	if !ok || len(name) > maxName {
		return broken("the parent's name does not end")
	}
	i.Backing, err = text(name)
	return err
}

func cow(h *header, i *Info) (err error) {
	i.Capacity = h.be64(4 + 4 + 1024 + 4)
	if len(h.b) < 8+1024 {
		return nil
	}
	name, _, ok := bytes.Cut(h.b[8:8+1024], []byte{0})
	if !ok {
		return broken("the parent's name does not end")
	}
	i.Backing = string(name)
	return nil
}
