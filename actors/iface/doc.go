// Package iface is the branch of the host's own network interfaces: virtinterfaced, and the interface driver of libvirtd.
//
// In: call.Call for the interface procedures. Out: call.Reply. Interfaces have no events.
//
// The kernel and the host's configuration are the only state: each call is a job that reads sysfs (and /proc/net/vlan) and
// the configuration, so an answer is never stale and a restart loses nothing. Reads run side by side; changes run one
// after another, in the order of the calls.
//
//	host.go      what there is: the kernel's links, and those that are defined only
//	describe.go  a link as the kernel has it, as a document
//	change.go    define and undefine, start and stop, begin, commit and roll back
//	def          documents: read, checked, printed
//	conf         the configuration's files (ifupdown's or networkd's), and the transactions on them
//	live         who starts and stops: ifup and ifdown, networkctl, or netlink from here
//
// On a host with neither of the two configurations, and in a session, the driver is what libvirt's udev backend is, which
// Debian builds: it only looks, and answers the rest as not supported. Where there is one it is what libvirt's netcf
// backend is elsewhere: errors have its words, a transaction its rules.
//
// Lists leave out the taps of guests and the ports of bridges, as libvirt's do. Active is what the kernel calls up, and of interfaces that are
// defined those that were brought up. The loopback, whose state the kernel does not know, is in neither of the old lists.
//
// Counterpart: src/interface/interface_backend_udev.c, interface_backend_netcf.c, src/conf/interface_conf.c.
package iface
