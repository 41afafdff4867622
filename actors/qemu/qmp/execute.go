package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Executor runs one command and waits for its answer. ret is nil or where the answer is decoded to.
type Executor interface {
	Execute(ctx context.Context, name string, args, ret any) error
}

var (
	_ Executor = (*Client)(nil)
	_ Passer   = (*Client)(nil)
)

// Execute sends a command and waits for its answer or for ctx. A command given up on still runs in QEMU; its late
// answer is dropped.
func (c *Client) Execute(ctx context.Context, name string, args, ret any) error {
	if around := c.handler.Running; around != nil && (name == "cont" || name == "stop") {
		return around(ctx, c, name, func() error { return c.ExecuteFDs(ctx, name, args, ret) })
	}
	return c.ExecuteFDs(ctx, name, args, ret)
}

// ExecuteFDs is Execute for a command that takes descriptors along.
func (c *Client) ExecuteFDs(ctx context.Context, name string, args, ret any, fds ...int) error {
	answers := make(chan Reply, 1)
	if _, err := c.Send(name, args, func(r Reply) { answers <- r }, fds...); err != nil {
		return err
	}
	select {
	case r := <-answers:
		return r.Decode(name, ret)
	case <-ctx.Done():
		return fmt.Errorf("QEMU command '%s': %w", name, context.Cause(ctx))
	}
}

// Decode reads the answer's value into ret, which may be nil.
func (r Reply) Decode(name string, ret any) error {
	if r.Err != nil {
		return r.Err
	}
	if ret == nil {
		return nil
	}
	if err := json.Unmarshal(r.Return, ret); err != nil {
		return protocolError(r.Return, "answer to %s has an unexpected form (%v)", name, err)
	}
	return nil
}

// errHasID refuses a raw command with an id: the client sets its own.
var errHasID = errors.New("the command must not have an 'id'")

// SendRaw queues a command that its user wrote as JSON (qemu-monitor-command). Only an object is accepted; what it
// contains is QEMU's to judge. The Reply's Raw is the whole answer, an error included.
func (c *Client) SendRaw(command []byte, reply func(Reply)) (id string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(command, &fields); err != nil {
		return "", fmt.Errorf("cannot parse json %s: %w", command, err)
	}
	if _, has := fields["id"]; has {
		return "", errHasID
	}
	var name string
	json.Unmarshal(fields["execute"], &name) // only for messages
	id = fmt.Sprintf("libvirt-%d", c.lastID.Add(1))

	// The user's text is kept, order and all, but on one line.
	var b bytes.Buffer
	if err := json.Compact(&b, command); err != nil {
		return "", err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("}"))
	if len(fields) > 0 {
		line = append(line, ',')
	}
	line = append(line, `"id":"`+id+"\"}\n"...)
	return id, c.enqueue(&call{name: name, id: id, bytes: line, reply: reply})
}

// ExecuteRaw runs SendRaw and returns QEMU's whole answer on one line without spaces, an error answer included.
func (c *Client) ExecuteRaw(ctx context.Context, command []byte) ([]byte, error) {
	answers := make(chan Reply, 1)
	if _, err := c.SendRaw(command, func(r Reply) { answers <- r }); err != nil {
		return nil, err
	}
	select {
	case r := <-answers:
		if r.Raw == nil {
			return nil, r.Err
		}
		var b bytes.Buffer
		if err := json.Compact(&b, r.Raw); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
