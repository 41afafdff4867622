package actors

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/actors/peer"
	"virtree/supervisors"
)

// A driver of the tree may be served by libvirt's own daemon when the configuration says so (foreign_drivers, or
// --foreign). In its place stands a peer, in each process that asks for the driver. It is never guessed from the sockets
// that are there: a daemon of ours that is idle has left, and its socket is the service manager's.

// foreigners are the drivers of others.
type foreigners struct {
	sockets map[string]string // by branch, as configured; "" is the usual socket

	mu    sync.Mutex // any goroutine may be the first to ask
	peers map[string]*actor.PID
}

// readForeign understands the entries "network" and "network=/path/to/socket".
func (d *daemon) readForeign() error {
	d.foreign.sockets = map[string]string{}
	for _, entry := range slices.Concat(d.conf.ForeignDrivers, d.opts.Foreign) {
		name, socket, _ := strings.Cut(entry, "=")
		if !slices.Contains(peer.Drivers, name) {
			return fmt.Errorf("foreign driver '%s': not one of %s", name, strings.Join(peer.Drivers, ", "))
		}
		if len(d.kind.spec) == 1 && d.kind.spec[0].Name == name {
			return fmt.Errorf("foreign driver '%s': it is the one that %s itself serves", name, d.kind.daemon)
		}
		d.foreign.sockets[name] = socket
	}
	return nil
}

// foreignFlags hand the drivers of others on to the processes of a split tree.
func (d *daemon) foreignFlags() (args []string) {
	for name, socket := range d.foreign.sockets {
		if socket != "" {
			name += "=" + socket
		}
		args = append(args, "--foreign", name)
	}
	return args
}

// isForeign tells whether somebody else serves a branch.
func (d *daemon) isForeign(name string) bool {
	_, ok := d.foreign.sockets[name]
	return ok
}

// newPeer makes the actor that stands for a branch.
func (d *daemon) newPeer(name string) *actor.Props {
	at := peer.At(d.paths, name, d.foreign.sockets[name])
	return kit.Props(peer.New(name, at, d.logs.Logger("peer")), kit.Kind("peer"))
}

// peerOf is the actor that stands for a branch which this process does not have itself.
func (d *daemon) peerOf(name string) *actor.PID {
	d.foreign.mu.Lock()
	defer d.foreign.mu.Unlock()
	if pid := d.foreign.peers[name]; pid != nil {
		return pid
	}
	pid, err := d.system.Root.SpawnNamed(d.newPeer(name), "peer-"+name)
	if err != nil {
		d.log.Error().Err(err).Str("driver", name).Msg("cannot start a peer")
		return nil
	}
	if d.foreign.peers == nil {
		d.foreign.peers = map[string]*actor.PID{}
	}
	d.foreign.peers[name] = pid
	return pid
}

// ownHost is the tree of this host without the drivers that others serve.
func (d *daemon) ownHost() supervisors.Spec {
	var names []string
	for name := range d.foreign.sockets {
		names = append(names, name)
	}
	return supervisors.Host.Without(names...)
}
