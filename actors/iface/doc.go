// Package iface is the branch of the host's own network interfaces: virtinterfaced, and the interface driver of libvirtd.
//
// In: call.Call for the interface procedures. Out: call.Reply. Interfaces have no events.
//
// The kernel is the only state: each call is a job that reads sysfs (and /proc/net/vlan), so an answer is never stale
// and a restart loses nothing. Like libvirt's udev backend, which Debian builds, it only looks: defining, starting and
// stopping interfaces and transactions on the host's configuration are not supported.
//
// Lists leave out the taps of guests, as libvirt's do. Active is what the kernel calls up. The loopback, whose state the
// kernel does not know, is in neither of the old lists.
//
// Counterpart: src/interface/interface_backend_udev.c, src/conf/interface_conf.c.
package iface
