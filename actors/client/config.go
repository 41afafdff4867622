package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/sockets"
	"virtree/sockets/sasl"
)

// Auth is how a client of one kind of socket proves who it is; the numbers are the wire's.
type Auth int32

// The ways to authenticate.
const (
	AuthNone Auth = iota
	AuthSASL
	AuthPolkit
)

// Config is what all clients of a server share. It is constant after start.
type Config struct {
	Name     string            // of the server as virt-admin shows it: "libvirtd", "virtqemud", "admin"
	Programs []uint32          // programs its sockets speak
	Daemon   string            // of the process: "virtqemud"
	Session  bool              // a per-user daemon
	Drivers  map[string]string // connection URI scheme -> branch, such as "qemu" -> "qemu"
	Primary  string            // scheme that an empty URI means
	// Branch finds a branch's actor; nil when the tree has none.
	Branch func(name string) *actor.PID

	// Elsewhere names the server of the process that has the branch, for a daemon that only opens doors: the
	// connection is handed over to it. nil where calls are to be relayed or served here.
	Elsewhere func(branch string) *actor.PID

	Auth       func(sockets.Kind) Auth
	Polkit     func(ctx context.Context, peer sockets.Peer, readOnly bool) error // nil without polkit
	SASL       *sasl.Server                                                      // nil without SASL
	Limits     Limits
	Keepalive  time.Duration // 0 or less: the server does not ping
	KeepCount  int
	Log        zerolog.Logger
	IdleChange func(clients int) // told when the number of clients changes

	calls   *atomic.Int64 // being served for all clients; made by NewServer
	figures *Figures      // made by NewServer
	seats   chan struct{} // of the waiting room; made by NewServer
}

// Limits bound a server; virt-admin changes them while it runs.
type Limits struct {
	Clients   int // connections
	Unauth    int // of these, not authenticated
	InFlight  int // calls of one connection that are being served
	Backlog   int // packets of one connection that are held, those that wait for their turn and those in flight
	BytesHeld int // bytes of them, data of streams apart; over either, its socket is not read
}

// DefaultLimits are libvirt's, but for InFlight, which is 5 there: one stuck guest and five calls on it
// would hold up all else its client does.
var DefaultLimits = Limits{Clients: 5000, Unauth: 20, InFlight: 64, Backlog: 1024, BytesHeld: 8 << 20}

// hypervisors are the schemes whose connections reach the secondary drivers too.
var hypervisors = map[string]bool{"qemu": true, "lxc": true, "xen": true, "ch": true, "bhyve": true, "vbox": true}

// secondaries maps the driver of a procedure to its branch.
var secondaries = map[string]string{
	"network": "network", "storage": "storage", "nodedev": "nodedev", "nwfilter": "nwfilter",
	"secret": "secret", "interface": "interface",
}

// CallerOf is the identity of a client, from what its connection tells.
func CallerOf(peer sockets.Peer, id uint64, readOnly, session bool) *call.Caller {
	c := &call.Caller{
		Client: id, ReadOnly: readOnly, Session: session,
		UID: peer.UID, GID: peer.GID, PID: peer.PID, PIDStart: peer.StartTime,
		User: peer.User, Group: peer.Group, SELinux: peer.SELinux,
		SASLUser: peer.SASLUser, X509Name: peer.X509DName, Transport: "unix",
	}
	switch peer.Kind {
	case sockets.TCP:
		c.Transport, c.Remote = "tcp", peer.RemoteAddr()
	case sockets.TLS:
		c.Transport, c.Remote = "tls", peer.RemoteAddr()
	}
	return c
}
