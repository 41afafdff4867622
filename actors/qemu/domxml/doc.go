// Package domxml is the domain XML engine of the QEMU driver: what a client sends goes in, what libvirt 9.0.0 would keep
// and print comes out, byte for byte.
//
// It owns no state and starts nothing: every function is pure, apart from the few questions about the host that Env
// answers (and ValidateSchema, which runs xmllint). Actors call it from jobs (Parse may have a binary probed) or straight
// from Receive (Format of a definition they own).
//
// The definition travels through the driver as *libvirtxml.Domain. Inside this package it is an ordered tree, because
// that is what a document is: libvirtxml's structs know neither libvirt's order of elements nor the difference between
// an empty element and a missing one. A document goes through these steps:
//
//	bytes ─ xmltree ──▶ tree ─ grammar.go ─▶ known elements only, in libvirt's order
//	  ─ check_*.go ───▶ values checked and normalised, element group by element group (libvirt's "parse")
//	  ─ defaults_*.go ▶ defaults and implied devices (libvirt's "post parse")
//	  ─ address*.go, pci*.go ▶ PCI, drive, virtio-serial, CCID, USB, DIMM addresses, with the controllers they need
//	  ─ validate*.go ─▶ what makes no sense, or the driver or the binary cannot do, is refused
//	  ─ convert.go ───▶ *libvirtxml.Domain
//
// Format goes the other way: struct, tree, order of the grammar, the view the flags ask for (present.go,
// migratable.go), text. Devices come and go through ParseDevice, Attach, Detach and Update (device.go, attach.go,
// detach.go), get their QEMU names in alias.go, and metadata has metadata.go.
//
// grammar.txt is the table of contents of the format: one line per element with its attributes and children in the
// order libvirt prints them. Whatever it does not name is dropped without a word, as libvirt does. values.txt says what
// attributes may hold.
//
// The tests compare with recordings of libvirtd 9.0.0: testdata/define (documents and what libvirtd made of them),
// reject (documents and what it refused them with), live (running domains), attach, migratable, metadata.txt. With
// -update they are recorded again from the libvirtd of the machine, with -random N both sides are asked about random
// documents.
//
// Known differences: a document type's own entities are not read; <qemu:env value=”/> comes back without its value;
// controllers keep their order when the daemon reads its own files; a vCPU count no machine has is refused where
// libvirtd runs out of memory; of two faults in one document another one may be named.
//
// The libvirt counterparts are domain_conf.c, domain_postparse.c, domain_validate.c, domain_addr.c in src/conf, and
// qemu_domain.c, qemu_domain_address.c, qemu_validate.c in src/qemu.
package domxml
