package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"virtree/wire/liberr"
)

// Timeouts of commands, in seconds where they are positive; libvirt's virDomainAgentResponseTimeoutValues.
const (
	Block   = -2 // wait for ever
	Default = -1 // five seconds
	NoWait  = 0
)

// syncWait is how long an agent may take to come into step, whatever its commands may take.
const syncWait = 5 * time.Second

// maxAnswer bounds one answer. The largest real ones are files read in pieces of 48 MiB, in base64; libvirt stops at
// 10 MiB.
const maxAnswer = 10 << 20

// Client is the way to one guest's agent. Its methods may be called from any goroutine.
type Client struct {
	path string
	turn chan struct{} // holds one token: who has it uses the connection

	// Owned by the holder of the token.
	conn   net.Conn
	lines  *bufio.Reader
	inStep bool

	lastSync atomic.Int64

	mu     sync.Mutex // guards what follows, for a few instructions
	closed bool
	open   net.Conn             // conn again, for Close
	await  map[string]chan bool // events that a running command waits for
}

// New makes the way to the agent behind a socket.
func New(path string) *Client {
	c := &Client{path: path, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	c.lastSync.Store(time.Now().UnixMilli())
	return c
}

// Close ends the connection, and with it the command that runs. The client cannot be used again.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.open != nil {
		_ = c.open.Close()
	}
}

// Reset drops the connection: the guest's side was closed, and what comes next is another agent.
func (c *Client) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		_ = c.open.Close()
		c.open = nil
	}
}

// Event tells of an event of QEMU; a command that waits for it has succeeded.
func (c *Client) Event(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.await[name]; ch != nil {
		select {
		case ch <- true:
		default:
		}
	}
}

// Command is one command to the agent.
type Command struct {
	Name    string
	Args    any      // nil for none; marshalled as it is
	Timeout int      // seconds, or Block, Default, NoWait
	Events  []string // of QEMU, each of which counts as the answer; so does the end of the connection
	// Optional makes an agent that does not know the command an ErrMissing instead of libvirt's error.
	Optional bool
}

// ErrMissing is the error of an Optional command that the agent does not have, or that is disabled in it.
var ErrMissing = errors.New("the guest agent does not have this command")

// Execute runs a command. ret is nil or where its value is decoded to.
func (c *Client) Execute(ctx context.Context, cmd Command, ret any) error {
	body, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{cmd.Name, cmd.Args})
	if err != nil {
		return err
	}
	line, err := c.exchange(ctx, body, cmd.Timeout, cmd.Events)
	if err != nil || line == nil {
		return err
	}
	value, err := check(cmd.Name, line, cmd.Optional)
	if err != nil || ret == nil {
		return err
	}
	if err := json.Unmarshal(value, ret); err != nil {
		return internal("malformed return value").WithCause(err)
	}
	return nil
}

// Raw sends a client's own command and returns the agent's whole answer, compact. An error of the agent is an error.
func (c *Client) Raw(ctx context.Context, command string, timeout int) (string, error) {
	var parsed map[string]json.RawMessage
	if err := json.Unmarshal([]byte(command), &parsed); err != nil {
		return "", internal("cannot parse json %s: %v", command, err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, []byte(command)); err != nil {
		return "", internal("cannot parse json %s: %v", command, err)
	}
	line, err := c.exchange(ctx, body.Bytes(), timeout, nil)
	if err != nil {
		return "", err
	}
	name := "(unknown)"
	_ = json.Unmarshal(parsed["execute"], &name)
	if _, err := check(name, line, false); err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, line); err != nil {
		return "", err
	}
	return out.String(), nil
}

// answer is one line of the agent.
type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// check separates value and error of an answer.
func check(name string, line []byte, optional bool) (json.RawMessage, error) {
	var a answer
	if err := json.Unmarshal(line, &a); err != nil || a.Error == nil && a.Return == nil {
		return nil, internal("unable to execute QEMU agent command '%s'", name)
	}
	if a.Error == nil {
		return a.Return, nil
	}
	if optional && (a.Error.Class == "CommandNotFound" || a.Error.Class == "CommandDisabled") {
		return nil, ErrMissing
	}
	return nil, internal("unable to execute QEMU agent command '%s': %s", name, a.words())
}

// words is the error as libvirt prints it: the agent's own description, or what its class means.
func (a *answer) words() string {
	if a.Error.Desc != "" {
		return a.Error.Desc
	}
	switch a.Error.Class {
	case "CommandNotFound":
		return "The command has not been found"
	case "CommandDisabled":
		return "The command has been disabled for this instance"
	}
	return "unknown QEMU command error"
}

func internal(format string, args ...any) *liberr.Error {
	return liberr.New(liberr.FromQemu, liberr.InternalError, format, args...)
}

func unresponsive(text string) *liberr.Error {
	return liberr.New(liberr.FromQemu, liberr.AgentUnresponsive, "%s", text)
}

const disappeared = "Guest agent disappeared while executing command"

