// Package learn finds out which IPv4 address a guest uses, from the packets of its port: ARP and IP packets of the guest's
// own, and what DHCP servers assign to it.
//
// frame.go understands packets and is pure; watch_linux.go brings them from a packet socket.
//
// Compat: of ARP, the sender's address counts in requests, too; libvirt takes the address that is asked for, which is the
// guest's only when it announces itself.
//
// Counterpart: src/nwfilter/nwfilter_learnipaddr.c, nwfilter_dhcpsnoop.c.
package learn
