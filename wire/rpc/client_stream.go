package rpc

import (
	"context"
	"io"
	"sync"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// ClientStream is a stream that a call of this client opened. Reading and writing may be done by two goroutines; each
// of the two by one.
//
//	open --Read...io.EOF--> Finish --> gone      (Abort at any time)
//	open --Write...-------> Finish --> gone
//	open --server fails---> every method returns its error
type ClientStream struct {
	c    *Client
	call Header

	mu    sync.Mutex
	queue []*Packet
	err   error         // sticky: failed, or the connection ended
	eof   bool          // the server has sent everything
	wake  chan struct{} // of capacity 1: something changed

	cur  []byte // rest of the packet being read
	hole int64  // rest of the hole being read
}

// OpenStream makes a call that opens a stream.
func (c *Client) OpenStream(ctx context.Context, proc *protocol.Procedure, args protocol.Encoder, ret protocol.Decodable) (*ClientStream, error) {
	s := &ClientStream{c: c, wake: make(chan struct{}, 1)}
	p, err := c.roundTrip(ctx, callHeader(proc, 0), nil, args, nil, s)
	if err != nil {
		return nil, c.unsupported(err, proc)
	}
	defer p.Release()
	if ret != nil {
		if err := protocol.Unmarshal(p.Payload, ret); err != nil {
			c.forget(s.call.Serial)
			return nil, liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload").WithCause(err)
		}
	}
	return s, nil
}

func (s *ClientStream) deliver(p *Packet) {
	s.mu.Lock()
	s.queue = append(s.queue, p)
	s.mu.Unlock()
	s.signal()
}

func (s *ClientStream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.signal()
}

func (s *ClientStream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next waits for the next packet of the stream. Packets that came before a failure are still delivered.
func (s *ClientStream) next(ctx context.Context) (*Packet, StreamPacket, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			p := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			sp, err := ParseStream(p)
			if err != nil {
				p.Release()
			}
			return p, sp, err
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return nil, StreamPacket{}, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, StreamPacket{}, ctx.Err()
		}
	}
}

// Recv returns the next data (a copy) or, with nil data, the length of a hole. io.EOF is the end of the data: Finish is next.
func (s *ClientStream) Recv(ctx context.Context) (data []byte, hole int64, err error) {
	if s.eof {
		return nil, 0, io.EOF
	}
	p, sp, err := s.next(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer p.Release()
	switch sp.Kind {
	case StreamData:
		return append([]byte(nil), sp.Data...), 0, nil
	case StreamGap:
		return nil, sp.Length, nil
	case StreamEOF, StreamFinish:
		s.eof = true
		return nil, 0, io.EOF
	}
	return nil, 0, s.ended(sp)
}

// ended makes the server's failure the stream's end.
func (s *ClientStream) ended(sp StreamPacket) error {
	s.c.forget(s.call.Serial)
	err := error(sp.Err)
	if sp.Err == nil {
		err = liberr.New(liberr.FromRPC, liberr.RPC, "stream aborted at client request")
	}
	s.fail(err)
	return err
}

// Read reads data; holes read as zeros.
func (s *ClientStream) Read(b []byte) (int, error) {
	for len(s.cur) == 0 && s.hole == 0 {
		data, hole, err := s.Recv(context.Background())
		if err != nil {
			return 0, err
		}
		s.cur, s.hole = data, hole
	}
	if len(s.cur) > 0 {
		n := copy(b, s.cur)
		s.cur = s.cur[n:]
		return n, nil
	}
	n := int(min(s.hole, int64(len(b))))
	clear(b[:n])
	s.hole -= int64(n)
	return n, nil
}

// Write sends data. It waits while the server does not keep up, and returns the server's error if the stream has failed.
func (s *ClientStream) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		if err := s.failed(); err != nil {
			return sent, err
		}
		if err := s.c.conn.WaitDrained(context.Background()); err != nil {
			return sent, err
		}
		n := min(len(b)-sent, MaxData)
		if err := s.c.conn.SendData(s.call, b[sent:sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// failed looks for a failure that the server has sent already.
func (s *ClientStream) failed() error {
	s.mu.Lock()
	err := s.err
	var sp StreamPacket
	if n := len(s.queue); err == nil && n > 0 && s.queue[n-1].Type == Stream && s.queue[n-1].Status == Error {
		sp, _ = ParseStream(s.queue[n-1])
	}
	s.mu.Unlock()
	if sp.Kind == StreamError && sp.Err != nil {
		return s.ended(sp)
	}
	return err
}

// Hole sends a gap; the opening call must have asked for a sparse stream.
func (s *ClientStream) Hole(length int64) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.c.conn.SendHole(s.call, length)
}

// Finish ends the stream and waits for the server to confirm that all of it arrived. Data not yet read is dropped.
func (s *ClientStream) Finish(ctx context.Context) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.end(ctx, s.c.conn.SendFinish(s.call))
}

// Abort gives the stream up and waits for the confirmation. A stream that has failed already needs none.
func (s *ClientStream) Abort(ctx context.Context) error {
	if s.failed() != nil {
		return nil
	}
	return s.end(ctx, s.c.conn.SendAbort(s.call))
}

func (s *ClientStream) end(ctx context.Context, err error) error {
	defer s.c.forget(s.call.Serial)
	for err == nil {
		var p *Packet
		var sp StreamPacket
		if p, sp, err = s.next(ctx); err != nil {
			return err
		}
		p.Release()
		switch sp.Kind {
		case StreamFinish:
			s.fail(liberr.New(liberr.FromRPC, liberr.RPC, "stream is not open"))
			return nil
		case StreamError, StreamAbort:
			return s.ended(sp)
		}
	}
	return err
}
