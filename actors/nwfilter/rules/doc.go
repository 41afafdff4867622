// Package rules makes nftables rules of network filters.
//
// Compile turns a binding (a port, its filter, its variables) into a Program: filters resolved, variables replaced, lists
// multiplied out, everything in the order in which it is matched. A Program knows nothing of the kernel; it is a value
// that can be printed and compared. A Backend brings programs into the kernel: NFTables is the one.
//
// A port has up to four chains of rules. Frames that the guest sends pass "link in" and then "net in"; frames for the
// guest pass "net out" and then "link out". The link chains hold the rules of mac, vlan, stp, arp, rarp, ip and ipv6, with
// their sub-chains; the net chains those of tcp, udp, icmp and so on, sorted by priority across all filters, with
// connection tracking. The names are the host's point of view, as in libvirt's chains; a rule's direction is the guest's:
// direction 'out' is what the guest sends.
//
// Counterpart: nwfilter_gentech_driver.c (resolving) and nwfilter_ebiptables_driver.c (rules).
package rules
