package peer

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/xdr"
)

const (
	// connectPatience bounds connecting, authenticating and opening together.
	connectPatience = 10 * time.Second
	// restartPatience is how long a call waits for a daemon that was there a moment ago.
	restartPatience = 3 * time.Second
	// retryPause is the time between two attempts at the socket of such a daemon.
	retryPause = 50 * time.Millisecond
	// The daemon is pinged, and given up when it is silent for so many pings: libvirt's own numbers.
	keepaliveInterval = 5 * time.Second
	keepaliveCount    = 5
)

// dial opens a connection for a caller: authenticated, its driver open, its identity told. While patience lasts a
// socket where nobody listens is tried again.
func (a Address) dial(ctx context.Context, who identity, patience time.Duration) (*rpc.Client, error) {
	c, err := a.connect(ctx, patience)
	if err != nil {
		return nil, err
	}
	if err = c.Connect(ctx, a.URI, who.readOnly); err == nil && !who.own {
		_, err = rpc.Do(ctx, c, protocol.ConnectSetIdentity, &protocol.ConnectSetIdentityArgs{Params: who.params()})
	}
	if err != nil {
		_ = c.Close()
		return nil, a.clear(ctx, err)
	}
	return c, nil
}

func (a Address) connect(ctx context.Context, patience time.Duration) (*rpc.Client, error) {
	until := time.Now().Add(patience)
	for {
		socket := a.Find()
		var d net.Dialer
		nc, err := d.DialContext(ctx, "unix", socket)
		switch {
		case err == nil && !a.sameProcess && ourselves(nc):
			_ = nc.Close()
			return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "the socket '%s' of the foreign daemon is our own", socket)
		case err == nil:
			return rpc.NewClient(nc, &rpc.ClientOptions{KeepaliveInterval: keepaliveInterval, KeepaliveCount: keepaliveCount}), nil
		}
		away := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		if !away || time.Now().After(until) {
			return nil, liberr.System(liberr.FromRPC, err, "Failed to connect socket to '%s'", socket)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// clear makes the end of the waiting an error that says what was waited for.
func (a Address) clear(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return liberr.New(liberr.FromRPC, liberr.OperationTimeout, "the daemon at '%s' does not answer", a.Find()).WithCause(err)
}

// ourselves tells whether this process listens at the other end, which would make every call go round in circles.
func ourselves(nc net.Conn) bool {
	u, ok := nc.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var cred *syscall.Ucred
	_ = raw.Control(func(fd uintptr) {
		cred, _ = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	return cred != nil && int(cred.Pid) == os.Getpid()
}

// answer is what a call has brought; stream is what it opened, nil for most.
type answer struct {
	ret    raw
	stream *rpc.ClientStream
}

// relay makes one call on a connection.
func relay(ctx context.Context, c *rpc.Client, m *call.Call) (a *answer, err error) {
	a = &answer{}
	args := raw(m.Args)
	if m.Proc.Kind.Stream() {
		if args, err = plain(m.Proc, args); err == nil {
			a.stream, err = c.OpenStream(ctx, m.Proc, &args, &a.ret)
		}
	} else {
		err = c.Call(ctx, m.Proc, &args, &a.ret)
	}
	if err != nil {
		return nil, overdue(ctx, err)
	}
	return a, nil
}

// overdue names the deadline of a call that nobody waits for any more.
func overdue(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return liberr.New(liberr.FromRPC, liberr.OperationTimeout, "the daemon has not answered in time").WithCause(err)
	}
	return err
}

// raw is an argument or a result as it stands on the wire.
type raw []byte

// AppendXDR appends it.
func (r *raw) AppendXDR(b []byte) []byte { return append(b, *r...) }

// DecodeXDR takes all there is, as a copy.
func (r *raw) DecodeXDR(d *xdr.Decoder) {
	*r = make([]byte, d.Remaining())
	d.FixedOpaque(*r)
}
