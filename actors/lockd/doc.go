// Package lockd is the lock program: virtlockd, which holds leases on disk images and other resources for guests, so that
// no two of them write to the same one.
//
// In: call.Call for the procedures of the lock program, from clients of virtlockd's socket and from drivers of the tree.
// Out: call.Reply. A connection first registers an owner, in whose name it then acquires and releases.
//
//	free --acquire--> [opening] --locked--> held by 1..n owners --last release, owner's end--> free
//	                      \--somebody else has it--> resource busy
//
// A lease is an open file description with an OFD lock on its first byte, as virtlockd's are, so that both exclude each
// other, on a cluster's file system too. A lockspace is a folder with a file per resource; in the default one, whose name
// is empty, the resource is the path of the image itself.
//
// Drivers of the tree ask otherwise (hold.go): Ask takes several leases for a guest's process, all or none; the branch watches
// the process by a pidfd and lets go of them when it ends, whether or not the driver that asked is still there.
//
// When a connection ends, the leases of its owner end with it, if it is the owner's own: its process is the owner, or it
// is an actor of the tree. A connection in the name of another process (libvirtd plugging a disk into its guest) leaves
// them as they are, as with virtlockd.
//
// Compat: virtlockd also kills a process that closed its connection while it held leases. We do not: the tree's own
// drivers hold connections for guests, and they must not die for it.
//
// Files are opened and locked in jobs; calls on one resource are served in their order, others do not wait for them.
// Leases live in this process: they outlive a crash of the actor, and end with the process.
//
// Counterpart: src/locking/lock_daemon_dispatch.c, src/util/virlockspace.c.
package lockd
