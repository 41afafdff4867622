package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// queueLen bounds the commands waiting to be written, and as many again may wait for their answer.
const queueLen = 128

// Handler is told what no command asked for. Event and Closed run on the reader goroutine. All may be nil.
type Handler struct {
	Event  func(Event)
	Closed func(error) // once; io.EOF when QEMU hung up, ErrClosed after Close, else what went wrong

	// Running, if set, goes around the commands that let the guest run and stop ("cont", "stop"), on the goroutine of who
	// executes them; send does it. Its error is the command's.
	Running func(ctx context.Context, x Executor, name string, send func() error) error
}

// Client is one QMP connection. Its methods may be called from any goroutine.
type Client struct {
	// Greeting is set by New and never changes.
	Greeting Greeting

	conn    net.Conn
	handler Handler
	lines   *lineReader

	lastID   atomic.Uint64
	queue    chan *call // Send -> writer
	inFlight chan *call // writer -> reader, oldest first
	done     chan struct{}
	written  chan struct{} // closed when the writer has gone
	closing  atomic.Bool   // Close was called
	cause    error         // why the connection ended; valid after done
}

// call is one command between Send and its reply.
type call struct {
	name    string
	id      string
	bytes   []byte
	fds     []int
	reply   func(Reply)
	claimed atomic.Bool   // set by whoever answers; makes the answer unique
	over    chan struct{} // closed after the answer; only for calls with fds
}

// Reply is the answer to one command: Err is nil, a *Error, or an error that Is ErrClosed.
type Reply struct {
	ID     string
	Return json.RawMessage
	Raw    []byte // the whole line as QEMU sent it; nil when no line came
	Err    error
}

// Dial connects to the socket and agrees on capabilities. h may be the zero Handler.
func Dial(ctx context.Context, path string, h Handler) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return New(ctx, conn, h)
}

