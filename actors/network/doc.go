// Package network is the branch of virtual networks: virtnetworkd, and the network driver of libvirtd.
//
// In: call.Call for the network and network port procedures, call.Subscribe. Out: call.Reply, call.Event.
//
// The driver has no networks yet. It answers as libvirt's does when none is defined: lists are empty, every name, UUID
// and object is not found, in libvirt's words, and flags are checked first, as there. Procedures that would make a
// network (define, create) are not supported. Nothing is held that a restart could lose.
//
// Counterpart: src/network/bridge_driver.c.
package network
