// Package node reads facts of the host from /proc and /sys, in the terms of libvirt's virNode* calls.
//
// Plain functions on a Node, whose root folder tests replace by a recorded tree. Nothing is remembered: every call reads
// what is true now, which costs microseconds to a few milliseconds; sysfs and procfs do not wait for disks. Errors that
// a client may see are *liberr.Error with libvirt's code and words. libvirt's counterparts are virhostcpu.c,
// virhostmem.c, virnuma.c, virnodesuspend.c, virsysinfo.c and viruuid.c.
package node
