package rpc

import (
	"encoding/binary"
	"sync"

	"virtree/wire/liberr"
	"virtree/wire/xdr"
)

// StreamKind says what a packet means to the stream it belongs to. See the table in
// ParseStream.
type StreamKind int

const (
	StreamData   StreamKind = iota // bytes
	StreamEOF                      // server: nothing more to read. Client: an empty write
	StreamGap                      // sparse data: skip Length bytes
	StreamFinish                   // client: done, to be confirmed. Server: confirmation
	StreamAbort                    // client: give up, to be confirmed
	StreamError                    // server: the stream failed
)

// StreamPacket is one packet of a stream, understood. Which is all there is to know of
// it: a stream has no other state on the wire than being open.
type StreamPacket struct {
	Kind   StreamKind
	Data   []byte        // StreamData; points into the packet
	Length int64         // StreamGap
	Err    *liberr.Error // StreamError
}

// ParseStream understands a packet of type Stream or StreamHole:
//
//	Stream      Continue  bytes   StreamData
//	Stream      Continue  empty   StreamEOF
//	StreamHole  Continue  hole    StreamGap
//	Stream      OK        empty   StreamFinish
//	Stream      Error     empty   StreamAbort
//	Stream      Error     error   StreamError
//
// Anything else is an error that names the violation.
func ParseStream(p *Packet) (StreamPacket, error) {
	switch {
	case p.Type == StreamHole && p.Status == Continue:
		d := xdr.NewDecoder(p.Payload)
		length, flags := d.Int64(), d.Uint32()
		if err := d.Finish(); err != nil {
			return StreamPacket{}, liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload")
		}
		if flags != 0 || length < 0 {
			return StreamPacket{}, liberr.New(liberr.FromRPC, liberr.RPC, "stream hole of length %d with flags %#x", length, flags)
		}
		return StreamPacket{Kind: StreamGap, Length: length}, nil
	case p.Type != Stream:
	case p.Status == Continue && len(p.Payload) == 0:
		return StreamPacket{Kind: StreamEOF}, nil
	case p.Status == Continue:
		return StreamPacket{Kind: StreamData, Data: p.Payload}, nil
	case p.Status == OK:
		return StreamPacket{Kind: StreamFinish}, nil
	case p.Status == Error && len(p.Payload) == 0:
		return StreamPacket{Kind: StreamAbort}, nil
	case p.Status == Error:
		return StreamPacket{Kind: StreamError, Err: DecodeError(p.Payload)}, nil
	}
	return StreamPacket{}, liberr.New(liberr.FromRPC, liberr.RPC, "unexpected stream packet %s/%s", p.Type, p.Status)
}

// StreamOf is the header of a stream packet that belongs to the call h.
func (h Header) StreamOf(s Status) Header {
	h.Type, h.Status = Stream, s
	return h
}

// SendData sends stream bytes, in as many packets as the protocol wants. Empty
// data sends nothing: an empty packet would mean the end, which is SendEOF.
func (c *Conn) SendData(call Header, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), MaxData)
		if err := c.Send(call.StreamOf(Continue), data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Data is room for one packet of stream data, to be filled in place and sent without a copy.
type Data struct{ buf [prefixSize + MaxData]byte }

var datas = sync.Pool{New: func() any { return new(Data) }}

// NewData returns room whose content is undefined. It ends with Release or with SendFilled.
func NewData() *Data { return datas.Get().(*Data) }

// Room is where the bytes go, MaxData of them at most.
func (d *Data) Room() []byte { return d.buf[prefixSize:] }

// Release gives the room back.
func (d *Data) Release() { datas.Put(d) }

// SendFilled sends the first n bytes of d's room, n > 0, and takes d over, whatever it returns. Unlike the other ways to send it
// may wait for the peer, as long as this packet takes to leave: it is for pumps, not for actors.
func (c *Conn) SendFilled(call Header, d *Data, n int) error {
	packet := d.buf[:prefixSize+n]
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	call.StreamOf(Continue).Append(packet[lengthSize:lengthSize])
	return c.count(c.wr.enqueueData(d, packet))
}

// SendEOF tells the reader of a stream that all data was sent.
func (c *Conn) SendEOF(call Header) error { return c.Send(call.StreamOf(Continue), nil) }

// SendHole sends a gap of length bytes. Only on streams whose call asked for
// sparse data.
func (c *Conn) SendHole(call Header, length int64) error {
	h := call.StreamOf(Continue)
	h.Type = StreamHole
	var b [12]byte
	return c.Send(h, xdr.AppendUint32(xdr.AppendInt64(b[:0], length), 0))
}

// SendFinish ends a stream: the client's wish, or the server's confirmation of
// finish and of abort.
func (c *Conn) SendFinish(call Header) error { return c.Send(call.StreamOf(OK), nil) }

// SendAbort gives a stream up; client only.
func (c *Conn) SendAbort(call Header) error { return c.Send(call.StreamOf(Error), nil) }

// SendStreamError tells that a stream failed; server only.
func (c *Conn) SendStreamError(call Header, err error) error {
	return c.SendBody(call.StreamOf(Error), NewErrorPayload(err))
}
