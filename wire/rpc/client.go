package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// ClientOptions tune a Client; the zero value is good.
type ClientOptions struct {
	Conn Options

	// KeepaliveInterval above zero makes the client ping an idle server and give it up after KeepaliveCount
	// unanswered intervals. It starts by itself: for servers that know keepalive, which all since 2012 do.
	KeepaliveInterval time.Duration
	KeepaliveCount    int
}

// Event is a message that the server sent on its own.
type Event struct {
	Header
	Payload []byte // a copy
}

// Client is the calling side of one connection. All methods may be used by many goroutines at once; any number
// of calls may be in flight, and their replies come in any order.
//
// One goroutine reads the connection as long as it lives. It never waits for a user of the Client: replies
// have their place reserved, and events and stream data that nobody takes are kept (without limit, as libvirt's own
// client does).
type Client struct {
	conn *Conn

	mu      sync.Mutex
	serial  uint32
	calls   map[uint32]*call
	streams map[uint32]*ClientStream
	err     error // why the connection ended

	events chan Event
	inbox  eventQueue
	done   chan struct{} // closed at the end, after err is set
}

// call is a reserved place for one reply.
type call struct {
	header Header
	reply  chan *Packet // of capacity 1; closed without a value when the connection ends
}

// Dial connects to a daemon: network "unix" and a socket's path, or "tcp" and host:port. Authentication is
// a separate step.
func Dial(ctx context.Context, network, address string, opt *ClientOptions) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Failed to connect socket to '%s'", address)
	}
	return NewClient(nc, opt), nil
}

// NewClient speaks over a connection that is ready for packets. It takes the connection over.
func NewClient(nc net.Conn, opt *ClientOptions) *Client {
	if opt == nil {
		opt = &ClientOptions{}
	}
	c := &Client{
		conn: NewConn(nc, &opt.Conn), calls: map[uint32]*call{}, streams: map[uint32]*ClientStream{},
		events: make(chan Event), done: make(chan struct{}),
	}
	c.inbox.wake = make(chan struct{}, 1)
	go c.read()
	go c.pumpEvents()
	if opt.KeepaliveInterval > 0 {
		go c.keepalive(NewKeepalive(opt.KeepaliveInterval, opt.KeepaliveCount, time.Now()))
	}
	return c
}

// Conn is the connection, for its counters and credentials.
func (c *Client) Conn() *Conn { return c.conn }

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection without a farewell. Calls in flight fail.
func (c *Client) Close() error {
	c.conn.Close()
	<-c.done
	return nil
}

// Events delivers what the server sends on its own, in its order. The channel is closed when the connection ends.
func (c *Client) Events() <-chan Event { return c.events }

// Call makes one call and waits for its reply. args and ret may be nil where the procedure has none. An error
// that the server answered is a *liberr.Error. When ctx ends first the call goes on in the server;
// its reply is dropped.
func (c *Client) Call(ctx context.Context, proc *protocol.Procedure, args protocol.Encoder, ret protocol.Decodable) error {
	fds, err := c.CallFDs(ctx, proc, args, ret)
	closeFiles(fds)
	return err
}

// CallFDs is Call for procedures that carry descriptors. Those sent are closed, those returned belong to the caller.
func (c *Client) CallFDs(ctx context.Context, proc *protocol.Procedure, args protocol.Encoder, ret protocol.Decodable, fds ...*os.File) ([]*os.File, error) {
	p, err := c.roundTrip(ctx, callHeader(proc, len(fds)), nil, args, fds, nil)
	if err != nil {
		return nil, c.unsupported(err, proc)
	}
	defer p.Release()
	if ret != nil {
		if err := protocol.Unmarshal(p.Payload, ret); err != nil {
			return nil, liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload").WithCause(err)
		}
	}
	return p.TakeFDs(), nil
}

// CallRaw makes a call with an encoded payload to any program and procedure and returns the reply: what a proxy needs.
// The serial in h is replaced. An error reply is returned as an error.
func (c *Client) CallRaw(ctx context.Context, h Header, payload []byte, fds ...*os.File) (*Packet, error) {
	return c.roundTrip(ctx, h, payload, nil, fds, nil)
}

// Do is Call with the types of the procedure. args may be nil where there are none.
func Do[A, R any, PA interface {
	*A
	protocol.Encoder
}, PR interface {
	*R
	protocol.Decodable
}](ctx context.Context, c *Client, proc protocol.Proc[A, R], args PA) (*R, error) {
	ret := new(R)
	var enc protocol.Encoder
	if args != nil {
		enc = args
	}
	if err := c.Call(ctx, proc.Procedure, enc, PR(ret)); err != nil {
		return nil, err
	}
	return ret, nil
}

