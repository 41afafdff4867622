// Package nwfilter is the branch of network filters and their bindings: virtnwfilterd, and the nwfilter driver of libvirtd.
//
// # What runs
//
// One branch actor owns all filters and bindings: a filter is a text that nothing happens to by itself, and a change of one
// may concern every port. Reads are answered at once from the index. Changes run one after the other (change.go): decide in
// the actor, do in a job (documents, kernel, disk), apply in the actor, then answer; what was answered is on the disk.
//
//	documents   def (parse, print), rules (nftables); resolve.go is between them: which variables are missing, which
//	            ports a filter reaches
//	changes     change.go (the queue), filters.go, bindings.go, install.go (what a port is given)
//	learning    learn.go, leases.go; learn/ (packets); restrict.go (what a port may do until its address is known)
//	kernel      repair.go (what others remove), takeover_linux.go (what libvirtd made)
//	disk        store.go, stock.go
//
// In: call.Call for the nwfilter and nwfilter binding procedures, call.Subscribe. Out: call.Reply. Filters have no events.
//
// A port's rules are one nftables transaction. A filter that is redefined is applied to all ports that use it, directly or
// by reference, in one transaction, before the call is answered; when that fails for one of them, nothing has changed.
//
// # Addresses
//
// A filter that uses $IP on a port whose binding has none waits until the address is known. As parameter CTRL_IP_LEARNING
// says, it comes from the guest's first ARP or IP packet, or from what a DHCP server assigns ("any", the default), from
// DHCP alone ("dhcp", with leases that end), or the binding is refused ("none").
//
// # What survives
//
// Everything is on disk in libvirt's layout: /etc/libvirt/nwfilter/NAME.xml, /run/libvirt/nwfilter-binding/PORT.xml,
// /run/libvirt/network/nwfilter.leases. A restart of the actor or the process reads it again and makes the kernel's rules
// what they should be, port by port without a gap; rules of ports without a binding go. Rules that somebody else removes
// are put back. A binding whose link is not there has no rules, as in libvirt, until it is made again.
//
// No filter is defined by itself: packages ship packaging/*.xml as /usr/share/libvirt/nwfilter and on a host without them
// copy them to /etc/libvirt/nwfilter, as those of libvirt do; `virtree stock` does that.
//
// # Calls a hypervisor makes
//
// A driver that starts a guest with <filterref> sends this branch, which it finds by env.Branch("nwfilter"), call.Call
// messages like a client's; documents are those of libvirtxml.NWFilterBinding.
//
//	start, plug     NwfilterBindingCreateXML{XML}                  the tap must exist; OperationFailed when the port has one
//	stop, unplug    NwfilterBindingDelete{Nwfilter{Portdev}}       NoNwfilterBinding when there is none
//	adopt           NwfilterBindingLookupByPortDev{Name}           and create it again when it was forgotten
//
// Counterpart: src/nwfilter/nwfilter_driver.c, nwfilter_gentech_driver.c, nwfilter_learnipaddr.c, nwfilter_dhcpsnoop.c.
package nwfilter
