package supervisors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// The picture of a process is handed out by a plain socket of its own: whoever connects gets one JSON document. It needs
// no actor, no client connection and no remoting, since it is most wanted when one of these is what does not work.

// lookLimit bounds how long one visitor, or one process that is asked, may take.
const lookLimit = 2 * time.Second

// ServeLook answers on l until ctx ends, and closes it. collect is Tree.Collect or Tree.CollectAll.
func ServeLook(ctx context.Context, l net.Listener, collect func(context.Context) *Node) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, say: it will pass
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * lookLimit))
			_ = json.NewEncoder(conn).Encode(collect(ctx)) // a visitor who left early does not matter
		}()
	}
}

// ListenLook opens the socket at path for its owner only, in place of a stale one.
func ListenLook(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, &ExitError{ExitNetwork, fmt.Errorf("%s is in use", path)}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, &ExitError{ExitNetwork, err}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, &ExitError{ExitNetwork, err}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, &ExitError{ExitNetwork, err}
	}
	return l, nil
}

// Look asks the process behind a socket for its picture.
func Look(ctx context.Context, path string) (*Node, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	var n Node
	if err := json.NewDecoder(conn).Decode(&n); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &n, nil
}

// CollectAll draws the tree with what its processes say of themselves; socket names the look socket of a branch. All are
// asked at once, and one that does not answer is drawn as its keeper sees it.
func (t *Tree) CollectAll(ctx context.Context, socket func(branch string) string) *Node {
	root := t.Collect()
	if t.opts.Exec == nil {
		return root
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	inner := make([]*Node, len(t.opts.Spec))
	var wg sync.WaitGroup
	for i, b := range t.opts.Spec {
		wg.Go(func() { inner[i], _ = Look(ctx, socket(b.Name)) }) // no answer is an answer: see above
	}
	wg.Wait()
	for i, b := range t.opts.Spec {
		if inner[i] != nil {
			root.Graft(b.Name, inner[i])
		}
	}
	return root
}
