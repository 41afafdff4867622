package call

import (
	"sync/atomic"
	"time"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Caller is who makes a call: the libvirt identity of the client. It travels with every call, is shared
// by all calls of a connection and never changes.
type Caller struct {
	Client   uint64 // id of the connection within its server, as virt-admin shows it
	ReadOnly bool
	Session  bool // the connection is to a per-user daemon

	UID, GID  uint32
	PID       int32
	PIDStart  uint64 // start time in clock ticks since boot; tells a reused pid
	User      string
	Group     string
	SASLUser  string
	X509Name  string
	SELinux   string
	Transport string // "unix", "tcp" or "tls"
	Remote    string // peer address; empty for UNIX sockets
}

// Call asks the branch or object that serves Proc. The sender of the envelope gets the Reply.
type Call struct {
	Proc     *protocol.Procedure
	Serial   uint64 // the asker's; the Reply repeats it
	Args     []byte // raw XDR
	Caller   *Caller
	Deadline time.Time // zero: as long as libvirt would wait
	FDs      []int

	answered atomic.Bool
}

// settle gives the right to answer, once: to its server, or to whoever answers in its place.
func (c *Call) settle() bool { return c.answered.CompareAndSwap(false, true) }

// RequestSerial lets remoting fail the call when the link to its server is lost.
func (c *Call) RequestSerial() uint64 { return c.Serial }

// Descriptors returns the descriptors that travel beside the message.
func (c *Call) Descriptors() []int { return c.FDs }

// SetDescriptors puts received descriptors in place.
func (c *Call) SetDescriptors(fds []int) { c.FDs = fds }

// Refuse makes the reply to a call that could not be delivered, and frees its descriptors. It is nil when the call has its
// answer.
func (c *Call) Refuse(err *liberr.Error) any {
	if !c.settle() {
		return nil
	}
	CloseFDs(c.FDs)
	c.FDs = nil
	return &Reply{Serial: c.Serial, Err: err}
}

// Overdue makes the reply to a call that an actor holds which does not come back. That one may still use the call, and owns
// its descriptors. It is nil when the call has its answer.
func (c *Call) Overdue(err *liberr.Error) any {
	if !c.settle() {
		return nil
	}
	return &Reply{Serial: c.Serial, Err: err}
}

// Reply answers a Call: Ret or Err, never both. A good reply to a stream procedure carries Stream.
type Reply struct {
	Serial uint64
	Ret    []byte // raw XDR; empty for procedures without a result
	Err    *liberr.Error
	FDs    []int
	Stream *Stream
}

// Discard frees the descriptors of a reply that nobody takes.
func (r *Reply) Discard() { CloseFDs(r.Descriptors()) }

// ReplySerial pairs the reply with its call.
func (r *Reply) ReplySerial() uint64 { return r.Serial }

// Urgent puts replies before ordinary work in a mailbox.
func (r *Reply) Urgent() bool { return true }

// Descriptors returns FDs, and behind them the stream's.
func (r *Reply) Descriptors() []int {
	if r.Stream == nil || r.Stream.FD < 0 {
		return r.FDs
	}
	return append(append([]int(nil), r.FDs...), r.Stream.FD)
}

// SetDescriptors puts received descriptors in place.
func (r *Reply) SetDescriptors(fds []int) {
	if r.Stream != nil {
		r.Stream.FD = -1
		if n := len(fds); n > 0 {
			r.Stream.FD, fds = fds[n-1], fds[:n-1]
		}
	}
	r.FDs = fds
}

// Stream is a descriptor that the client's process pumps from and to the client's socket: a pipe, a
// socket pair to a console, an image file. A descriptor instead of data messages keeps bulk data out of
// mailboxes and costs nothing more through a proxy.
type Stream struct {
	FD     int
	In     bool  // the client's data is written to FD
	Out    bool  // FD's data is sent to the client
	Limit  int64 // bytes at most in each direction, -1 for no limit; what is over it is refused
	Sparse bool  // holes travel as holes; FD is a regular file
	// Ended, when not empty, is the id of an actor beside the one that replied, which is sent
	// StreamEnded; the finish is answered when its StreamResult comes back.
	Ended string
	Token uint64
}

// StreamEnded tells that a stream is over: Err is nil after a finish, else why not.
type StreamEnded struct {
	Token   uint64
	Serial  uint64
	Aborted bool
	Err     *liberr.Error
}

// RequestSerial pairs it with StreamResult.
func (s *StreamEnded) RequestSerial() uint64 { return s.Serial }

// Refuse makes the answer to an end that could not be delivered.
func (s *StreamEnded) Refuse(err *liberr.Error) any { return &StreamResult{Serial: s.Serial, Err: err} }

// StreamResult answers StreamEnded: Err goes to the client in answer to its finish.
type StreamResult struct {
	Serial uint64
	Err    *liberr.Error
}

// ReplySerial pairs it with StreamEnded.
func (s *StreamResult) ReplySerial() uint64 { return s.Serial }

// Subscribe asks a branch for all its events, until Unsubscribe or the death of the sender.
type Subscribe struct{ Serial uint64 }

// RequestSerial pairs it with SubscribeResult.
func (s *Subscribe) RequestSerial() uint64 { return s.Serial }

// Refuse makes the answer to a subscription that could not be delivered.
func (s *Subscribe) Refuse(err *liberr.Error) any {
	return &SubscribeResult{Serial: s.Serial, Err: err}
}

// SubscribeResult tells that events flow from now on, or why not.
type SubscribeResult struct {
	Serial uint64
	Err    *liberr.Error
}

// Urgent keeps it behind the events that came before.
func (*SubscribeResult) Urgent() bool { return true }

// ReplySerial pairs it with Subscribe.
func (s *SubscribeResult) ReplySerial() uint64 { return s.Serial }

// SubscriptionLost tells a subscriber that the branch, which is the sender, was restarted and does not know it
// any more.
type SubscriptionLost struct{}

// Urgent keeps it in order with the events and the answers to subscriptions.
func (*SubscriptionLost) Urgent() bool { return true }

// Unsubscribe ends the sender's subscription.
type Unsubscribe struct{}

// EventMonitor is the ID of QEMU's own monitor events, which the qemu program carries.
const EventMonitor int32 = -1

// Event is something that happened to one object. Payload is the wire form of the event's message
// behind its callback id: clients put their own id before it, or none in the legacy form. It is shared
// by all receivers and must not be changed.
type Event struct {
	Object  string // domain, network, storage_pool, node_device, secret: as in protocol.EventID
	ID      int32
	UUID    protocol.UUID // of the object; zero for node devices
	Name    string        // of the object; for monitor events QEMU's name of the event
	Payload []byte
}

// Urgent keeps events in order with the answers to calls and subscriptions.
func (*Event) Urgent() bool { return true }
