package call

import (
	"fmt"
	"time"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/remoting"
	"virtree/wire/xdr"
)

// How the messages travel to other processes: Call and Reply, which are the traffic, in a form of their
// own, the rest as remoting's default.

func init() {
	remoting.Register("call.Call", 1, (*Call)(nil))
	remoting.Register("call.Reply", 1, (*Reply)(nil))
	remoting.Register("call.StreamEnded", 1, (*StreamEnded)(nil))
	remoting.Register("call.StreamResult", 1, (*StreamResult)(nil))
	remoting.Register("call.Subscribe", 1, (*Subscribe)(nil))
	remoting.Register("call.SubscribeResult", 1, (*SubscribeResult)(nil))
	remoting.Register("call.SubscriptionLost", 1, (*SubscriptionLost)(nil))
	remoting.Register("call.Unsubscribe", 1, (*Unsubscribe)(nil))
	remoting.Register("call.Event", 1, (*Event)(nil))
}

// RequestDeadline lets remoting forget the call when nobody waits any more.
func (c *Call) RequestDeadline() time.Time { return c.Deadline }

// AppendRemoting appends the call's wire form between processes.
func (c *Call) AppendRemoting(b []byte) ([]byte, error) {
	b = xdr.AppendUint32(b, c.Proc.Program)
	b = xdr.AppendUint32(b, c.Proc.Version)
	b = xdr.AppendInt32(b, c.Proc.Number)
	b = xdr.AppendUint64(b, c.Serial)
	deadline := int64(0)
	if !c.Deadline.IsZero() {
		deadline = c.Deadline.UnixNano()
	}
	b = xdr.AppendInt64(b, deadline)
	b = xdr.AppendOpaque(b, c.Args)
	return c.Caller.append(b), nil
}

// DecodeRemoting reads the wire form.
func (c *Call) DecodeRemoting(b []byte) error {
	d := xdr.NewDecoder(b)
	prog, vers, num := d.Uint32(), d.Uint32(), d.Int32()
	c.Serial = d.Uint64()
	if ns := d.Int64(); ns != 0 {
		c.Deadline = time.Unix(0, ns)
	}
	c.Args = d.Opaque(maxMessage)
	c.Caller = &Caller{}
	c.Caller.decode(&d)
	if err := d.Finish(); err != nil {
		return err
	}
	proc, err := protocol.Lookup(prog, vers, num)
	c.Proc = proc
	return err
}

// maxMessage bounds payloads between processes: the largest packet there is.
const maxMessage = 32 << 20

func (c *Caller) append(b []byte) []byte {
	b = xdr.AppendUint64(b, c.Client)
	b = xdr.AppendBool(b, c.ReadOnly)
	b = xdr.AppendBool(b, c.Session)
	b = xdr.AppendUint32(b, c.UID)
	b = xdr.AppendUint32(b, c.GID)
	b = xdr.AppendInt32(b, c.PID)
	b = xdr.AppendUint64(b, c.PIDStart)
	for _, s := range c.strings() {
		b = xdr.AppendString(b, *s)
	}
	return b
}

func (c *Caller) strings() [7]*string {
	return [7]*string{&c.User, &c.Group, &c.SASLUser, &c.X509Name, &c.SELinux, &c.Transport, &c.Remote}
}

func (c *Caller) decode(d *xdr.Decoder) {
	c.Client = d.Uint64()
	c.ReadOnly = d.Bool()
	c.Session = d.Bool()
	c.UID, c.GID, c.PID, c.PIDStart = d.Uint32(), d.Uint32(), d.Int32(), d.Uint64()
	for _, s := range c.strings() {
		*s = d.String(64 << 10)
	}
}

// AppendRemoting appends the reply's wire form between processes. The cause of an error stays behind:
// it was logged where it happened.
func (r *Reply) AppendRemoting(b []byte) ([]byte, error) {
	b = xdr.AppendUint64(b, r.Serial)
	b = xdr.AppendOpaque(b, r.Ret)
	b = xdr.AppendBool(b, r.Err != nil)
	if e := r.Err; e != nil {
		b = xdr.AppendInt32(b, int32(e.Code))
		b = xdr.AppendInt32(b, int32(e.Domain))
		b = xdr.AppendInt32(b, int32(e.Level))
		for _, s := range []string{e.Message, e.Str1, e.Str2, e.Str3, e.Op} {
			b = xdr.AppendString(b, s)
		}
		b = xdr.AppendInt32(b, e.Int1)
		b = xdr.AppendInt32(b, e.Int2)
	}
	b = xdr.AppendBool(b, r.Stream != nil)
	if s := r.Stream; s != nil {
		b = xdr.AppendBool(b, s.In)
		b = xdr.AppendBool(b, s.Out)
		b = xdr.AppendInt64(b, s.Limit)
		b = xdr.AppendBool(b, s.Sparse)
		b = xdr.AppendString(b, s.Ended)
		b = xdr.AppendUint64(b, s.Token)
	}
	return b, nil
}

// DecodeRemoting reads the wire form.
func (r *Reply) DecodeRemoting(b []byte) error {
	d := xdr.NewDecoder(b)
	r.Serial = d.Uint64()
	r.Ret = d.Opaque(maxMessage)
	if d.Bool() {
		e := &liberr.Error{Code: liberr.Code(d.Int32()), Domain: liberr.Domain(d.Int32()), Level: liberr.Level(d.Int32())}
		for _, s := range []*string{&e.Message, &e.Str1, &e.Str2, &e.Str3, &e.Op} {
			*s = d.String(maxMessage)
		}
		e.Int1, e.Int2 = d.Int32(), d.Int32()
		r.Err = e
	}
	if d.Bool() {
		s := &Stream{FD: -1}
		s.In, s.Out, s.Limit, s.Sparse = d.Bool(), d.Bool(), d.Int64(), d.Bool()
		s.Ended, s.Token = d.String(4096), d.Uint64()
		r.Stream = s
	}
	return d.Finish()
}

// Undeliverable answers a message that remoting could not bring to its actor, in the message's own terms,
// or by its serial when only that is known.
func Undeliverable(msg any, f *remoting.Failure) any {
	err := liberr.New(liberr.FromRPC, liberr.RPC, "%s", fmt.Sprintf("the driver cannot be reached: %s", f.Message)).WithCause(f)
	if f.Code == remoting.Busy {
		err = liberr.New(liberr.FromRPC, liberr.ResourceBusy, "%s", f.Message)
	}
	if a, ok := msg.(interface {
		Refuse(*liberr.Error) any
	}); ok {
		return a.Refuse(err)
	}
	return &Reply{Serial: f.Serial, Err: err}
}
