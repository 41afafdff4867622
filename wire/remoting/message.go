package remoting

import (
	"time"

	"golang.org/x/sys/unix"
)

// Appender and Decoder are the fast path of a message type: bytes without reflection. A type has
// both or neither; one with neither is encoded by MessagePack, field by field.
type (
	Appender interface {
		AppendRemoting(b []byte) ([]byte, error)
	}
	// DecodeRemoting owns b and may keep slices of it.
	Decoder interface {
		DecodeRemoting(b []byte) error
	}
)

// Sizer tells about how many bytes AppendRemoting will add, so that a large message is not copied
// while the buffer grows. Optional.
type Sizer interface {
	RemotingSize() int
}

// DescriptorCarrier is a message with file descriptors. Sending one gives the descriptors away: remoting
// takes them out of the message (SetDescriptors(nil)), sends them and closes them here. On the other side
// SetDescriptors hands over the received ones, close-on-exec, in the same order; it is called for every message
// of the type, with nil if none came, and must leave no number from the payload behind. A message of
// this kind that is forwarded or dropped by its receiver needs CloseDescriptors.
type DescriptorCarrier interface {
	Descriptors() []int
	SetDescriptors([]int)
}

// CloseDescriptors closes what msg carries, if it carries anything, and empties it.
func CloseDescriptors(msg any) {
	closeAll(takeDescriptors(msg))
}

func takeDescriptors(msg any) []int {
	c, ok := msg.(DescriptorCarrier)
	if !ok {
		return nil
	}
	fds := c.Descriptors()
	if len(fds) > 0 {
		c.SetDescriptors(nil)
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing can be done about a failing close, and the number is free after it
	}
}

// Request is a message that waits for an answer. Serials are unique per sending actor, and not 0.
type Request interface {
	RequestSerial() uint64
}

// Reply answers the request of that serial, sent by the actor that this message goes to.
type Reply interface {
	ReplySerial() uint64
}

// Deadliner is a request with an end. Past it the peer answers Expired instead of delivering, and this side
// forgets the request: its asker has its own clock. The zero time is no deadline.
type Deadliner interface {
	RequestDeadline() time.Time
}
