package actors

import (
	"virtree/supervisors"
	"virtree/wire/protocol"
)

// kind is what a daemon of a name is: its branches and what its sockets speak.
type kind struct {
	daemon  string
	spec    supervisors.Spec
	sockets supervisors.Sockets
	// schemes maps the scheme of a connection URI to the branch that serves it; primary is what no URI means.
	schemes  map[string]string
	primary  string
	programs []uint32
}

// secondaries are the drivers that serve URIs of their own, by scheme.
var secondaries = []string{"network", "storage", "nodedev", "nwfilter", "secret", "interface"}

// kindOf finds the daemon of a name: the monolith, a proxy, or one branch.
func kindOf(daemon string) (kind, bool) {
	libvirt := []uint32{protocol.RemoteProgram, protocol.QemuProgram, protocol.LxcProgram}
	all := map[string]string{"qemu": "qemu"}
	for _, s := range secondaries {
		all[s] = s
	}
	switch daemon {
	case "libvirtd", "virtree":
		return kind{"libvirtd", supervisors.Monolith, supervisors.AllUNIX | supervisors.SocketIP, all, "qemu", libvirt}, true
	case "virtproxyd":
		spec, _ := supervisors.Host.Only("proxy")
		return kind{daemon, spec, supervisors.AllUNIX | supervisors.SocketIP, all, "qemu", libvirt}, true
	}
	b, ok := supervisors.Host.Find(daemon)
	if !ok || b.Daemon != daemon {
		return kind{}, false
	}
	spec, err := supervisors.Host.Only(b.Name)
	if err != nil {
		return kind{}, false
	}
	k := kind{daemon: daemon, spec: spec, sockets: b.Sockets, schemes: map[string]string{b.Name: b.Name}, primary: b.Name, programs: libvirt}
	switch b.Name {
	case "logd":
		k.programs, k.schemes, k.primary = []uint32{protocol.LogProgram}, nil, ""
	case "lockd":
		k.programs, k.schemes, k.primary = []uint32{protocol.LockProgram}, nil, ""
	}
	return k, true
}

// Daemons lists the names under which the binary is a daemon.
func Daemons() []string {
	names := []string{"libvirtd"}
	for _, b := range supervisors.Host {
		names = append(names, b.Daemon)
	}
	return names
}
