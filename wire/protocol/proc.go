package protocol

import (
	"fmt"

	"virtree/wire/xdr"
)

// UUID is the 16 raw bytes of an object's UUID.
type UUID [16]byte

// String returns the canonical lower-case form.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// Void stands for a procedure without arguments or without a result.
type Void struct{}

// AppendXDR appends nothing.
func (*Void) AppendXDR(b []byte) []byte { return b }

// DecodeXDR reads nothing.
func (*Void) DecodeXDR(*xdr.Decoder) {}

// Encoder is a value with a wire form.
type Encoder interface{ AppendXDR([]byte) []byte }

// Decodable is a value that can be read from its wire form.
type Decodable interface{ DecodeXDR(*xdr.Decoder) }

type message interface {
	Encoder
	Decodable
}

// Unmarshal decodes b into v; every byte must be used.
func Unmarshal(b []byte, v Decodable) error {
	d := xdr.NewDecoder(b)
	v.DecodeXDR(&d)
	return d.Finish()
}

// UnmarshalArgs decodes what a client sent. Bytes behind the last field are passed over, as libvirt does:
// there are clients that send some.
func UnmarshalArgs(b []byte, v Decodable) error {
	d := xdr.NewDecoder(b)
	v.DecodeXDR(&d)
	return d.Err()
}

// Kind tells how the packets of a procedure travel.
type Kind uint8

// Kinds of procedures.
const (
	KindCall Kind = iota
	KindEvent
	KindMessage
	KindStreamIn   // the client sends data after the reply
	KindStreamOut  // the server sends data after the reply
	KindStreamBidi // both do
)

// Stream tells whether a good reply opens a stream.
func (k Kind) Stream() bool { return k >= KindStreamIn }

// ReadOnly tells what a procedure does on a read-only connection.
type ReadOnly uint8

// Answers of a procedure on a read-only connection.
const (
	ReadOnlyAllowed ReadOnly = iota
	ReadOnlyRefused
	ReadOnlyConditional // refused for some arguments
)

// AnyFDs says that any number of descriptors may travel.
const AnyFDs = -1

// Object tells which object a procedure's arguments name first.
type Object uint8

// Objects that arguments begin with.
const (
	ObjectNone Object = iota
	ObjectDomain
	ObjectNetwork
	ObjectNetworkPort // its network comes first
	ObjectNwfilter
	ObjectNwfilterBinding
	ObjectInterface
	ObjectStoragePool
	ObjectStorageVol // the name of its pool comes first
	ObjectNodeDevice
	ObjectSecret
	ObjectDomainCheckpoint // its name comes first, then its domain
	ObjectDomainSnapshot   // likewise
)

// ACLRule is one permission a call needs. All rules of a procedure whose condition holds must be met.
type ACLRule struct {
	Object, Perm string
	IfFlags      uint32 // only when the argument flags has one of these bits
	UnlessFlags  uint32 // only when it has none of these
	IfField      string // only when this argument ...
	IfValue      int64  // ... has this value
}

// Procedure describes one procedure of a program.
type Procedure struct {
	Program  uint32
	Version  uint32
	Number   int32
	Name     string // as in libvirt's protocol, such as DOMAIN_GET_STATE
	API      string // the public function, such as virDomainGetState; empty for internal ones
	Kind     Kind
	Priority bool // never blocks on a guest
	NoAuth   bool // allowed before authentication
	ReadOnly ReadOnly
	ACL      []ACLRule
	Filter   *ACLRule // permission by which the returned objects are filtered
	FDsIn    int      // descriptors that come with the call; AnyFDs
	FDsOut   int      // descriptors that go with the reply; AnyFDs
	// SparseFlag is the bit of the argument flags by which the stream may carry holes.
	SparseFlag uint32
	Driver     string // the part of the daemon that serves it: hypervisor, network, storage, connection ...
	Object     Object
	Since      string

	refused func(args []byte) bool
}

// String returns the name.
func (p *Procedure) String() string { return p.Name }

// RefusedReadOnly tells whether a read-only connection may not make this call with these arguments.
func (p *Procedure) RefusedReadOnly(args []byte) bool {
	switch p.ReadOnly {
	case ReadOnlyRefused:
		return true
	case ReadOnlyConditional:
		return p.refused(args)
	}
	return false
}

// Proc is a descriptor that knows the types of its arguments and of its result.
type Proc[A, R any] struct{ *Procedure }

// EventID ties an event that clients register for to the messages that carry it.
type EventID struct {
	Object  string // domain, network, storage_pool, node_device, secret
	ID      int32
	Name    string
	Message *Procedure // the current form, with a callback id
	Legacy  *Procedure // without; nil where there is none
}
