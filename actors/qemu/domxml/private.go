package domxml

import "fmt"

// What libvirt notes in a status file about the images of a running guest: QEMU's names of their nodes and of the
// disks' devices. We can tell them from the images' numbers and the devices' names, so that it is written for libvirt
// and not read.

func notePrivate(devices *node) {
	for _, disk := range devices.all("disk") {
		noteNodes(disk, disk.kid("source").get("index"))
		if m := disk.kid("mirror"); m != nil {
			noteNodes(m, m.kid("source").get("index"))
		}
		alias := disk.kid("alias").get("name")
		if alias == "" {
			continue
		}
		qom := alias
		if disk.kid("target").get("bus") == "virtio" {
			qom = "/machine/peripheral/" + alias + "/virtio-backend"
		}
		private := elem("privateData")
		private.add(elem("qom", "name", qom))
		disk.add(private)
	}
}

// noteNodes notes the nodes of an image and of those below it.
func noteNodes(image *node, index string) {
	source := image.kid("source")
	if source == nil || index == "" {
		return
	}
	nodes := elem("nodenames")
	for _, kind := range []string{"storage", "format"} {
		nodes.add(elem("nodename", "type", kind, "name", fmt.Sprintf("libvirt-%s-%s", index, kind)))
	}
	private := elem("privateData")
	private.add(nodes)
	source.add(private)
	if below := image.kid("backingStore"); below != nil {
		noteNodes(below, below.get("index"))
	}
}
