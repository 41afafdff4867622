// Package network is the branch of virtual networks: virtnetworkd, and the network driver of libvirtd.
//
// # What runs
//
// One branch actor (driver.go) holds the index: it answers lookups and lists, reads documents in jobs, gives out bridge
// names, and forwards what concerns one network to that network's actor (network.go), of which there is one each, supervised
// by the branch. A network's tasks run one after the other: each decides in the actor, does its blocking part in a job
// (bridge.go, dnsmasq.go, firewall.go, bandwidth.go, hooks.go) and is applied in the actor. Reads are answered at any
// time from the last known state.
//
//	document   tree.go xml*.go format.go check.go schema.go definition.go metadata.go
//	orders     lifecycle.go (pure), start.go edit.go update.go
//	ports      port.go (document) allocate.go (pure) ports.go pool.go (of virtual functions) macs.go
//	dnsmasq    dnsmasq.go (files) daemon.go (restart) leases.go leasehelper.go process_linux.go
//	kernel     bridge_linux.go bandwidth.go (steps of tc, pure) bandwidth_linux.go
//	firewall   firewall.go (rules, pure) firewall_linux.go (nftables) iptables.go firewalld.go (zones)
//	crashes    pending.go (starts), start.go (adoption)
//
// In: call.Call for the network and network port procedures, call.Subscribe. Out: call.Reply, call.Event with Object
// "network": lifecycle (ID 0) and metadata change (ID 1). Order: a summary of a network reaches the index before any answer
// that reveals it; events of one network come in the order in which they happened; between networks there is none.
//
// # What survives
//
// Everything is on disk in libvirt's layout (persist.go). A restart of an actor, of the branch or of the process touches
// nothing: the status file, the bridge in the kernel and dnsmasq's process are found again, ports come from their files. A
// network whose bridge is gone counts as stopped. A dnsmasq that dies is started again, at once and then with growing delays.
// The firewall of a network is one nftables table for each family, virtree_network_BRIDGE; with firewall_backend = "iptables"
// in network.conf it is rules in libvirt's own chains. When somebody removes tables, chains or rules, the kernel tells us and
// the network puts them back, with a line in the log. A network whose rules are of the other backend, ours or libvirtd's,
// changes over when it is adopted.
//
// A start says in NET.starting what it is about to do, so that one that was cut off is undone by the next load. What a status
// file or dnsmasq's files say, and an update or a port that was cut off contradicts, is put right at adoption.
//
// Networks marked for it start once per boot (the marker autostarted). No network is defined by itself: packages ship
// packaging/default.xml as /usr/share/libvirt/networks/default.xml and, on a host without any, copy it to
// /etc/libvirt/qemu/networks/default.xml with a UUID, as those of libvirt do; `virtree stock` does that.
//
// # Calls a hypervisor makes
//
// A driver that starts a guest with <interface type='network'> asks this branch, which it finds by env.Branch("network"),
// with call.Call messages like a client's; documents are those of libvirtxml.NetworkPort. The branch may be a process of its
// own or a foreign virtnetworkd: nothing else may pass between the two.
//
//	start    NetworkLookupByName{Name}                     -> Network; NoNetwork when there is none
//	         NetworkPortCreateXML{Network, XML, Flags: 0}  -> NetworkPort
//	         NetworkPortGetXMLDesc{Port}                   -> XML with <plug>, and bandwidth, vlan, virtualport, isolated and
//	                                                         trust as they hold for this guest
//	stop     NetworkPortDelete{Port}                       also when the start fails later, and when NIC is unplugged
//	adopt    NetworkPortLookupByUUID{Network, UUID}        NoNetworkPort, or NoNetwork: it was forgotten
//	         NetworkPortCreateXML{.., Flags: NetworkPortCreateReclaim}, with the <plug> of the live definition
//	update   NetworkPortSetParameters{Port, Params}        new bandwidth of a running guest ("inbound.average" ...)
//
// The document of a new port needs <uuid> (the caller makes it: it is portid in the guest's live definition), <owner> with
// <name> and <uuid>, and <mac address=>; <group> is the interface's portgroup. It must not have a <plug>. In the answer:
//
//	<plug type='network' bridge='virbr0' macTableManager='kernel|libvirt'/>  a tap on the network's own bridge; the actual type
//	                                         is network. Isolated when <port isolated='yes'/>. A floor of bandwidth is seen to
//	                                         here (classID says in which class); average, peak and burst are set on the tap
//	<plug type='bridge' bridge='br0'/>       a tap on a bridge of the host, or a port of Open vSwitch when <virtualport> says so;
//	                                         the actual type is bridge
//	<plug type='direct' dev='eth0' mode='vepa|private|bridge|passthrough'/>  a macvtap; the actual type is direct
//	<plug type='hostdev-pci' managed='yes'>  <driver name='vfio'/> <address .../>: a PCI device; the actual type is hostdev
//
// An inactive network answers OperationInvalid, "network 'x' is not active", which is what the guest's start fails with.
// Whether the way of connecting can have the <vlan> is for the caller to check, as in libvirt.
//
// Counterpart: src/network/bridge_driver.c, src/conf/network_conf.c.
package network
