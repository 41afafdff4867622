package command

import (
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/caps"
)

// EjectMedium takes the medium out of a drive: first the commands on the drive, then those that close the images. force
// overrides a guest that has locked the tray; where it has, the first command fails until the guest lets go.
func EjectMedium(def *libvirtxml.Domain, d *libvirtxml.DomainDisk, force bool) (open []QMP, after []QMP) {
	id := aliasOf(d.Alias)
	open = []QMP{
		{"blockdev-open-tray", Props{{"id", id}, {"force", force}}},
		{"blockdev-remove-medium", Props{{"id", id}}},
	}
	if sourceEmpty(d.Source) {
		return open, nil
	}
	b := newBuilder(def, nil, &Runtime{})
	b.numberDisk(d)
	for _, m := range b.links(d) {
		for _, node := range []string{FormatNode(m.node), StorageNode(m.node)} {
			after = append(after, QMP{"blockdev-del", Props{{"node-name", node}}})
		}
	}
	return open, after
}

// InsertMedium opens the images of a drive's new medium and puts it in. The tray is open; it is closed at the end.
func InsertMedium(def *libvirtxml.Domain, c *caps.Caps, rt Runtime, d *libvirtxml.DomainDisk) (*Plug, error) {
	b := newBuilder(def, c, &rt)
	b.plug, b.fdset, b.nextNode = true, rt.NextFDSet, rt.NextNode
	b.numberDisk(d)
	id := aliasOf(d.Alias)
	if !sourceEmpty(d.Source) {
		node, err := b.chain(d)
		if err != nil {
			return nil, err
		}
		b.add(step{command: "blockdev-insert-medium", args: Props{{"id", id}, {"node-name", node}},
			undo: &QMP{"blockdev-remove-medium", Props{{"id", id}}}})
	}
	b.add(step{command: "blockdev-close-tray", args: Props{{"id", id}}})
	return b.plugged(), nil
}
