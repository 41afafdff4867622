package call

import "sync"

// Open lists the calls that an actor has taken and not answered yet. The actor fails them when it ends or is
// restarted after a panic: the requests are in its fields and its jobs' closures, which end with it. Calls that it
// passed on to its children are among them; the children end with it too. The zero value is empty.
type Open struct {
	mu    sync.Mutex // a job may answer in its goroutine
	calls map[*Request]struct{}
}

func (o *Open) enter(r *Request) {
	o.mu.Lock()
	if o.calls == nil {
		o.calls = map[*Request]struct{}{}
	}
	o.calls[r] = struct{}{}
	o.mu.Unlock()
}

func (o *Open) leave(r *Request) {
	o.mu.Lock()
	delete(o.calls, r)
	o.mu.Unlock()
}

// Fail answers all of them with err.
func (o *Open) Fail(err error) {
	o.mu.Lock()
	calls := o.calls
	o.calls = nil
	o.mu.Unlock()
	for r := range calls {
		r.Fail(err)
	}
}
