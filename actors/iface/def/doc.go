// Package def holds what an interface of the host is to be: the <interface> document, read, checked and printed as
// libvirt does it.
//
// Parse reads what a client sends and complains in libvirt's words. Check is what netcf, the library behind libvirt's
// defining interface driver, refuses by its schema: addresses, prefixes, tags and names that no configuration can hold.
// Format prints; Parse of what it printed gives the same again. All of it is pure.
//
// Counterpart: src/conf/interface_conf.c, and interface.rng.
package def
