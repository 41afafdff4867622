package remoting

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// LinkUp and LinkDown are published on the system's event stream, for those who show or supervise branches.
type (
	LinkUp   struct{ Address string }
	LinkDown struct {
		Address string
		Reason  *Failure
	}
)

func (n *Node) publish(event any) {
	defer n.survive("link event subscriber")
	n.system.EventStream.Publish(event)
}

// remains is what an endpoint has to answer for after its link, or the attempt to make one, has ended.
type remains struct {
	calls   map[callKey]call
	parked  []parked
	watches map[watchKey]*actor.PID
	watched map[watchKey]*actor.PID
}

// end empties the endpoint, with the mutex held.
func (ep *endpoint) end() remains {
	r := remains{calls: ep.calls, parked: ep.parked, watches: ep.watches, watched: ep.watched}
	ep.calls, ep.parked = map[callKey]call{}, nil
	ep.watches, ep.watched = map[watchKey]*actor.PID{}, map[watchKey]*actor.PID{}
	ep.epoch++
	ep.out.drop()
	return r
}

// settle answers everyone. Requests come first: somebody waits for them.
func (r *remains) settle(ep *endpoint, reason *Failure) {
	n := ep.node
	for _, c := range r.calls {
		n.answer(c.sender, c.msg, reason)
	}
	for _, p := range r.parked {
		n.undeliverable(ep, p.target, p.msg, p.sender, reason)
	}
	for key, watcher := range r.watches {
		ep.notify(watcher, key.watchee, actor.TerminatedReason_AddressTerminated)
	}
	for key, watcher := range r.watched {
		ep.release(key, watcher)
	}
}

// lost ends the endpoint's link l. Only the first call for a link does anything.
func (ep *endpoint) lost(l *link, reason *Failure) {
	n := ep.node
	ep.mu.Lock()
	if ep.link != l {
		ep.mu.Unlock()
		return
	}
	ep.link, ep.state, ep.lastError = nil, down, reason
	if l.rest.buf != nil {
		ep.out.done(&l.rest)
	}
	r := ep.end()
	// A peer that was up for a while may be dialled at once. One that falls over after each handshake may not.
	now := time.Now()
	ep.retryAt = now
	if now.Sub(l.since) < n.opts.BackoffMax {
		ep.backOff(now)
	} else {
		ep.backoff = 0
	}
	if strings.HasPrefix(ep.address, anonymous) {
		// It can only come to us, and gets a new endpoint when it does.
		ep.state = closed
		defer n.forget(ep)
	} else {
		ep.expected = now.Add(n.opts.Patience)
	}
	kept := ep.forward()
	ep.mu.Unlock()
	close(l.ended)
	r.settle(ep, reason)
	ep.refuse(kept, reason)
	line := n.opts.Logger.Warn()
	if strings.HasPrefix(ep.address, anonymous) && len(r.calls) == 0 {
		line = n.opts.Logger.Debug() // a visitor has left
	}
	line.Str("peer", ep.address).Str("reason", reason.Message).Int("requests", len(r.calls)).Msg("actor link down")
	n.publish(&LinkDown{Address: ep.address, Reason: reason})
}

// backOff sets, with the mutex held, when the next dial may be. A little chance keeps many nodes from
// dialling a restarted peer in step.
func (ep *endpoint) backOff(now time.Time) {
	o := &ep.node.opts
	ep.retryAt = now.Add(ep.backoff + rand.N(ep.backoff/4+1))
	ep.backoff = min(max(2*ep.backoff, o.BackoffMin), o.BackoffMax)
}

// dialFailed ends the dial that was started in that epoch.
func (ep *endpoint) dialFailed(epoch uint64, reason *Failure) {
	ep.mu.Lock()
	if ep.state != dialing || ep.epoch != epoch {
		ep.mu.Unlock()
		return // the peer's own connection was adopted, or the node is closed
	}
	if reason.Code == Lost || reason.Code == duplicate {
		reason = failure(Unreachable, "%s", reason.Message)
	}
	ep.state, ep.cancelDial, ep.lastError = down, nil, reason
	r := ep.end()
	ep.backoff = max(ep.backoff, ep.node.opts.BackoffMin)
	ep.backOff(time.Now())
	ep.mu.Unlock()
	r.settle(ep, reason)
	ep.node.opts.Logger.Warn().Str("peer", ep.address).Str("reason", reason.Message).Msg("actor peer unreachable")
}

// close ends the endpoint for good.
func (ep *endpoint) close() {
	reason := failure(Closed, "%s: the node is closed", ep.address)
	ep.mu.Lock()
	l := ep.link
	if l != nil {
		ep.mu.Unlock()
		l.fail(reason)
		ep.lost(l, reason)
		ep.mu.Lock()
	}
	if ep.cancelDial != nil {
		ep.cancelDial()
		ep.cancelDial = nil
	}
	ep.state = closed
	r := ep.end()
	kept := ep.forward()
	ep.mu.Unlock()
	r.settle(ep, reason)
	ep.refuse(kept, reason)
}

// tick is the heartbeat: it asks a peer that is waited for and says nothing for a sign of life, and counts its silence.
// It reports whether the peer is waited for.
func (ep *endpoint) tick(now time.Time) (waiting bool) {
	o := &ep.node.opts
	ep.mu.Lock()
	ep.sweep(now)
	l := ep.link
	waiting = ep.waitedFor()
	if l == nil || !waiting {
		if l != nil {
			l.missed = 0
			l.heard.Store(false) // what was heard before somebody waits says nothing of the time after
		}
		ep.mu.Unlock()
		return waiting
	}
	// Counted in ticks, not by the clock: after a pause of this process the peer has its full time again.
	l.missed++
	if l.heard.Swap(false) {
		l.missed = 0
		ep.mu.Unlock()
		return true
	}
	period := max(o.Heartbeat, l.peer.Heartbeat)
	if limit := time.Duration(o.Misses) * period; time.Duration(l.missed)*o.Heartbeat >= limit {
		ep.mu.Unlock()
		l.fail(failure(Lost, "%s has been silent for %s", ep.address, limit))
		return true
	}
	h := header{kind: kindPing, flags: flagRequest}
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, "")
	ep.postLocked(buf)
	return true
}

// waitedFor tells, with the mutex held, whether somebody waits for this peer: for an answer, or for it to read.
func (ep *endpoint) waitedFor() bool {
	return len(ep.calls) > 0 || ep.out.messages > 0 || len(ep.again)+len(ep.next) > 0
}

func (ep *endpoint) isWaitedFor() bool {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.waitedFor()
}
