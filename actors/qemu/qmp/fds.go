package qmp

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// putFDs writes a command together with its descriptors in one message.
func (c *Client) putFDs(k *call) error {
	u, ok := c.conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("cannot pass file descriptors over %T", c.conn)
	}
	n, oob, err := u.WriteMsgUnix(k.bytes, unix.UnixRights(k.fds...), nil)
	if err != nil {
		return err
	}
	if oob == 0 {
		return fmt.Errorf("file descriptors of %s were not sent", k.name)
	}
	if n < len(k.bytes) {
		_, err = u.Write(k.bytes[n:])
	}
	return err
}

// Passer can send descriptors along with a command.
type Passer interface {
	Executor
	ExecuteFDs(ctx context.Context, name string, args, ret any, fds ...int) error
}

// FDSet is add-fd's answer.
type FDSet struct {
	ID int64 `json:"fdset-id"`
	FD int64 `json:"fd"` // number inside QEMU
}

// AddFD puts a copy of fd into a descriptor set of QEMU, to be named as /dev/fdset/ID. set < 0 makes a new one.
func AddFD(ctx context.Context, x Passer, set int64, opaque string, fd int) (FDSet, error) {
	args := struct {
		Set    *int64 `json:"fdset-id,omitempty"`
		Opaque string `json:"opaque,omitempty"`
	}{Opaque: opaque}
	if set >= 0 {
		args.Set = &set
	}
	var ret FDSet
	err := x.ExecuteFDs(ctx, "add-fd", args, &ret, fd)
	return ret, err
}

// RemoveFD drops a descriptor set, or one descriptor of it when fd >= 0.
func RemoveFD(ctx context.Context, x Executor, set, fd int64) error {
	args := map[string]any{"fdset-id": set}
	if fd >= 0 {
		args["fd"] = fd
	}
	return x.Execute(ctx, "remove-fd", args, nil)
}

// GetFD gives QEMU a copy of fd under a name that one later command uses up.
func GetFD(ctx context.Context, x Passer, name string, fd int) error {
	return x.ExecuteFDs(ctx, "getfd", map[string]any{"fdname": name}, nil, fd)
}

// CloseFD takes back a descriptor given by GetFD that nothing used.
func CloseFD(ctx context.Context, x Executor, name string) error {
	return x.Execute(ctx, "closefd", map[string]any{"fdname": name}, nil)
}
