// Package rules makes nftables rules of network filters.
//
// Compile turns a binding (a port, its filter, its variables) into a Program: filters resolved, variables replaced, lists
// multiplied out, everything in the order in which it is matched. A Program knows nothing of the kernel; it is a value
// that can be printed and compared. A Backend brings programs into the kernel: NFTables is the one. Nothing here is an
// actor; Apply and Remove block and belong into jobs.
//
// # The way of a packet
//
//	guest --> link-in --> net-in --> bridge --> net-out --> link-out --> guest
//	                         |
//	                         +-----> host                   host --> link-out --> guest
//
// The link chains hold the rules of mac, vlan, stp, arp, rarp, ip and ipv6, with their sub-chains; the net chains those of
// tcp, udp, icmp and so on, sorted by priority across all filters, with connection tracking. Names are the host's point of
// view, as in libvirt's chains; a rule's direction is the guest's: direction 'out' is what the guest sends.
//
// Compat: as with libvirt, net chains are not asked about what the host itself sends or routes to a guest, because its
// iptables do not see the port then. At the end of a chain a packet is accepted, in sub-chains too.
//
// # In the kernel
//
// Link chains stand in family bridge. So do net chains where the kernel tracks connections of bridges
// (nf_conntrack_bridge, since Linux 5.3 in all distributions); br_netfilter is not needed then. On other kernels net chains
// stand in families ip and ip6, whose hooks see what crosses a bridge if br_netfilter is there and its switch is on, and
// tell ports by xtables' physdev, as libvirt's do. Single chains stand there in any case: those that look up sets of the
// ipset tool or limit connections, which only matches of xtables can do, and those that reject what is for the guest,
// since a bridge rejects only where packets come in. kernel_linux.go has the tables, transaction_linux.go how they change.
//
// Rules that have conditions in common, or differ in one field alone, are folded before they go to the kernel (fold.go,
// set.go).
//
// Counterpart: nwfilter_gentech_driver.c (resolving) and nwfilter_ebiptables_driver.c (rules).
package rules
