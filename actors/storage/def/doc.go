// Package def holds what storage documents say: pools and volumes, read from XML and printed as libvirt prints them.
//
// It is pure: no file is opened here. What a backend finds out about a pool or a volume (sizes, permissions, formats of
// images) is put into the same types, so that one formatter prints both.
//
// Counterpart: src/conf/storage_conf.c.
package def
