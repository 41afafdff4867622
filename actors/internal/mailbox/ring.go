package mailbox

// ring is a FIFO that grows by doubling and forgets its memory when it runs empty after a burst.
type ring struct {
	buf  []entry // len is a power of two, or 0
	head int
	n    int
}

// entry is one queued message and the coarse time it came in, from which the age of a lane is read.
type entry struct {
	msg any
	at  int64
}

const (
	smallest = 8  // entries of a first buffer: 192 bytes; many actors never need more
	keep     = 64 // an empty ring larger than this is given back
)

func (r *ring) push(e entry) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = e
	r.n++
}

func (r *ring) grow() {
	next := make([]entry, max(smallest, 2*len(r.buf)))
	k := copy(next, r.buf[r.head:])
	copy(next[k:], r.buf[:r.head])
	r.buf, r.head = next, 0
}

// pop must not be called on an empty ring.
func (r *ring) pop() entry {
	e := r.buf[r.head]
	r.buf[r.head] = entry{} // the message must not be kept alive by a slot that is free
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if r.n == 0 && len(r.buf) > keep {
		*r = ring{}
	}
	return e
}

// oldest is the time stamp of the first entry, 0 when empty.
func (r *ring) oldest() int64 {
	if r.n == 0 {
		return 0
	}
	return r.buf[r.head].at
}

// drain empties the ring and returns its messages in order.
func (r *ring) drain(into []any) []any {
	for r.n > 0 {
		into = append(into, r.pop().msg)
	}
	*r = ring{}
	return into
}
