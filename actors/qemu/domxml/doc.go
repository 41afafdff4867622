// Package domxml is the domain XML engine of the QEMU driver: what a client sends goes in, what libvirt 9.0.0 would keep
// and print comes out, byte for byte.
//
// It owns no state and starts nothing: every function is pure, apart from the few questions about the host that Env
// answers. Actors call it from jobs (Parse) or straight from Receive (Format of a definition they own).
//
// The definition travels through the driver as *libvirtxml.Domain. Inside this package it is an ordered tree, because
// that is what a document is: libvirtxml's structs know neither libvirt's order of elements nor the difference between
// an empty element and a missing one. A document goes through these steps:
//
//	bytes ─ scan.go ─▶ tree ─ grammar.go ─▶ known elements only
//	  ─ check_*.go ──▶ values checked and normalised, element group by element group (libvirt's "parse")
//	  ─ defaults_*.go ▶ defaults and implied devices (libvirt's "post parse")
//	  ─ address*.go ──▶ PCI, drive, virtio-serial, CCID, USB, DIMM addresses, with the controllers they need
//	  ─ validate.go ──▶ what the driver or the binary cannot do is refused
//	  ─ convert.go ───▶ *libvirtxml.Domain
//
// Format goes the other way: struct, tree, order of the grammar, text. grammar.go is the table of contents of the
// format: one line per element with its attributes and children in the order libvirt prints them. Whatever it does not
// name is dropped without a word, as libvirt does.
//
// The libvirt counterparts are domain_conf.c, domain_postparse.c, domain_validate.c, domain_addr.c in src/conf, and
// qemu_domain.c, qemu_domain_address.c, qemu_validate.c in src/qemu.
package domxml
