package remoting

// chunk is some frames in a row, sent by one system call if the kernel takes them all.
type chunk struct {
	buf      *buffer
	off      int   // sent so far
	fds      []int // go with the first byte
	messages int
}

// coalesce is the size up to which frames are copied together.
const coalesce = 32 << 10

// outbox is the queue of an endpoint, guarded by the endpoint's mutex.
type outbox struct {
	queue    []chunk // queue[head:] waits
	head     int
	bytes    int // waiting or being sent
	messages int
	idle     chan struct{} // closed when nothing waits any more; nil: nobody asks
}

// weight is the room that a class of frames may use, in parts of the limit. Control frames (heartbeats,
// watches, errors) fit up to the point where the link is given up.
type weight int

const (
	normal  weight = 1
	reply   weight = 2
	control weight = 4
)

func (o *outbox) fits(w weight, size int, opts *Options) bool {
	return o.messages == 0 || o.messages < int(w)*opts.QueueMessages && o.bytes+size <= int(w)*opts.QueueBytes
}

// add takes over buf and fds.
func (o *outbox) add(buf *buffer, fds []int) {
	o.bytes += len(buf.b)
	o.messages++
	if n := len(o.queue); n > o.head {
		tail := &o.queue[n-1]
		if len(tail.buf.b)+len(buf.b) <= coalesce && len(tail.fds)+len(fds) <= maxDescriptors {
			tail.buf.b = append(tail.buf.b, buf.b...)
			tail.fds = append(tail.fds, fds...)
			tail.messages++
			buf.free()
			return
		}
	}
	o.queue = append(o.queue, chunk{buf: buf, fds: fds, messages: 1})
}

// take removes the head for the owner of the link's sending side, who gives it back with done.
func (o *outbox) take() (chunk, bool) {
	if o.head == len(o.queue) {
		return chunk{}, false
	}
	c := o.queue[o.head]
	o.queue[o.head] = chunk{}
	if o.head++; o.head == len(o.queue) {
		o.head, o.queue = 0, o.queue[:0]
		if cap(o.queue) > 256 { // do not keep a burst's memory
			o.queue = nil
		}
	}
	return c, true
}

// done ends a chunk that was sent, or will never be.
func (o *outbox) done(c *chunk) {
	closeAll(c.fds)
	o.bytes -= len(c.buf.b)
	o.messages -= c.messages
	c.buf.free()
	*c = chunk{}
	if o.messages == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

func (o *outbox) drop() {
	for {
		c, ok := o.take()
		if !ok {
			return
		}
		o.done(&c)
	}
}