func callHeader(proc *protocol.Procedure, fds int) Header {
	h := Header{Program: proc.Program, Version: proc.Version, Proc: proc.Number, Type: Call}
	if fds > 0 {
		h.Type = CallWithFDs
	}
	return h
}

// roundTrip sends a call and waits. A stream that the call opens must be known before the reply arrives, since data may
// follow it at once.
func (c *Client) roundTrip(ctx context.Context, h Header, payload []byte, body Body, fds []*os.File, s *ClientStream) (*Packet, error) {
	k := &call{reply: make(chan *Packet, 1)}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		closeFiles(fds)
		return nil, notSent(c.err)
	}
	h.Serial = c.serial
	c.serial++
	k.header = h
	c.calls[h.Serial] = k
	if s != nil {
		s.call = h
		c.streams[h.Serial] = s
	}
	c.mu.Unlock()
	var err error
	if body != nil {
		err = c.conn.SendBody(h, body, fds...)
	} else {
		err = c.conn.Send(h, payload, fds...)
	}
	if err != nil {
		c.forget(h.Serial)
		return nil, notSent(liberr.New(liberr.FromRPC, liberr.RPC, "%s", err).WithCause(err))
	}
	select {
	case p, ok := <-k.reply:
		if !ok {
			return nil, c.Err()
		}
		if p.Status == OK {
			return p, nil
		}
		defer p.Release()
		c.forget(h.Serial)
		return nil, DecodeError(p.Payload)
	case <-ctx.Done():
		c.forget(h.Serial)
		select {
		case p := <-k.reply: // it came at the same moment
			p.Release()
		default:
		}
		return nil, ctx.Err()
	}
}

// ErrNotSent is in the chain of a call's error when the server has not seen the call: it may be made again.
var ErrNotSent = errors.New("the call was not sent")

// notSent is err, with ErrNotSent in its chain.
func notSent(err error) error {
	e := *liberr.From(liberr.FromRPC, err)
	e.Cause = errors.Join(ErrNotSent, e.Cause)
	return &e
}

// forget drops a call, or a stream whose opening failed.
func (c *Client) forget(serial uint32) {
	c.mu.Lock()
	delete(c.calls, serial)
	delete(c.streams, serial)
	c.mu.Unlock()
}

// unsupported recognizes a server too old for the procedure, which libvirt's clients report as not supported.
func (c *Client) unsupported(err error, proc *protocol.Procedure) error {
	var e *liberr.Error
	if errors.As(err, &e) && (e.Domain == liberr.FromRPC || e.Domain == liberr.FromRemote) && e.Level == liberr.LevelError &&
		strings.HasPrefix(e.Message, "unknown procedure") {
		api := proc.API
		if api == "" {
			api = proc.Name
		}
		return liberr.NoSupport(e.Domain, api).WithCause(e)
	}
	return err
}

// read is the connection's reading goroutine.
func (c *Client) read() {
	var err error
	for {
		var p *Packet
		if p, err = c.conn.ReadPacket(); err != nil {
			break
		}
		c.dispatch(p)
	}
	c.end(err)
}

func (c *Client) dispatch(p *Packet) {
	switch p.Type {
	case Reply, ReplyWithFDs:
		c.mu.Lock()
		k := c.calls[p.Serial]
		if k == nil || k.header.Program != p.Program || k.header.Version != p.Version || k.header.Proc != p.Proc {
			c.mu.Unlock()
			p.Release() // given up, or nonsense
			return
		}
		delete(c.calls, p.Serial)
		c.mu.Unlock()
		k.reply <- p
	case Stream, StreamHole:
		c.mu.Lock()
		s := c.streams[p.Serial]
		c.mu.Unlock()
		if s == nil || s.call.Program != p.Program || s.call.Proc != p.Proc {
			p.Release()
			return
		}
		s.deliver(p)
	case Message:
		c.inbox.put(Event{p.Header, append([]byte(nil), p.Payload...)})
		p.Release()
	default:
		p.Release()
	}
}