// DialWait is Dial for a QEMU that was just started: as long as the socket is missing or refuses, it tries again until
// ctx ends. alive, if not nil, is asked between tries and its error ends the wait.
func DialWait(ctx context.Context, path string, h Handler, alive func() error) (*Client, error) {
	wait := time.Millisecond
	for {
		c, err := Dial(ctx, path, h)
		if err == nil || !(errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)) {
			return c, err
		}
		if alive != nil {
			if dead := alive(); dead != nil {
				return nil, dead
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
		wait = min(2*wait, 50*time.Millisecond)
	}
}

// New takes the connection over, whether it succeeds or not: it waits for the greeting, sends qmp_capabilities and
// starts the two goroutines.
func New(ctx context.Context, conn net.Conn, h Handler) (*Client, error) {
	c := &Client{
		conn:     conn,
		handler:  h,
		lines:    newLineReader(conn, MaxLine),
		queue:    make(chan *call, queueLen),
		inFlight: make(chan *call, queueLen),
		done:     make(chan struct{}),
		written:  make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err := c.handshake()
	if !stop() && err == nil {
		err = context.Cause(ctx) // the deadline is being set: this connection is no longer usable
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return nil, err
	}
	go c.write()
	go c.read()
	return c, nil
}

// handshake runs before the goroutines, on the plain connection.
func (c *Client) handshake() error {
	m, line, err := c.receive()
	if err != nil {
		return err
	}
	if m.QMP == nil {
		return protocolError(line, "no greeting")
	}
	c.Greeting = *m.QMP
	hello, id, err := c.encode("qmp_capabilities", nil)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(hello); err != nil {
		return err
	}
	for {
		m, line, err := c.receive()
		switch {
		case err != nil:
			return err
		case m.Error != nil:
			m.Error.Command = "qmp_capabilities"
			return m.Error
		case m.Return != nil && sameID(m.ID, id):
			return nil
		case m.Event != "":
			// Nobody can have asked for events yet; QEMU sends none in this phase.
			continue
		default:
			return protocolError(line, "unexpected answer to qmp_capabilities")
		}
	}
}

func (c *Client) receive() (*message, []byte, error) {
	line, err := c.lines.next()
	if err != nil {
		return nil, nil, err
	}
	m, err := parse(line)
	return m, line, err
}

// Send queues a command; args is nil or encodes to a JSON object. reply is called once unless an error is returned
// here. Descriptors in fds go along with the command (getfd, add-fd) and must stay open until the reply.
func (c *Client) Send(name string, args any, reply func(Reply), fds ...int) (id string, err error) {
	b, id, err := c.encode(name, args)
	if err != nil {
		return "", err
	}
	return id, c.enqueue(&call{name: name, id: id, bytes: b, fds: fds, reply: reply})
}

func (c *Client) enqueue(k *call) error {
	if len(k.fds) > 0 {
		k.over = make(chan struct{})
	}
	select {
	case <-c.done:
		return &closedError{c.cause}
	default:
	}
	select {
	case c.queue <- k:
	default:
		return ErrBusy
	}
	// The connection may have ended meanwhile, and its last sweep of the queue may have missed this call.
	select {
	case <-c.done:
		if k.claimed.CompareAndSwap(false, true) {
			return &closedError{c.cause}
		}
	default:
	}
	return nil
}

// Close ends the connection. Calls in flight get ErrClosed; Handler.Closed is still called.
func (c *Client) Close() error {
	c.closing.Store(true)
	return c.conn.Close()
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection stands, then what Handler.Closed gets.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.cause
	default:
		return nil
	}
}

// encode makes the line of a command.
//
// Compat: the ids count up as "libvirt-1", because qemu-monitor-command shows them to its user.
func (c *Client) encode(name string, args any) (line []byte, id string, err error) {
	id = "libvirt-" + strconv.FormatUint(c.lastID.Add(1), 10)
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // ends with the newline that ends the command
	enc.SetEscapeHTML(false)
	err = enc.Encode(struct {
		Execute string `json:"execute"`
		Args    any    `json:"arguments,omitempty"`
		ID      string `json:"id"`
	}{name, args, id})
	return b.Bytes(), id, err
}

// write moves commands from the queue to the socket until the connection ends.
func (c *Client) write() {
	defer close(c.written)
	for {
		var k *call
		select {
		case <-c.done:
			return
		case k = <-c.queue:
		}
		select {
		case <-c.done:
			k.answer(Reply{Err: &closedError{c.cause}})
			return
		case c.inFlight <- k:
		}
		if err := c.put(k); err != nil {
			// Usually the peer hung up, and the reader still has its last words to read before it sees the end.
			// Should the end not come by itself, it comes now.
			c.conn.SetReadDeadline(time.Now().Add(time.Second))
			<-c.done
			return
		}
		if k.over != nil {
			// QEMU keeps the descriptors of one message only, until the command that takes them runs.
			select {
			case <-k.over:
			case <-c.done:
				return
			}
		}
	}
}

func (c *Client) put(k *call) error {
	if len(k.fds) > 0 {
		return c.putFDs(k)
	}
	_, err := c.conn.Write(k.bytes)
	return err
}

// read handles everything QEMU sends, then winds the client up.
func (c *Client) read() {
	err := c.readAll()
	if c.closing.Load() {
		err = ErrClosed
	}
	c.conn.Close()
	c.cause = err
	close(c.done)
	<-c.written
	c.fail(c.inFlight)
	c.fail(c.queue)
	if c.handler.Closed != nil {
		c.handler.Closed(err)
	}
}

func (c *Client) readAll() error {
	for {
		m, line, err := c.receive()
		if err != nil {
			return err
		}
		switch {
		case m.Event != "":
			if c.handler.Event != nil {
				at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000)
				c.handler.Event(Event{Name: m.Event, Data: m.Data, Time: at})
			}
		case m.QMP != nil:
			return protocolError(line, "second greeting")
		default:
			if err := c.match(m, line); err != nil {
				return err
			}
		}
	}
}

// match gives a return or an error to the oldest call in flight, whose it must be.
func (c *Client) match(m *message, line []byte) error {
	var k *call
	select {
	case k = <-c.inFlight:
	default:
		return protocolError(line, "answer without a question")
	}
	// An error without an id means that QEMU could not read the command; it still comes in its turn.
	if !(m.Error != nil && m.ID == nil) && !sameID(m.ID, k.id) {
		k.answer(Reply{Err: &closedError{protocolError(line, "answer to another question than %s", k.id)}})
		return protocolError(line, "answer to another question than %s", k.id)
	}
	r := Reply{ID: k.id, Return: m.Return, Raw: append([]byte(nil), line...)}
	if m.Error != nil {
		m.Error.Command = k.name
		r.Err = m.Error
	}
	k.answer(r)
	return nil
}

// fail answers everything left in a queue whose writers see c.done.
func (c *Client) fail(q chan *call) {
	for {
		select {
		case k := <-q:
			k.answer(Reply{Err: &closedError{c.cause}})
		default:
			return
		}
	}
}

func (k *call) answer(r Reply) {
	if !k.claimed.CompareAndSwap(false, true) {
		return
	}
	if k.over != nil {
		close(k.over)
	}
	r.ID = k.id
	if k.reply != nil {
		k.reply(r)
	}
}

func sameID(raw json.RawMessage, id string) bool {
	var s string
	return json.Unmarshal(raw, &s) == nil && s == id
}

// IsEOF says whether the connection ended because QEMU closed it, in good order or not.
func IsEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}
