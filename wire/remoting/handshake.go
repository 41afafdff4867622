package remoting

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// hello is the first frame in each direction: the dialler's, then the listener's, or its reject.
type hello struct {
	_msgpack    struct{} `msgpack:",as_array"` //lint:ignore U1000 read by the library through reflection
	Address     string
	Incarnation uint64        // of the node
	Epoch       uint64        // counts the links to this peer that the node has lost
	Heartbeat   time.Duration // how often the node asks for a sign of life
	Types       []typeName    // position = number in frames
}

// maxHello bounds the first frame, whose sender is known by uid only.
const maxHello = 1 << 20

func (n *Node) helloFrame(epoch uint64) (*buffer, error) {
	payload, err := msgpack.Marshal(&hello{
		Address:     n.address,
		Incarnation: n.incarnation,
		Epoch:       epoch,
		Heartbeat:   n.opts.Heartbeat,
		Types:       n.opts.Registry.names(),
	})
	if err != nil {
		return nil, err
	}
	buf := newBuffer()
	h := header{kind: kindHello}
	buf.b = h.appendFrame(buf.b, string(payload))
	return buf, nil
}

func (n *Node) newLink(conn *net.UnixConn) (*link, error) {
	s, err := newSocket(conn)
	if err != nil {
		return nil, err
	}
	l := &link{
		frames:  frames{socket: s, max: maxHello},
		node:    n,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		targets: names{},
		senders: names{},
	}
	l.onBytes = func() { l.heard.Store(true) }
	s.onRoom = l.onBytes
	return l, nil
}

// sendNow writes a frame during the handshake, when there is no writer.
func (l *link) sendNow(buf *buffer) error {
	c := chunk{buf: buf}
	_, err := l.send(&c, true)
	buf.free()
	return err
}

// readHello reads the peer's first frame. A reject is returned as its failure.
func (l *link) readHello() *Failure {
	body, _, err := l.next()
	if err != nil {
		return failure(Unreachable, "handshake: %v", err)
	}
	var e envelope
	if err := e.decode(body); err != nil {
		if errors.Is(err, errVersion) {
			return failure(ProtocolVersion, "the peer does not speak version %d of the protocol", protocolVersion)
		}
		return failure(Malformed, "handshake: %v", err)
	}
	if e.kind == kindReject {
		return failure(Code(e.code), "%s", e.payload)
	}
	if e.kind != kindHello || e.fds != 0 || !shallow(e.payload) {
		return failure(Malformed, "handshake: frame of kind %d instead of a hello", e.kind)
	}
	if err := msgpack.Unmarshal(e.payload, &l.peer); err != nil {
		return failure(Malformed, "handshake: %v", err)
	}
	if !strings.HasPrefix(l.peer.Address, scheme) && !strings.HasPrefix(l.peer.Address, anonymous) {
		return failure(Malformed, "handshake: address %q", l.peer.Address)
	}
	l.types = l.node.opts.Registry.match(l.peer.Types)
	l.max = l.node.opts.MaxFrame
	return nil
}

// welcome is the listener's side.
func (n *Node) welcome(conn *net.UnixConn) {
	log := n.opts.Logger
	l, err := n.newLink(conn)
	if err != nil {
		_ = conn.Close()
		return
	}
	stop := context.AfterFunc(n.ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(n.opts.DialTimeout))
	cred, err := n.allowed(conn, false)
	if err != nil {
		log.Warn().Err(err).Msg("actor connection refused")
		l.reject(failure(Refused, "%v", err))
		return
	}
	l.cred = cred
	if refusal := l.readHello(); refusal != nil {
		log.Warn().Int32("pid", cred.Pid).Str("reason", refusal.Message).Msg("actor connection refused")
		l.reject(refusal)
		return
	}
	if l.peer.Address == n.address {
		l.reject(failure(Refused, "two nodes with the address %s", n.address))
		return
	}
	if refusal := n.endpoint(l.peer.Address).adopt(l, false); refusal != nil {
		l.reject(refusal)
	}
}

// reject says why, if the peer still listens, and hangs up.
func (l *link) reject(reason *Failure) {
	h := header{kind: kindReject, code: uint64(reason.Code)}
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, reason.Message)
	_ = l.sendNow(buf) // the peer may be gone, which is as good
	l.abandon()
}

// abandon ends a link that no endpoint has adopted.
func (l *link) abandon() {
	_ = l.conn.Close()
	closeAll(l.fds)
	l.fds = nil
}

