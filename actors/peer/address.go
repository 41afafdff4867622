package peer

import (
	"os"

	"virtree/supervisors"
	"virtree/supervisors/paths"
)

// Drivers are those that a foreign daemon may serve, by the names of their branches. Each has its own daemon, and URIs of
// its own.
var Drivers = []string{"network", "nwfilter", "storage", "secret", "nodedev", "interface"}

// Address is where a driver's daemon listens and what is opened there.
type Address struct {
	Socket string // empty: looked for among the usual ones
	URI    string // network:///system
	Paths  paths.Paths
	Daemon string // virtnetworkd

	sameProcess bool // of tests: the daemon may be this process
}

// At is the address of a branch's foreign daemon. socket is the one that the configuration names, or empty.
func At(p paths.Paths, branch, socket string) Address {
	mode := "system"
	if p.Session {
		mode = "session"
	}
	b, _ := supervisors.Host.Find(branch)
	return Address{Socket: socket, URI: branch + ":///" + mode, Paths: p, Daemon: b.Daemon}
}

// Find returns the socket to connect to now, as libvirt's clients choose: the driver's own daemon where its socket is,
// else libvirtd's.
func (a Address) Find() string {
	if a.Socket != "" {
		return a.Socket
	}
	own := a.Paths.Socket(a.Daemon)
	if !isSocket(own) && isSocket(a.Paths.Socket("libvirtd")) {
		return a.Paths.Socket("libvirtd")
	}
	return own
}

func isSocket(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode()&os.ModeSocket != 0
}
