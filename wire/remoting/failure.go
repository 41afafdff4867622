package remoting

import "fmt"

// Code says why a message was not delivered or a request not answered.
type Code uint32

// All codes but Lost mean that the peer's actor has not seen the message.
const (
	// Unreachable: the peer could not be connected, or the endpoint is backing off after such a failure.
	Unreachable Code = iota + 1
	// Lost: the connection ended while the request was on its way. The peer may have acted on it.
	Lost
	// Busy: the queue to the peer is full.
	Busy
	// UnknownType: one side has not registered the message's type.
	UnknownType
	// TypeVersion: both sides know the type, in different versions.
	TypeVersion
	// ProtocolVersion: the peer speaks another version of the envelope.
	ProtocolVersion
	// NotFound: the peer has no actor of that name.
	NotFound
	// TooLarge: the encoded message is over the frame limit, or carries too many descriptors.
	TooLarge
	// Malformed: the message could not be encoded or decoded.
	Malformed
	// Expired: the deadline had passed when the message reached the peer.
	Expired
	// Refused: the peer does not accept us (uid).
	Refused
	// Closed: this node is closed.
	Closed

	// duplicate is only spoken between dialler and listener: keep the other connection.
	duplicate

	// Leaving: the peer has said goodbye and takes nothing new. Who asked hears it only of a message with descriptors; any other
	// waits for the peer's next instance.
	Leaving
)

var codeNames = [...]string{"", "unreachable", "lost", "busy", "unknown type", "type version", "protocol version",
	"not found", "too large", "malformed", "expired", "refused", "closed", "duplicate", "leaving"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Failure is the reason given to Options.OnUndeliverable. Without that hook it is itself the
// answer to the sender.
type Failure struct {
	Code    Code
	Message string
	// Serial is the RequestSerial of the failed message, 0 if it has none.
	Serial uint64
}

func failure(code Code, format string, args ...any) *Failure {
	return &Failure{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string {
	if f.Message == "" {
		return f.Code.String()
	}
	return f.Message
}

// Is compares by code, for errors.Is(err, &remoting.Failure{Code: remoting.Lost}).
func (f *Failure) Is(target error) bool {
	t, ok := target.(*Failure)
	return ok && t.Code == f.Code
}

// withSerial is a copy for one request: a Failure that ends a link is shared by all its requests.
func (f *Failure) withSerial(serial uint64) *Failure {
	if f.Serial == serial {
		return f
	}
	c := *f
	c.Serial = serial
	return &c
}

// ReplySerial makes a Failure the answer to the request that it names.
func (f *Failure) ReplySerial() uint64 { return f.Serial }
