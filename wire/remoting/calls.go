package remoting

import (
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// callKey names a request that waits for its reply. A future waits for one message only, so its name is
// enough: its serial is 0.
type callKey struct {
	sender string
	serial uint64
}

type call struct {
	sender   *actor.PID
	target   *actor.PID
	msg      any
	headers  map[string]string
	deadline uint64 // Unix nanoseconds, 0: none
	since    time.Time
	fds      bool // it had descriptors, which are gone: it cannot be sent again
}

// isFuture goes by the name that actor.NewFuture gives; the type behind it is not exported.
func isFuture(id string) bool { return strings.HasPrefix(id, "future$") }

func (n *Node) isLocal(pid *actor.PID) bool {
	return pid.Address == n.address || pid.Address == nonhost
}

// callKey tells whether the message has to be remembered. The request of an actor that lives elsewhere is
// remembered there.
func (n *Node) callKey(sender *actor.PID, h *header) (callKey, bool) {
	switch {
	case sender == nil || !n.isLocal(sender):
		return callKey{}, false
	case isFuture(sender.Id):
		return callKey{sender: sender.Id}, true
	case h.flags&flagRequest != 0 && h.serial != 0:
		return callKey{sender: sender.Id, serial: h.serial}, true
	}
	return callKey{}, false
}

// settle takes the request out of the table of the peer that it was sent to: first's as a rule, another's
// when first answers what that one had forwarded. Who gets it here may answer it, nobody else.
func (n *Node) settle(first *endpoint, asker string, serial uint64) (call, bool) {
	if isFuture(asker) {
		serial = 0
	}
	key := callKey{sender: asker, serial: serial}
	if c, ok := first.takeCall(key); ok {
		return c, true
	}
	for _, ep := range n.all() {
		if ep != first {
			if c, ok := ep.takeCall(key); ok {
				return c, true
			}
		}
	}
	return call{}, false
}

func (ep *endpoint) takeCall(key callKey) (call, bool) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	c, ok := ep.calls[key]
	if ok {
		delete(ep.calls, key)
		ep.traffic.answered(&c)
	}
	return c, ok
}

// sweep forgets, with the mutex held, requests whose askers have stopped waiting.
func (ep *endpoint) sweep(now time.Time) {
	limit := uint64(now.UnixNano())
	for key, c := range ep.calls {
		expired := c.deadline != 0 && c.deadline < limit
		if !expired {
			_, alive := ep.node.system.ProcessRegistry.GetLocal(key.sender)
			expired = !alive
		}
		if expired {
			delete(ep.calls, key)
		}
	}
}

// answer tells the sender that its message failed.
func (n *Node) answer(sender *actor.PID, msg any, reason *Failure) {
	defer n.survive("undeliverable hook")
	if r, ok := msg.(Request); ok {
		reason = reason.withSerial(r.RequestSerial())
	}
	if n.opts.OnUndeliverable != nil {
		n.opts.OnUndeliverable(sender, msg, reason)
		return
	}
	n.system.Root.Send(sender, reason)
}

// undeliverable answers for a message to target that cannot be sent.
func (n *Node) undeliverable(ep *endpoint, target *actor.PID, msg any, sender *actor.PID, reason *Failure) {
	// Who waits for this answer will get none: let him know, unless the link's end does so.
	if r, ok := msg.(Reply); ok || isFuture(target.Id) {
		switch reason.Code {
		case UnknownType, TooLarge, Malformed, Busy:
			var serial uint64
			if ok {
				serial = r.ReplySerial()
			}
			ep.sendError(target.Id, serial, reason)
		}
	}
	if sender != nil {
		n.answer(sender, msg, reason)
		return
	}
	defer n.survive("dead letter subscriber")
	n.system.EventStream.Publish(&actor.DeadLetterEvent{PID: target, Message: msg})
}

// survive keeps a panic in someone else's callback from ending the process; the node's goroutines have no supervisor.
func (n *Node) survive(where string) {
	if p := recover(); p != nil {
		n.opts.Logger.Error().Interface("panic", p).Stack().Msg(where + " panicked")
	}
}
