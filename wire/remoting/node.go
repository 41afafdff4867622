package remoting

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
)

// Addresses are scheme + path for a node that listens, anonymous + number for one that only dials.
const (
	scheme    = "unix:"
	anonymous = "unix-anonymous:"
	nonhost   = "nonhost" // protoactor's address of a PID made before SetAddress
)

// Node connects one actor system with its peers.
type Node struct {
	system      *actor.ActorSystem
	opts        Options
	address     string
	incarnation uint64 // tells a restarted peer from a reconnecting one
	listener    *net.UnixListener
	ctx         context.Context // ends with Close
	cancel      context.CancelFunc
	running     sync.WaitGroup // goroutines of the node
	beating     atomic.Bool    // the heartbeat ticks
	leaving     atomic.Bool    // goodbye was said
	awaited     chan struct{}  // wakes it; holds one token

	mu        sync.RWMutex
	endpoints map[string]*endpoint // by address
	visitors  traffic
	closed    bool
	serving   bool
}

// Address is the address of the node that listens on path.
func Address(path string) string { return scheme + path }

// SetAddress gives the system the address that peers reach it by; an empty path gives it one of its own. It
// must come before the first spawn: PIDs made earlier say "nonhost", which every process takes for itself.
func SetAddress(system *actor.ActorSystem, path string) {
	address := Address(path)
	if path == "" {
		address = fmt.Sprintf("%s%d-%x", anonymous, os.Getpid(), random())
	}
	system.ProcessRegistry.Address = address
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// Start makes system reachable at opts.Path and lets its actors send to PIDs of other nodes. It sets the
// system's address if SetAddress has not. Call it before any actor sends to another node.
func Start(system *actor.ActorSystem, opts Options) (*Node, error) {
	opts = opts.withDefaults()
	if want, have := Address(opts.Path), system.Address(); have == nonhost {
		SetAddress(system, opts.Path)
	} else if opts.Path != "" && have != want {
		return nil, fmt.Errorf("remoting: the actor system is %s and cannot listen as %s", have, want)
	}
	n := &Node{
		system:      system,
		opts:        opts,
		address:     system.Address(),
		incarnation: random(),
		listener:    opts.Listener,
		awaited:     make(chan struct{}, 1),
		endpoints:   map[string]*endpoint{},
	}
	if n.listener == nil && opts.Path != "" {
		l, err := listen(opts.Path)
		if err != nil {
			return nil, fmt.Errorf("remoting: %w", err)
		}
		n.listener = l
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	system.ProcessRegistry.RegisterAddressResolver(n.resolve)
	n.running.Go(n.heartbeat)
	if !opts.Later {
		n.Serve()
	}
	return n, nil
}

// Serve begins to accept connections, where Options.Later has put it off. Who has dialled before has waited.
func (n *Node) Serve() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil || n.closed || n.serving {
		return
	}
	n.serving = true
	n.running.Go(n.accept)
}

// listen binds path for this user only, in place of a socket that nobody serves any more.
func listen(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		conn, dialErr := net.Dial("unix", path)
		if dialErr == nil {
			_ = conn.Close()
			return nil, err // a live one
		}
		if !errors.Is(dialErr, unix.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		return nil, err
	}
	// Who slips in before this line is still asked for his uid.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Address is this node's own.
func (n *Node) Address() string { return n.address }

// resolve is the actor.AddressResolver.
func (n *Node) resolve(pid *actor.PID) (actor.Process, bool) {
	if !strings.HasPrefix(pid.Address, scheme) && !strings.HasPrefix(pid.Address, anonymous) {
		return nil, false
	}
	return n.endpoint(pid.Address), true
}

func (n *Node) endpoint(address string) *endpoint {
	n.mu.RLock()
	ep := n.endpoints[address]
	n.mu.RUnlock()
	if ep != nil {
		return ep
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ep = n.endpoints[address]; ep != nil {
		return ep
	}
	ep = newEndpoint(n, address)
	if n.closed {
		ep.state = closed
	} else {
		n.endpoints[address] = ep
	}
	return ep
}

// forget drops an endpoint that can never come back.
func (n *Node) forget(ep *endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints[ep.address] == ep {
		delete(n.endpoints, ep.address)
	}
}

func (n *Node) all() []*endpoint {
	n.mu.RLock()
	defer n.mu.RUnlock()
	all := make([]*endpoint, 0, len(n.endpoints))
	for _, ep := range n.endpoints {
		all = append(all, ep)
	}
	return all
}

// allowed checks the peer's uid. dialled is true on our side of a connection that we made.
func (n *Node) allowed(conn *net.UnixConn, dialled bool) (*unix.Ucred, error) {
	cred, err := peerCredentials(conn)
	if err != nil {
		return nil, err
	}
	if slices.Contains(n.opts.AllowedUIDs, cred.Uid) || dialled && cred.Uid == 0 {
		return cred, nil
	}
	return cred, failure(Refused, "uid %d (pid %d) is not allowed", cred.Uid, cred.Pid)
}

func (n *Node) accept() {
	// Handshakes under way. A peer that connects and says nothing holds one for DialTimeout.
	slots := make(chan struct{}, 64)
	for {
		select {
		case slots <- struct{}{}:
		case <-n.ctx.Done():
			return
		}
		conn, err := n.listener.AcceptUnix()
		if err != nil {
			<-slots
			if n.ctx.Err() != nil || n.leaving.Load() {
				return
			}
			n.opts.Logger.Warn().Err(err).Msg("accept on the actor socket failed")
			select { // out of descriptors, most likely
			case <-time.After(n.opts.BackoffMin):
			case <-n.ctx.Done():
			}
			continue
		}
		n.running.Go(func() {
			defer func() { <-slots }()
			n.welcome(conn)
		})
	}
}

// Close ends all links, after what is queued on them was sent or ctx has ended, and waits for the node's goroutines.
// Requests still open fail with Closed. Call it from outside the actors.
func (n *Node) Close(ctx context.Context) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	n.mu.Unlock()
	for _, ep := range n.all() {
		select {
		case <-ep.drained():
		case <-ctx.Done():
		}
	}
	n.cancel()
	if n.listener != nil {
		_ = n.listener.Close()
	}
	for _, ep := range n.all() {
		ep.close()
	}
	n.running.Wait()
}

// heartbeat ticks for all links, one goroutine and one timer however many peers there are, as long as somebody waits for
// one of them. A peer that dies is reported by the kernel; only one that was stopped has to be found out, and that matters to
// nobody who does not wait. So a process at rest is not woken.
func (n *Node) heartbeat() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.awaited:
		}
		if !n.beat() {
			return
		}
	}
}

// beat ticks until nobody waits any more; false: the node is closed.
func (n *Node) beat() bool {
	n.beating.Store(true)
	tick := time.NewTicker(n.opts.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return false
		case now := <-tick.C:
			waiting := false
			for _, ep := range n.all() {
				waiting = ep.tick(now) || waiting
			}
			if !waiting {
				n.beating.Store(false)
				for _, ep := range n.all() { // who came after its tick still saw us beating
					if ep.isWaitedFor() {
						n.await()
					}
				}
				return true
			}
		}
	}
}

// await makes sure that the heartbeat goes on. It is called when the endpoint's tables already show that it is waited for.
func (n *Node) await() {
	if n.beating.Load() {
		return
	}
	select {
	case n.awaited <- struct{}{}:
	default:
	}
}
