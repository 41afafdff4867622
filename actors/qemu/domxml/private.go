package domxml

import (
	"fmt"

	"virtree/actors/internal/xmltree"
)

// What libvirt notes in a status file about the images of a running guest: QEMU's names of their nodes and of the
// disks' devices. We can tell them from the images' numbers and the devices' names, so that it is written for libvirt
// and not read.

func notePrivate(devices *node) {
	for _, disk := range devices.All("disk") {
		noteNodes(disk, disk.Kid("source").Get("index"))
		if m := disk.Kid("mirror"); m != nil {
			noteNodes(m, m.Kid("source").Get("index"))
		}
		alias := disk.Kid("alias").Get("name")
		if alias == "" {
			continue
		}
		qom := alias
		if disk.Kid("target").Get("bus") == "virtio" {
			qom = "/machine/peripheral/" + alias + "/virtio-backend"
		}
		private := xmltree.Elem("privateData")
		private.Add(xmltree.Elem("qom", "name", qom))
		disk.Add(private)
	}
}

// noteNodes notes the nodes of an image and of those below it.
func noteNodes(image *node, index string) {
	source := image.Kid("source")
	if source == nil || index == "" {
		return
	}
	nodes := xmltree.Elem("nodenames")
	for _, kind := range []string{"storage", "format"} {
		nodes.Add(xmltree.Elem("nodename", "type", kind, "name", fmt.Sprintf("libvirt-%s-%s", index, kind)))
	}
	private := xmltree.Elem("privateData")
	private.Add(nodes)
	source.Add(private)
	if below := image.Kid("backingStore"); below != nil {
		noteNodes(below, below.Get("index"))
	}
}
