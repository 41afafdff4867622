package supervisors

import "time"

// Host is the tree of a libvirt host, all of it:
//
//	root                                      one process: libvirtd;  split: one process per line below
//	 +- logd       virtlogd        keeps the output of every QEMU: first to come, last to go
//	 +- lockd      virtlockd       leases on disks
//	 +- secret     virtsecretd
//	 +- nwfilter   virtnwfilterd
//	 +- nodedev    virtnodedevd
//	 +- interface  virtinterfaced
//	 +- network    virtnetworkd    asks nwfilter for the filters of its ports
//	 +- storage    virtstoraged    asks secret for the keys of its pools
//	 +- qemu       virtqemud       asks all of the above
//	 |   +- <uuid>                 one actor per domain, its monitor and jobs below it
//	 +- proxy      virtproxyd      split only: libvirt-sock, relays to the branches
//
// Names are what clients know: a branch is the driver part of a direct URI (network:///system).
var Host = Spec{
	{Name: "logd", Daemon: "virtlogd", Autostart: true, Sockets: SocketRW | SocketAdmin},
	{Name: "lockd", Daemon: "virtlockd", Autostart: true, Sockets: SocketRW | SocketAdmin},
	{Name: "secret", Daemon: "virtsecretd", Autostart: true, Sockets: AllUNIX},
	{Name: "nwfilter", Daemon: "virtnwfilterd", Autostart: true, Sockets: AllUNIX},
	{Name: "nodedev", Daemon: "virtnodedevd", Autostart: true, Sockets: AllUNIX},
	{Name: "interface", Daemon: "virtinterfaced", Autostart: true, Sockets: AllUNIX},
	{Name: "network", Daemon: "virtnetworkd", Autostart: true, Sockets: AllUNIX, Needs: []string{"nwfilter"}},
	{Name: "storage", Daemon: "virtstoraged", Autostart: true, Sockets: AllUNIX, Needs: []string{"secret"}},
	{Name: "qemu", Daemon: "virtqemud", Autostart: true, Sockets: AllUNIX,
		Needs:    []string{"logd", "lockd", "secret", "nwfilter", "network", "storage", "nodedev"},
		Shutdown: 20 * time.Second},
	{Name: "proxy", Daemon: "virtproxyd", Autostart: true, Sockets: AllUNIX | SocketIP,
		Needs: []string{"qemu", "network", "storage", "secret", "nwfilter", "nodedev", "interface"}},
}

// Monolith is the tree in one process, under libvirtd's name: the same without the proxy, whose sockets libvirtd has.
var Monolith = Host.Without("proxy")