// exchange sends one command in step and waits for its answer, which is nil when an event stood for it.
func (c *Client) exchange(ctx context.Context, body []byte, timeout int, events []string) ([]byte, error) {
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.Reset) // who asks has gone: the only way out of a wait for a silent guest
	defer stop()
	c.inStep = false // the guest may have left the port to another agent, or be stuck since: libvirt asks each time too
	if err := c.sync(timeout); err != nil {
		return nil, c.explain(ctx, err)
	}
	happened := make(chan bool, 1)
	c.expect(events, happened)
	defer c.expect(nil, nil)
	conn := c.conn
	watched := make(chan struct{})
	defer close(watched)
	if len(events) > 0 {
		go func() {
			select {
			case <-happened:
				happened <- true // for the reader, who wakes up
				_ = conn.SetReadDeadline(time.Unix(1, 0))
			case <-watched:
			}
		}()
	}
	line, err := c.talk(body, wait(timeout))
	if err == nil {
		return line, nil
	}
	if len(events) > 0 {
		select {
		case <-happened:
			c.drop()
			return nil, nil
		default:
		}
		if !isTimeout(err) && ctx.Err() == nil { // it went down with its channel
			return nil, nil
		}
	}
	return nil, c.explain(ctx, err)
}

// wait is the time a command may take; 0 is for ever.
func wait(timeout int) time.Duration {
	switch {
	case timeout == Default:
		return syncWait
	case timeout <= Block:
		return 0
	case timeout == NoWait:
		return time.Millisecond
	}
	return time.Duration(timeout) * time.Second
}

// expect names the events that end the command that runs.
func (c *Client) expect(events []string, ch chan bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.await = nil
	for _, e := range events {
		if c.await == nil {
			c.await = map[string]chan bool{}
		}
		c.await[e] = ch
	}
}

// connect opens the socket if it is not open.
func (c *Client) connect(ctx context.Context) error {
	c.mu.Lock()
	closed, current := c.closed, c.open
	c.mu.Unlock()
	if closed {
		return unresponsive(disappeared)
	}
	if current != nil {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(short, "unix", c.path)
	if err != nil {
		return unresponsive("QEMU guest agent is not available due to an error").WithCause(err)
	}
	c.conn, c.lines, c.inStep = conn, bufio.NewReaderSize(conn, 4096), false
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return unresponsive(disappeared)
	}
	c.open = conn
	return nil
}

// drop closes the connection after a failure that leaves its state unknown.
func (c *Client) drop() {
	c.Reset()
	c.inStep = false
}

// explain turns the end of a wait into libvirt's error.
func (c *Client) explain(ctx context.Context, err error) error {
	var own *liberr.Error
	switch {
	case errors.As(err, &own):
		return err
	case isTimeout(err):
		code := liberr.AgentUnresponsive
		if c.inStep {
			code = liberr.AgentCommandTimeout
		}
		c.inStep = false // the answer may come yet
		return liberr.New(liberr.FromQemu, code, "Guest agent not available for now")
	case ctx.Err() != nil:
		c.drop()
		return context.Cause(ctx)
	}
	c.drop()
	return unresponsive(disappeared).WithCause(err)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// sentinel announces the answer to guest-sync-delimited, and makes the agent forget half a command.
const sentinel = 0xff

// sync brings both sides into step: what comes before the number just sent is old.
//
// Compat: the first try may fail on an agent whose parser holds half a command of somebody else; its complaint is
// thrown away and the second try counts.
func (c *Client) sync(timeout int) error {
	limit := syncWait
	if timeout >= 0 && time.Duration(timeout)*time.Second < limit {
		limit = wait(timeout)
	}
	deadline := time.Now().Add(limit)
	if err := c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	for try := 0; ; try++ {
		id := c.lastSync.Add(1)
		msg := fmt.Sprintf("{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%d}}\n", id)
		if _, err := c.conn.Write(append([]byte{sentinel}, msg...)); err != nil {
			return err
		}
		again, err := c.syncAnswer(id)
		if err == nil && !again {
			c.inStep = true
			return nil
		}
		if err != nil {
			return err
		}
		if try > 0 {
			return unresponsive("Missing monitor reply object")
		}
	}
}

// syncAnswer reads up to the sentinel and the number behind it. again says that the agent complained about what it had
// before.
func (c *Client) syncAnswer(id int64) (again bool, err error) {
	for {
		line, err := c.readLine()
		if err != nil {
			return false, err
		}
		at := bytes.LastIndexByte(line, sentinel)
		var a answer
		if json.Unmarshal(bytes.TrimSpace(line[at+1:]), &a) != nil {
			continue // garbage
		}
		if a.Error != nil {
			if at < 0 && strings.Contains(a.Error.Desc, "JSON") {
				continue // about the bytes before our command; its answer follows
			}
			return true, nil
		}
		var got int64
		if json.Unmarshal(a.Return, &got) == nil && got == id {
			return false, nil
		}
	}
}

// talk sends one line and reads lines until one is an answer. limit 0 waits for ever.
func (c *Client) talk(body []byte, limit time.Duration) ([]byte, error) {
	deadline := time.Time{}
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(append(bytes.Clone(body), '\n')); err != nil {
		return nil, err
	}
	for {
		line, err := c.readLine()
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSpace(line[bytes.LastIndexByte(line, sentinel)+1:])
		if len(line) > 0 && json.Valid(line) && line[0] == '{' {
			return line, nil
		}
	}
}

// readLine reads one bounded line.
func (c *Client) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := c.lines.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) > maxAnswer {
			c.drop()
			return nil, internal("No complete agent response found in %d bytes", maxAnswer)
		}
	}
}
