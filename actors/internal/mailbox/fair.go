package mailbox

// Flow names whose message it is: the messages of one flow keep their order, and the flows that wait take turns, so that
// one which floods does not delay another's. Group first (a user), then Member (one of his programs). The zero Flow is what
// all messages without one share.
type Flow struct{ Group, Member uint64 }

// Flowing is a request that says whose it is.
type Flowing interface{ Flow() Flow }

func flowOf(msg any) Flow {
	if f, ok := msg.(Flowing); ok {
		return f.Flow()
	}
	return Flow{}
}

// fair is the lane of requests: a queue per flow, worked off in turns. As long as the messages of one flow only wait, which
// is nearly always, it is a plain ring.
//
//	ring --a message of another flow--> turns --empty--> ring
type fair struct {
	n      int
	one    ring // all that waits, while there are no turns
	flow   Flow // of one; meaningless while it is empty
	turns  *turns
	sealed *ring // goes before all; nil: no message has asked for it
}

// turns is what takes turns. Lists are circular and name their last element, whose next is the first.
type turns struct {
	flows  map[Flow]*flowQueue
	groups map[uint64]*groupQueue
	last   *groupQueue // nil when nothing waits
	spare  *flowQueue  // emptied, linked by next
	spares int
}

type groupQueue struct {
	next *groupQueue
	last *flowQueue
	id   uint64
	n    int // messages
}

type flowQueue struct {
	ring
	next *flowQueue
	flow Flow
}

// keepFlows is how many emptied queues a lane keeps for the next turns.
const keepFlows = 8

func (f *fair) push(e entry, flow Flow) {
	f.n++
	if f.turns == nil || f.turns.last == nil {
		if f.one.n == 0 || f.flow == flow {
			f.flow = flow
			f.one.push(e)
			return
		}
		f.spread()
	}
	f.turns.push(e, flow)
}

// seal puts a message behind all that wait, and before all that come: no turns for either.
func (f *fair) seal(e entry) {
	sealed := &ring{}
	for f.n > 0 {
		sealed.push(f.pop())
	}
	sealed.push(e)
	*f = fair{n: sealed.n, sealed: sealed}
}

// spread makes turns of the ring.
func (f *fair) spread() {
	if f.turns == nil {
		f.turns = &turns{flows: map[Flow]*flowQueue{}, groups: map[uint64]*groupQueue{}}
	}
	q := f.turns.add(f.flow)
	q.ring, f.one = f.one, q.ring
	q.group(f.turns).n += q.n
}

func (q *flowQueue) group(t *turns) *groupQueue { return t.groups[q.flow.Group] }

// add makes a flow wait that does not yet.
func (t *turns) add(flow Flow) *flowQueue {
	q := t.spare
	if q != nil {
		t.spare = q.next
		t.spares--
	} else {
		q = &flowQueue{}
	}
	q.flow = flow
	t.flows[flow] = q
	g := t.groups[flow.Group]
	if g == nil {
		g = &groupQueue{id: flow.Group}
		t.groups[flow.Group] = g
		if t.last == nil {
			g.next = g
		} else {
			g.next, t.last.next = t.last.next, g
		}
		t.last = g
	}
	if g.last == nil {
		q.next = q
	} else {
		q.next, g.last.next = g.last.next, q
	}
	g.last = q
	return q
}

func (t *turns) push(e entry, flow Flow) {
	q := t.flows[flow]
	if q == nil {
		q = t.add(flow)
	}
	q.push(e)
	q.group(t).n++
}

// pop must not be called on an empty lane.
func (f *fair) pop() entry {
	f.n--
	if s := f.sealed; s != nil {
		if s.n == 1 {
			f.sealed = nil
		}
		return s.pop()
	}
	if f.turns == nil || f.turns.last == nil {
		return f.one.pop()
	}
	e := f.turns.pop()
	if f.turns.last == nil && len(f.turns.flows) == 0 && f.turns.spares >= keepFlows {
		f.turns = nil // the memory of a crowd
	}
	return e
}

// pop takes a message of the group and flow whose turn it is, and puts both at the end of their lists.
func (t *turns) pop() entry {
	g := t.last.next
	q := g.last.next
	e := q.pop()
	g.n--
	if q.n > 0 {
		g.last = q
	} else {
		t.dropFlow(g, q)
	}
	if g.last != nil {
		t.last = g
		return e
	}
	delete(t.groups, g.id)
	if g.next == g {
		t.last = nil
	} else {
		t.last.next = g.next
	}
	return e
}

// dropFlow takes out q, the first flow of its group.
func (t *turns) dropFlow(g *groupQueue, q *flowQueue) {
	delete(t.flows, q.flow)
	if q.next == q {
		g.last = nil
	} else {
		g.last.next = q.next
	}
	if t.spares < keepFlows {
		q.next, t.spare = t.spare, q
		t.spares++
	}
}

// crowd bounds, in limits, what may wait however many users there are.
const crowd = 16

// full tells whether a message of flow finds no room in a lane that is to hold limit messages. Who has much waiting makes
// it full for himself: others have room for their share, of users first, then of programs.
func (f *fair) full(flow Flow, limit int) bool {
	if f.n < limit {
		return false
	}
	if f.turns == nil || f.turns.last == nil {
		return f.one.n > 0 && f.flow == flow
	}
	ofGroup, ofFlow := 0, 0
	if g := f.turns.groups[flow.Group]; g != nil {
		ofGroup = g.n
	}
	if q := f.turns.flows[flow]; q != nil {
		ofFlow = q.n
	}
	switch {
	case f.n >= crowd*limit:
		return true
	case ofGroup*(len(f.turns.groups)+1) < limit:
		return false
	case f.n < 2*limit && ofFlow*(len(f.turns.flows)+1) < limit:
		return false
	}
	return true
}

// oldest is the time stamp of the message that has waited longest, 0 when there is none.
func (f *fair) oldest() int64 {
	oldest := f.one.oldest()
	if f.sealed != nil {
		return f.sealed.oldest()
	}
	if f.turns != nil {
		for _, q := range f.turns.flows {
			if t := q.oldest(); t != 0 && (oldest == 0 || t < oldest) {
				oldest = t
			}
		}
	}
	return oldest
}

// flows is how many flows wait.
func (f *fair) flows() int {
	if f.turns != nil && f.turns.last != nil {
		return len(f.turns.flows)
	}
	return min(f.n, 1)
}

// drain empties the lane and returns its messages, in the order of the turns.
func (f *fair) drain(into []any) []any {
	for f.n > 0 {
		into = append(into, f.pop().msg)
	}
	*f = fair{}
	return into
}
