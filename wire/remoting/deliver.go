package remoting

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// onMessage brings a user message to its actor, or answers why not.
func (l *link) onMessage(e *envelope, fds []int, owned bool) {
	if e.flags&flagReply != 0 || isFuture(string(e.target)) {
		l.onReply(e, fds, owned)
		return
	}
	asks := e.kind == kindUser && len(e.sender) > 0 && (e.flags&flagRequest != 0 || isFuture(string(e.sender)))
	if asks && !l.admit() {
		closeAll(fds)
		l.refuse(e, failure(Leaving, "%s is leaving", l.node.address))
		return
	}
	msg, refusal := l.decode(e, fds, owned)
	if refusal == nil && e.kind == kindMulti {
		l.toMany(e, msg)
		return
	}
	if refusal == nil {
		refusal = l.deliver(e, msg)
	}
	if refusal != nil {
		if asks {
			l.answered.Add(1)
		}
		l.refuse(e, refusal)
	}
}

// onReply settles the request before it delivers the answer, so that nobody else answers it too.
func (l *link) onReply(e *envelope, fds []int, owned bool) {
	c, waited := l.node.settle(l.ep, string(e.target), e.serial)
	msg, refusal := l.decode(e, fds, owned)
	if refusal == nil {
		refusal = l.deliver(e, msg)
	}
	if refusal == nil {
		return
	}
	l.node.opts.Logger.Debug().Str("peer", l.ep.address).Bytes("actor", e.target).Uint64("serial", e.serial).
		Str("reason", refusal.Message).Msg("reply was not delivered")
	if waited && refusal.Code != NotFound {
		l.node.answer(c.sender, c.msg, refusal)
	}
}

// decode makes the message. It takes over fds.
func (l *link) decode(e *envelope, fds []int, owned bool) (any, *Failure) {
	refusal := failureOf(e, l.types)
	if refusal != nil {
		closeAll(fds)
		return nil, refusal
	}
	t := l.types[e.code].local
	msg, err := t.decodePayload(e.payload, owned)
	if err != nil {
		closeAll(fds)
		return nil, failure(Malformed, "message %q cannot be decoded: %v", t.name, err)
	}
	if carrier, ok := msg.(DescriptorCarrier); ok {
		carrier.SetDescriptors(fds) // also if there are none: the payload's numbers are the peer's
	} else if len(fds) > 0 {
		closeAll(fds)
		return nil, failure(Malformed, "message %q carries no descriptors, %d came with it", t.name, len(fds))
	}
	return msg, nil
}

func failureOf(e *envelope, types []peerType) *Failure {
	if e.code >= uint64(len(types)) {
		return failure(UnknownType, "message type %d is unknown to the peer", e.code)
	}
	if refusal := types[e.code].refusal; refusal != nil {
		return refusal
	}
	if e.deadline != 0 && e.deadline < uint64(time.Now().UnixNano()) {
		return failure(Expired, "the deadline of message %q has passed", types[e.code].local.name)
	}
	return nil
}

// deliver puts the message into its actor's mailbox.
func (l *link) deliver(e *envelope, msg any) *Failure {
	target := l.targets.pid(l.node.address, e.target)
	process, ok := l.node.system.ProcessRegistry.GetLocal(target.Id)
	if !ok {
		CloseDescriptors(msg)
		return failure(NotFound, "%s has no actor %q", l.node.address, target.Id)
	}
	process.SendUserMessage(target, l.wrap(e, msg))
	return nil
}

func (l *link) toMany(e *envelope, msg any) {
	wrapped := l.wrap(e, msg)
	for _, id := range e.targets {
		target := l.targets.pid(l.node.address, id)
		if process, ok := l.node.system.ProcessRegistry.GetLocal(target.Id); ok {
			process.SendUserMessage(target, wrapped)
		}
	}
}

// wrap adds what the sending actor's context would have added.
func (l *link) wrap(e *envelope, msg any) any {
	if len(e.sender) == 0 && len(e.headers) == 0 {
		return msg
	}
	env := &actor.MessageEnvelope{Message: msg}
	if len(e.sender) > 0 {
		env.Sender = l.senderPID(e)
	}
	for i := 0; i+1 < len(e.headers); i += 2 {
		env.SetHeader(string(e.headers[i]), string(e.headers[i+1]))
	}
	return env
}

func (l *link) senderPID(e *envelope) *actor.PID {
	if len(e.address) == 0 && e.requestID == 0 {
		return l.senders.pid(l.ep.address, e.sender)
	}
	pid := actor.NewPID(l.ep.address, string(e.sender))
	if len(e.address) > 0 {
		pid.Address = string(e.address)
	}
	pid.RequestId = e.requestID
	return pid
}

// refuse answers the sender of a message that was not delivered, wherever it lives.
func (l *link) refuse(e *envelope, reason *Failure) {
	n := l.node
	n.opts.Logger.Debug().Str("peer", l.ep.address).Bytes("actor", e.target).Str("reason", reason.Message).Msg("message refused")
	if len(e.sender) == 0 {
		return
	}
	switch address := string(e.address); address {
	case "":
		l.ep.sendError(string(e.sender), e.serial, reason)
	case n.address:
		n.failed(l.ep, string(e.sender), e.serial, reason)
	default:
		if process, ok := n.resolve(l.senderPID(e)); ok {
			process.(*endpoint).sendError(string(e.sender), e.serial, reason)
		}
	}
}

// onError: a request of a local actor failed at the peer.
func (l *link) onError(e *envelope) {
	if Code(e.code) == Leaving {
		l.onLeaving(e)
		return
	}
	reason := &Failure{Code: Code(e.code), Message: string(e.payload), Serial: e.serial}
	l.node.failed(l.ep, string(e.target), e.serial, reason)
}

func (n *Node) failed(ep *endpoint, asker string, serial uint64, reason *Failure) {
	if c, ok := n.settle(ep, asker, serial); ok {
		n.answer(c.sender, c.msg, reason)
		return
	}
	// A request without a serial is in no table. One with a serial was answered by someone else.
	if _, alive := n.system.ProcessRegistry.GetLocal(asker); alive && serial == 0 && !isFuture(asker) {
		n.answer(actor.NewPID(n.address, asker), nil, reason)
	}
}
