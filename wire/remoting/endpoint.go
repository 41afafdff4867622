package remoting

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

type state uint8

const (
	down    state = iota // no link; the next send after retryAt dials
	dialing              // sends wait in the outbox for the handshake
	up
	closed // for good
)

var stateNames = [...]string{"down", "dialing", "up", "closed"}

func (s state) String() string { return stateNames[s] }

// endpoint is the process behind every PID of one address. See the package comment for its states.
type endpoint struct {
	node    *Node
	address string
	traffic *traffic

	mu      sync.Mutex // guards all below; never held while calling out
	state   state
	link    *link // not nil exactly while up
	epoch   uint64
	out     outbox
	calls   map[callKey]call        // requests that wait for their reply
	parked  []parked                // messages in the outbox that no other table knows; only while dialing
	again   []unsent                // the leaving peer has refused them: first for its next instance
	next    []unsent                // came since its goodbye
	watches map[watchKey]*actor.PID // the watchers, local; on the peer's actors
	watched map[watchKey]*actor.PID // the watchers, the peer's; on local actors

	cancelDial context.CancelFunc // not nil exactly while dialing
	retryAt    time.Time
	expected   time.Time // until then the peer may come back, and messages wait
	backoff    time.Duration
	lastError  *Failure // why it is down; nil before the first attempt
}

// parked is what there is to answer if a waiting message cannot be sent.
type parked struct {
	target *actor.PID
	sender *actor.PID
	msg    any
}

func newEndpoint(n *Node, address string) *endpoint {
	return &endpoint{
		node:    n,
		address: address,
		traffic: n.trafficOf(address),
		calls:   map[callKey]call{},
		watches: map[watchKey]*actor.PID{},
		watched: map[watchKey]*actor.PID{},
	}
}

var _ actor.Process = (*endpoint)(nil)

// SendUserMessage is called by protoactor on the sending actor's goroutine.
func (ep *endpoint) SendUserMessage(pid *actor.PID, message any) {
	headers, msg, sender := actor.UnwrapEnvelope(message)
	h := header{kind: kindUser, target: pid.Id}
	if headers != nil && headers.Length() > 0 {
		h.headers = headers.ToMap()
	}
	ep.send(&h, pid, msg, sender)
}

// send encodes and queues a user message, or answers for it.
func (ep *endpoint) send(h *header, target *actor.PID, msg any, sender *actor.PID) {
	fds := takeDescriptors(msg)
	buf, refusal := ep.encode(h, msg, sender, len(fds))
	if refusal == nil {
		refusal = ep.queue(h, buf, fds, target, msg, sender)
	}
	if refusal != nil {
		closeAll(fds)
		ep.node.undeliverable(ep, target, msg, sender, refusal)
	}
}

func (ep *endpoint) encode(h *header, msg any, sender *actor.PID, fds int) (*buffer, *Failure) {
	n := ep.node
	t := n.opts.Registry.lookup(msg)
	if t == nil {
		return nil, failure(UnknownType, "message type %T is not registered", msg)
	}
	if len(h.headers) > maxHeaders {
		return nil, failure(TooLarge, "message %q has %d headers", t.name, len(h.headers))
	}
	if fds > maxDescriptors || fds > 0 && h.kind == kindMulti {
		return nil, failure(TooLarge, "message %q carries %d descriptors", t.name, fds)
	}
	h.code, h.fds = t.id, fds
	if sender != nil {
		h.sender, h.requestID = sender.Id, sender.RequestId
		if !n.isLocal(sender) {
			h.address = sender.Address
		}
	}
	if r, ok := msg.(Request); ok && sender != nil {
		h.flags, h.serial = flagRequest, r.RequestSerial()
		if d, ok := msg.(Deadliner); ok {
			if end := d.RequestDeadline(); !end.IsZero() {
				h.deadline = uint64(end.UnixNano())
			}
		}
	} else if r, ok := msg.(Reply); ok && r.ReplySerial() != 0 {
		h.flags, h.serial = flagReply, r.ReplySerial()
	}
	buf := newBuffer()
	buf.b = h.begin(buf.b)
	at := len(buf.b)
	if err := t.appendPayload(buf, msg); err != nil {
		buf.free()
		return nil, failure(Malformed, "message %q cannot be encoded: %v", t.name, err)
	}
	if size := len(buf.b) - prefix; size > n.opts.MaxFrame {
		buf.free()
		return nil, failure(TooLarge, "message %q of %d bytes is over the limit of %d", t.name, size, n.opts.MaxFrame)
	}
	buf.b = end(buf.b, 0, at)
	return buf, nil
}

// queue hands a frame to the link, or keeps it until there is one. On refusal fds stay the caller's.
func (ep *endpoint) queue(h *header, buf *buffer, fds []int, target *actor.PID, msg any, sender *actor.PID) *Failure {
	w := normal
	if h.flags&flagReply != 0 || isFuture(h.target) {
		w = reply
	}
	ep.mu.Lock()
	if refusal := ep.ready(w, len(buf.b)); refusal != nil {
		ep.mu.Unlock()
		buf.free()
		return refusal
	}
	if w == reply && ep.link != nil {
		ep.link.answered.Add(1)
	}
	if key, ok := ep.node.callKey(sender, h); ok {
		if ep.link != nil && ep.link.leaving {
			defer ep.mu.Unlock()
			return ep.keep(&ep.next, unsent{*h, buf, fds, target, sender, msg})
		}
		ep.calls[key] = call{sender: sender, target: target, msg: msg, headers: h.headers, deadline: h.deadline, since: time.Now(), fds: len(fds) > 0}
	} else if ep.state == dialing {
		ep.parked = append(ep.parked, parked{target: target, sender: sender, msg: msg})
	}
	ep.traffic.send(len(buf.b))
	ep.out.add(buf, fds)
	ep.flush()
	ep.node.await()
	return nil
}