// startDial has the mutex and the state down. A peer whose link was just lost is dialled when its time to wait is over, and
// as often as it may still come back.
func (ep *endpoint) startDial() {
	ctx, cancel := context.WithTimeout(ep.node.ctx, ep.node.opts.DialTimeout)
	ep.state, ep.cancelDial = dialing, cancel
	epoch, wait, expected := ep.epoch, time.Until(ep.retryAt), ep.expected
	ep.node.running.Go(func() {
		defer cancel()
		for pause := ep.node.opts.BackoffMin; ; pause = min(2*pause, maxPause) {
			if !sleep(ctx, wait) {
				ep.dialFailed(epoch, failure(Unreachable, "%s: %v", ep.address, ctx.Err()))
				return
			}
			refusal := ep.dial(ctx, epoch)
			if refusal == nil {
				return
			}
			if refusal.Code != Unreachable || ctx.Err() != nil || time.Now().Add(pause).After(expected) {
				ep.dialFailed(epoch, refusal)
				return
			}
			wait = pause
		}
	})
}

// maxPause is the longest pause between two attempts to reach a peer that is expected back: so much may be added to its own
// time to come back. An attempt is a few system calls.
const maxPause = 25 * time.Millisecond

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dial is the dialler's side.
func (ep *endpoint) dial(ctx context.Context, epoch uint64) *Failure {
	n := ep.node
	conn, err := n.opts.Dial(ctx, ep.address)
	if err != nil {
		return failure(Unreachable, "%v", err)
	}
	l, err := n.newLink(conn)
	if err != nil {
		_ = conn.Close()
		return failure(Unreachable, "%v", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	cred, err := n.allowed(conn, true)
	if err != nil {
		l.abandon()
		return failure(Refused, "%v", err)
	}
	l.cred = cred
	buf, err := n.helloFrame(epoch)
	if err == nil {
		err = l.sendNow(buf)
	}
	// A listener that refuses us hangs up without reading: its reason is still there to be read.
	refusal := l.readHello()
	switch {
	case refusal == nil && err != nil:
		refusal = failure(Unreachable, "handshake: %v", err)
	case refusal == nil && l.peer.Address != ep.address:
		refusal = failure(Unreachable, "%s calls itself %s", ep.address, l.peer.Address)
	case refusal == nil:
		if !stop() { // too late, or the peer's own connection was adopted meanwhile
			refusal = failure(Unreachable, "%s: %v", ep.address, ctx.Err())
		} else {
			refusal = ep.adopt(l, true)
		}
	case refusal.Code == duplicate:
		l.abandon()
		<-ctx.Done() // ends when the peer's connection is adopted, or with the time for dialling
		return failure(Unreachable, "%s wanted to dial, and did not", ep.address)
	}
	if refusal != nil {
		l.abandon()
	}
	return refusal
}

// adopt makes l the link of the endpoint. dialled: we made it.
func (ep *endpoint) adopt(l *link, dialled bool) *Failure {
	n := ep.node
	ep.mu.Lock()
	for ep.state == up && !dialled && (l.peer.Incarnation != ep.link.peer.Incarnation || l.peer.Epoch > ep.link.peer.Epoch) {
		old := ep.link
		ep.mu.Unlock()
		cause := failure(Lost, "%s has connected anew", ep.address)
		old.fail(cause)
		ep.lost(old, cause)
		ep.mu.Lock()
	}
	switch {
	case ep.state == closed:
		ep.mu.Unlock()
		return failure(Closed, "%s is closing", n.address)
	case ep.state == up, ep.state == dialing && !dialled && n.address < ep.address:
		ep.mu.Unlock()
		return failure(duplicate, "there is a connection already")
	case ep.state == down && dialled: // the dial was given up
		ep.mu.Unlock()
		return failure(Unreachable, "%s answered too late", ep.address)
	}
	buf := (*buffer)(nil)
	if !dialled {
		var err error
		if buf, err = n.helloFrame(ep.epoch); err != nil {
			ep.mu.Unlock()
			return failure(Malformed, "%v", err)
		}
	}
	if ep.cancelDial != nil && !dialled {
		ep.cancelDial()
	}
	ep.cancelDial = nil
	_ = l.conn.SetDeadline(time.Time{})
	l.ep, l.since = ep, time.Now()
	ep.state, ep.link, ep.parked = up, l, nil
	if buf != nil { // before anything that waits in the outbox; no writer yet, so it goes by the link's own hand
		l.rest = chunk{buf: buf, messages: 1}
		ep.out.bytes += len(buf.b)
		ep.out.messages++
	}
	l.flushing = true
	l.startReading()
	n.running.Go(l.write)
	ep.mu.Unlock()
	l.kick()
	n.opts.Logger.Info().Str("peer", ep.address).Int32("pid", l.cred.Pid).Bool("dialled", dialled).Msg("actor link up")
	n.publish(&LinkUp{Address: ep.address})
	return nil
}
