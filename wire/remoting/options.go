package remoting

import (
	"context"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/wire/remoting/dispatch"
)

// Options are constant after Start. The zero value of each field means its default.
type Options struct {
	// Path is where this node listens. Empty: it only dials, and is reached over the connections it made.
	Path string
	// Listener is used instead of binding Path, when the service manager has made the socket.
	// Path still says its name.
	Listener *net.UnixListener
	// AllowedUIDs may connect. Default: the effective uid. A listener that we dial may also be
	// root's: under socket activation the credentials are those of the service manager.
	AllowedUIDs []uint32
	Logger      zerolog.Logger
	Registry    *Registry

	// Dial connects to another node's address; the activation hook. Default: connect to the path in the address.
	Dial func(ctx context.Context, address string) (*net.UnixConn, error)
	// OnUndeliverable answers for a message that did not reach its actor, or a request whose answer will not
	// come. It runs on the sender's goroutine or on one of the node's, and must not block. sender is where the
	// answer goes, and is never nil. msg is nil when only the peer knew what it was.
	// Default: the sender gets the *Failure.
	OnUndeliverable func(sender *actor.PID, msg any, reason *Failure)

	// Dispatcher, if the system's actors are spawned with it, lets a link's reader run the actor that a message is
	// for: half the latency. Default: none.
	Dispatcher *dispatch.Dispatcher

	// While a peer is waited for, for an answer or for it to read what was sent, Heartbeat is how often it is asked for a sign of
	// life if it sends nothing by itself; Misses such periods without a byte end the link. A link that nobody waits on
	// is silent. Default: 2 s and 3.
	Heartbeat time.Duration
	Misses    int
	// DialTimeout bounds connecting and the handshake, and so how long a message waits for a link. Default: 5 s.
	DialTimeout time.Duration
	// A failed dial is not repeated before BackoffMin has passed, doubling up to BackoffMax. Default: 25 ms, 2 s.
	BackoffMin, BackoffMax time.Duration

	// Patience is how long after its link was lost a peer is expected back: messages to it wait so long for a new link instead
	// of failing at once. Default: 5 s; negative: not at all.
	Patience time.Duration
	// Later keeps those who dial waiting until Serve: a process is reachable by its name before its actors are there.
	Later bool

	// MaxFrame is the largest encoded message. Default: 40 MiB, libvirt's 32 MiB payload and room for the rest.
	MaxFrame int
	// QueueBytes and QueueMessages are what one peer's queue holds before messages are undeliverable with
	// Busy. Replies may use twice as much; past four times as much the link is closed, since such a peer
	// asks and does not read. A message that finds the queue empty is always taken. Default: 64 MiB, 16384.
	QueueBytes, QueueMessages int
}

func (o Options) withDefaults() Options {
	def(&o.Heartbeat, 2*time.Second)
	def(&o.Misses, 3)
	def(&o.DialTimeout, 5*time.Second)
	def(&o.BackoffMin, 25*time.Millisecond)
	def(&o.BackoffMax, 2*time.Second)
	def(&o.Patience, 5*time.Second)
	def(&o.MaxFrame, 40<<20)
	def(&o.QueueBytes, 64<<20)
	def(&o.QueueMessages, 16384)
	def(&o.Registry, defaultRegistry)
	if o.AllowedUIDs == nil {
		o.AllowedUIDs = []uint32{uint32(unix.Geteuid())}
	}
	if o.Dial == nil {
		o.Dial = dialPath
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func dialPath(ctx context.Context, address string) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", address[len(scheme):])
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