// end tells everybody that the connection is over.
func (c *Client) end(err error) {
	c.conn.Close()
	text := "Cannot read data: " + liberr.Errno(err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "End of file while reading data: Input/output error"
	case errors.Is(err, ErrClosed):
		text = "client socket is closed"
	}
	var gone error = liberr.Raw(liberr.FromRPC, liberr.RPC, text).WithCause(err)
	c.mu.Lock()
	if c.err == nil {
		c.err = gone
	}
	calls, streams := c.calls, c.streams
	c.calls, c.streams = map[uint32]*call{}, map[uint32]*ClientStream{}
	c.mu.Unlock()
	for _, k := range calls {
		close(k.reply)
	}
	for _, s := range streams {
		s.fail(c.err)
	}
	c.inbox.close()
	close(c.done)
}

func (c *Client) keepalive(k *Keepalive) {
	for {
		at, _ := k.Next()
		t := time.NewTimer(time.Until(at))
		select {
		case <-c.done:
			t.Stop()
			return
		case now := <-t.C:
			switch k.Tick(now, c.conn.LastRead()) {
			case KeepalivePing:
				c.conn.SendPing()
			case KeepaliveDead:
				c.mu.Lock()
				if c.err == nil {
					c.err = liberr.New(liberr.FromRPC, liberr.InternalError, "connection closed due to keepalive timeout")
				}
				c.mu.Unlock()
				c.conn.Close()
				return
			}
		}
	}
}

// eventQueue lets the reading goroutine go on while nobody takes events.
type eventQueue struct {
	mu     sync.Mutex
	list   []Event
	closed bool
	wake   chan struct{}
}

func (q *eventQueue) put(e Event) {
	q.mu.Lock()
	q.list = append(q.list, e)
	q.mu.Unlock()
	q.signal()
}

func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *eventQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) take() ([]Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list, q.closed
}

// pumpEvents moves events from the queue to the channel. At the end what is left is still offered, until
// Close's caller cannot be reading any more: nobody takes it, nobody gets it.
func (c *Client) pumpEvents() {
	defer close(c.events)
	for range c.inbox.wake {
		list, closed := c.inbox.take()
		for _, e := range list {
			select {
			case c.events <- e:
			case <-c.done:
				select {
				case c.events <- e:
				default:
					return
				}
			}
		}
		if closed {
			return
		}
	}
}

// Authenticate does what the server asks for before anything else: nothing, or polkit. Other ways are an error.
func (c *Client) Authenticate(ctx context.Context) error {
	list, err := Do(ctx, c, protocol.AuthList, nil)
	if errors.Is(err, liberr.NoSupportCode) {
		return nil // an old server, without authentication
	}
	if err != nil {
		return err
	}
	if len(list.Types) == 0 {
		return liberr.New(liberr.FromRemote, liberr.AuthFailed, "server offers no authentication type")
	}
	switch list.Types[0] {
	case protocol.RemoteAuthNone:
		return nil
	case protocol.RemoteAuthPolkit:
		_, err := Do(ctx, c, protocol.AuthPolkit, nil)
		return err
	}
	return liberr.New(liberr.FromRemote, liberr.AuthFailed, "unsupported authentication type %d", list.Types[0])
}

// FeatureKeepalive is VIR_DRV_FEATURE_PROGRAM_KEEPALIVE: asking for it tells the server that it may ping.
const FeatureKeepalive = 10

// Connect authenticates, allows keepalive and opens: the usual beginning.
func (c *Client) Connect(ctx context.Context, uri string, readOnly bool) error {
	if err := c.Authenticate(ctx); err != nil {
		return err
	}
	if _, err := Do(ctx, c, protocol.ConnectSupportsFeature, &protocol.ConnectSupportsFeatureArgs{Feature: FeatureKeepalive}); err != nil {
		return err
	}
	return c.Open(ctx, uri, readOnly)
}

// Open makes the connection to the driver. An empty uri lets the server choose.
func (c *Client) Open(ctx context.Context, uri string, readOnly bool) error {
	args := &protocol.ConnectOpenArgs{}
	if uri != "" {
		args.Name = &uri
	}
	if readOnly {
		args.Flags = 1
	}
	_, err := Do(ctx, c, protocol.ConnectOpen, args)
	return err
}

// Disconnect says good-bye and closes.
func (c *Client) Disconnect(ctx context.Context) error {
	_, err := Do(ctx, c, protocol.ConnectClose, nil)
	c.Close()
	return err
}

// String names the connection in logs.
func (c *Client) String() string {
	return fmt.Sprintf("rpc client of %s", c.conn.NetConn().RemoteAddr())
}
