package remoting

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// How a process leaves without anybody hearing an error: it says goodbye on each link, refuses the requests that come after
// that with Leaving, answers those that it has, and closes. The other side keeps what was refused, and what its actors ask
// from the goodbye on, for the next instance, which its first dial starts where daemons are started on demand.
//
//	leaving side --goodbye-->              --Leaving, replies-->  closed
//	other side             <--requests, goodbye--                   kept until the link is down; then dial, send
//
// The other side's goodbye says that no request comes behind it, so none is left unread in the socket.

// Leave says goodbye and returns when all peers have said so too, and what they had asked before is answered, or ctx has ended. From then on new
// requests of theirs are refused, and nobody new can connect. Close is to follow.
func (n *Node) Leave(ctx context.Context) {
	if !n.leaving.CompareAndSwap(false, true) {
		return
	}
	if n.listener != nil {
		_ = n.listener.Close()
	}
	for _, ep := range n.all() {
		ep.post(&header{kind: kindGoodbye}, "")
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for n.owes() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// owes tells whether a peer waits for an answer, or may still ask.
func (n *Node) owes() bool {
	for _, ep := range n.all() {
		ep.mu.Lock()
		l := ep.link
		ep.mu.Unlock()
		if l != nil && (!l.parted.Load() || l.answered.Load() < l.accepted.Load()) {
			return true
		}
	}
	return false
}

// admit counts a request, and tells whether it may be delivered. The order matters: Leave first says that it leaves and then
// looks at the counts.
func (l *link) admit() bool {
	l.accepted.Add(1)
	if l.node.leaving.Load() {
		l.answered.Add(1)
		return false
	}
	return true
}

// onGoodbye: the peer leaves, or it knows that we do. Requests to one that leaves wait for its next instance from now on.
func (l *link) onGoodbye(e *envelope) {
	if e.flags&flagReply != 0 {
		l.parted.Store(true)
		return
	}
	l.ep.mu.Lock()
	l.leaving = true
	l.ep.mu.Unlock()
	l.ep.post(&header{kind: kindGoodbye, flags: flagReply}, "") // behind all requests
	l.node.opts.Logger.Debug().Str("peer", l.ep.address).Msg("actor peer is leaving")
}

// unsent is a message for the next instance of a peer that is leaving.
type unsent struct {
	h      header
	buf    *buffer
	fds    []int
	target *actor.PID
	sender *actor.PID
	msg    any
}

// keep puts a message by for the peer's next instance, with the mutex held.
func (ep *endpoint) keep(list *[]unsent, u unsent) *Failure {
	if limit := ep.node.opts.QueueMessages; len(ep.again)+len(ep.next) >= limit {
		u.buf.free()
		return failure(Busy, "%s is leaving, and %d messages wait for the next one", ep.address, limit)
	}
	*list = append(*list, u)
	return nil
}

// onLeaving: the peer has refused a request because it leaves. Descriptors went with it, so a message that had some is the
// asker's to send again.
func (l *link) onLeaving(e *envelope) {
	ep, n := l.ep, l.node
	c, ok := n.settle(ep, string(e.target), e.serial)
	if !ok {
		return
	}
	refusal := failure(Leaving, "%s is leaving", ep.address)
	if !c.fds {
		refusal = ep.resend(l, c)
	}
	if refusal != nil {
		n.answer(c.sender, c.msg, refusal)
	}
}

func (ep *endpoint) resend(l *link, c call) *Failure {
	h := header{kind: kindUser, target: c.target.Id, headers: c.headers}
	buf, refusal := ep.encode(&h, c.msg, c.sender, 0)
	if refusal != nil {
		return refusal
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.link != l {
		buf.free()
		return failure(Leaving, "%s has left", ep.address)
	}
	return ep.keep(&ep.again, unsent{h, buf, nil, c.target, c.sender, c.msg})
}

// forward queues what was kept for the next instance, with the mutex held and the state down, and dials. It returns what
// cannot be queued.
func (ep *endpoint) forward() (failed []unsent) {
	kept := append(ep.again, ep.next...)
	ep.again, ep.next = nil, nil
	for i := range kept {
		u := &kept[i]
		if ep.ready(control, len(u.buf.b)) != nil {
			failed = append(failed, *u)
			continue
		}
		if key, ok := ep.node.callKey(u.sender, &u.h); ok {
			ep.calls[key] = call{sender: u.sender, target: u.target, msg: u.msg, headers: u.h.headers, deadline: u.h.deadline, since: time.Now(), fds: len(u.fds) > 0}
		}
		ep.traffic.send(len(u.buf.b))
		ep.out.add(u.buf, u.fds)
	}
	return failed
}

// refuse answers for messages that were kept in vain.
func (ep *endpoint) refuse(failed []unsent, reason *Failure) {
	for _, u := range failed {
		u.buf.free()
		closeAll(u.fds)
		ep.node.undeliverable(ep, u.target, u.msg, u.sender, reason)
	}
}
