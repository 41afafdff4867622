package secret

import (
	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/remoting"
)

// How the tree's own questions travel to this branch when it is another process.

func init() {
	remoting.Register("secret.Ask", 1, (*Ask)(nil))
	remoting.Register("secret.Value", 1, (*Value)(nil))
}

// Refuse makes the answer to a question that could not be delivered.
func (a *Ask) Refuse(err *liberr.Error) any { return &Value{Serial: a.Serial, Err: err} }

// Urgent puts answers before ordinary work in a mailbox.
func (v *Value) Urgent() bool { return true }

// AppendRemoting appends the wire form between processes, which is that of a reply.
func (v *Value) AppendRemoting(b []byte) ([]byte, error) {
	return (&call.Reply{Serial: v.Serial, Ret: v.Value, Err: v.Err}).AppendRemoting(b)
}

// DecodeRemoting reads the wire form.
func (v *Value) DecodeRemoting(b []byte) error {
	var r call.Reply
	err := r.DecodeRemoting(b)
	v.Serial, v.Value, v.Err = r.Serial, r.Ret, r.Err
	return err
}