// ready says, with the mutex held, whether a frame may be queued. It starts the dial that the frame needs.
func (ep *endpoint) ready(w weight, size int) *Failure {
	switch ep.state {
	case closed:
		return failure(Closed, "%s: the node is closed", ep.address)
	case down:
		now := time.Now()
		if ep.lastError != nil && now.Before(ep.retryAt) && !now.Before(ep.expected) || strings.HasPrefix(ep.address, anonymous) {
			if ep.lastError == nil {
				return failure(Unreachable, "%s cannot be dialled", ep.address)
			}
			return failure(Unreachable, "%s is unreachable: %s", ep.address, ep.lastError.Message)
		}
		ep.startDial()
	}
	if !ep.out.fits(w, size, &ep.node.opts) {
		return failure(Busy, "the queue to %s is full (%d messages, %d bytes)", ep.address, ep.out.messages, ep.out.bytes)
	}
	return nil
}

// post queues a control frame for a link that there is, or will be: it does not dial.
func (ep *endpoint) post(h *header, text string) {
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, text)
	ep.mu.Lock()
	if ep.state == down {
		ep.mu.Unlock()
		buf.free()
		return
	}
	ep.postLocked(buf)
}

// postLocked has the mutex on entry and not on return. It reports false when there is no link to come.
func (ep *endpoint) postLocked(buf *buffer) bool {
	if refusal := ep.ready(control, len(buf.b)); refusal != nil {
		l := ep.link
		ep.mu.Unlock()
		buf.free()
		if refusal.Code == Busy && l != nil {
			l.fail(failure(Lost, "%s does not read: %s", ep.address, refusal.Message))
		}
		return false
	}
	ep.traffic.send(len(buf.b))
	ep.out.add(buf, nil)
	ep.flush()
	return true
}

// eager is how long after a write the next one is left to the writer, which then finds several frames
// to send at once. A single conversation never comes back that fast.
const eager = 12 * time.Microsecond

// flush has the mutex on entry and not on return. If the socket is idle the caller sends, without waiting.
func (ep *endpoint) flush() {
	l := ep.link
	if l == nil || l.flushing {
		ep.mu.Unlock()
		return
	}
	l.flushing = true
	now := time.Now()
	if now.Sub(l.lastFlush) < eager {
		ep.mu.Unlock()
		l.kick()
		ep.node.await()
		return
	}
	l.lastFlush = now
	c, _ := ep.out.take()
	ep.mu.Unlock()

	done, err := l.send(&c, false)
	if err != nil {
		l.fail(failure(Lost, "%s: %v", ep.address, err))
	}
	ep.mu.Lock()
	switch {
	case done || err != nil || ep.link != l:
		ep.out.done(&c)
		if err == nil && ep.out.messages == 0 {
			l.flushing = false
			ep.mu.Unlock()
			return
		}
	default:
		l.rest = c
	}
	ep.mu.Unlock()
	l.kick()
	ep.node.await()
}

// SendSystemMessage is how protoactor watches, unwatches and tells watchers.
func (ep *endpoint) SendSystemMessage(pid *actor.PID, message any) {
	switch m := message.(type) {
	case *actor.Watch:
		ep.watch(pid, m.Watcher)
	case *actor.Unwatch:
		ep.unwatch(pid, m.Watcher)
	case *actor.Terminated:
		ep.terminated(pid, m)
	case *actor.Stop:
		ep.Stop(pid)
	default:
		ep.node.opts.Logger.Warn().Str("peer", ep.address).Str("actor", pid.Id).Type("type", message).
			Msg("system message cannot leave the process")
	}
}

// Stop stops the peer's actor. There is nobody to tell if it cannot be sent; who cares watches.
func (ep *endpoint) Stop(pid *actor.PID) {
	ep.dialAndPost(&header{kind: kindStop, target: pid.Id}, "")
}

// sendError tells the peer that its actor's request failed. The peer may be one that has never been connected:
// the request came by way of another.
func (ep *endpoint) sendError(asker string, serial uint64, reason *Failure) {
	ep.dialAndPost(&header{kind: kindError, target: asker, serial: serial, code: uint64(reason.Code)}, reason.Message)
}

func (ep *endpoint) dialAndPost(h *header, text string) {
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, text)
	ep.mu.Lock()
	ep.postLocked(buf)
}

// drained is closed once nothing waits to be sent.
func (ep *endpoint) drained() <-chan struct{} {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.out.idle == nil {
		ep.out.idle = make(chan struct{})
	}
	idle := ep.out.idle
	if ep.out.messages == 0 {
		close(idle)
		ep.out.idle = nil
	}
	return idle
}
