package rpc

import (
	"virtree/wire/liberr"
	"virtree/wire/xdr"
)

// maxString is VIR_NET_MESSAGE_STRING_MAX.
const maxString = 4194304

// ErrorPayload is a libvirt error in its wire form, virNetMessageError: the payload
// of replies and stream packets with status Error. The fields dom and net are
// never sent, and skipped when received.
type ErrorPayload struct{ *liberr.Error }

// NewErrorPayload prepares err for the wire. Whatever is not a libvirt error becomes
// an internal error of the RPC layer that reads like err.
func NewErrorPayload(err error) ErrorPayload {
	return ErrorPayload{liberr.From(liberr.FromRPC, err)}
}

// AppendXDR appends the wire form to b. Over-long strings are cut: half a message
// is better than a client that drops the connection.
func (e ErrorPayload) AppendXDR(b []byte) []byte {
	b = xdr.AppendInt32(b, int32(e.Code))
	b = xdr.AppendInt32(b, int32(e.Domain))
	b = appendOptString(b, e.Message)
	b = xdr.AppendInt32(b, int32(e.Level))
	b = xdr.AppendUint32(b, 0) // dom
	b = appendOptString(b, e.Str1)
	b = appendOptString(b, e.Str2)
	b = appendOptString(b, e.Str3)
	b = xdr.AppendInt32(b, e.Int1)
	b = xdr.AppendInt32(b, e.Int2)
	return xdr.AppendUint32(b, 0) // net
}

// DecodeError reads an error payload. A payload that is none is an RPC error that
// says so, as libvirt's client does it: the caller has an error either way.
func DecodeError(payload []byte) *liberr.Error {
	d := xdr.NewDecoder(payload)
	e := &liberr.Error{}
	e.Code = liberr.Code(d.Int32())
	e.Domain = liberr.Domain(d.Int32())
	e.Message = optString(&d)
	e.Level = liberr.Level(d.Int32())
	if d.Bool() { // dom: name, uuid, id
		d.SkipString(maxString)
		d.Skip(16 + 4)
	}
	e.Str1 = optString(&d)
	e.Str2 = optString(&d)
	e.Str3 = optString(&d)
	e.Int1 = d.Int32()
	e.Int2 = d.Int32()
	if d.Bool() { // net: name, uuid
		d.SkipString(maxString)
		d.Skip(16)
	}
	if err := d.Finish(); err != nil {
		return liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message error: %v", err).WithCause(err)
	}
	return e
}

// appendOptString writes an absent string for an empty one: libvirt's error
// fields are NULL when unset.
func appendOptString(b []byte, s string) []byte {
	if s == "" {
		return xdr.AppendBool(b, false)
	}
	return xdr.AppendString(xdr.AppendBool(b, true), s[:min(len(s), maxString)])
}

func optString(d *xdr.Decoder) string {
	if !d.Bool() {
		return ""
	}
	return d.String(maxString)
}

// SendError answers the call h with err.
func (c *Conn) SendError(h Header, err error) error {
	return c.SendBody(h.ReplyTo(Error), NewErrorPayload(err))
}
