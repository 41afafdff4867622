// Package storage is the branch of storage pools and volumes: virtstoraged, and the storage driver of libvirtd.
//
// In: call.Call for the pool and volume procedures, call.Subscribe. Out: call.Reply, call.Event.
//
// The driver has no pools yet. It answers as libvirt's does when none is defined: lists are empty, every pool and volume
// is not found, in libvirt's words, and flags are checked first, as there. Procedures that would make a pool are not
// supported.
//
// Compat: the pool capabilities name every kind of pool with its formats as libvirt does, but none as supported, since
// none is; libvirt names those that it was built with.
//
// Counterpart: src/storage/storage_driver.c.
package storage
