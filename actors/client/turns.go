package client

import (
	"runtime"
	"sync/atomic"
	"time"

	"virtree/wire/rpc"
)

// Clients that crowd, and those that do not. Whoever sends calls without waiting for the answers can keep all processors
// busy, ours with serving it and the others with itself. While there are clients that wait for each answer, the crowd works
// for a third of the time, which is tens of thousands of calls per second. Alone it has all of it.

// crowdSeats are for connections that crowd. They work only while they have one of these, which leaves a processor to the
// others, where there is more than one: a dozen that never pause would otherwise keep all of them busy, for 10 ms each in turn.
var crowdSeats = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// patient is when a client called that waits for its answers, in nanoseconds since born.
var patient atomic.Int64

var born = time.Now()

const (
	patientFor  = time.Second           // that such a call counts for
	patientStep = 50 * time.Millisecond // patient may be behind by
	patientMany = 8                     // calls in a row until a connection is known for waiting
	eagerMany   = 8                     // calls in a row that were there before they were read for, until it crowds

	workLeast = 300 * time.Microsecond // without rest: Go sleeps for a millisecond at least when there is nothing else to do
	restMost  = 5 * time.Millisecond
)

// othersWait tells whether clients that wait for their answers have called lately.
func othersWait(now time.Time) bool {
	at := patient.Load()
	return at != 0 && now.Sub(born)-time.Duration(at) < patientFor
}

// turn is a connection's place in the crowd.
type turn struct {
	on    bool // has a seat
	eager int  // calls in a row that did not have to be waited for
	calm  int  // calls in a row that had to be
	since time.Time
	work  time.Duration // that it has not rested from
}

// crowding tells whether the packet that was just read is one of many.
func (t *turn) crowding(conn *rpc.Conn) bool {
	switch {
	case conn.PacketBuffered():
		t.calm = 0
		return true
	case !conn.Waited():
		t.calm = 0
		t.eager = min(t.eager+1, eagerMany)
		return t.eager == eagerMany
	}
	t.eager = 0
	if t.calm < patientMany {
		t.calm++
		return false
	}
	if now := conn.LastRead().Sub(born); now-time.Duration(patient.Load()) > patientStep {
		patient.Store(int64(now))
	}
	return false
}

// begin waits for a seat.
func (t *turn) begin() {
	crowdSeats <- struct{}{}
	t.on, t.since = true, time.Now()
}

// end gives the seat back, after a rest in it: who comes next has to wait, too.
func (t *turn) end() {
	now := time.Now()
	t.work += now.Sub(t.since)
	if t.work >= workLeast {
		if othersWait(now) {
			time.Sleep(min(2*t.work, restMost))
		}
		t.work = 0
	}
	t.on = false
	<-crowdSeats
	runtime.Gosched()
}

// arrivals paces connections: after a few in a row each next one has to wait while other clients are being served. To open a
// connection costs as much as dozens of calls.
type arrivals struct {
	last time.Time
	row  int // came sooner than arrivalStep after the one before
}

const (
	arrivalStep = 2 * time.Millisecond
	arrivalFew  = 8
	arrivalRest = time.Millisecond
)

// pause is called before each accept.
func (a *arrivals) pause() {
	now := time.Now()
	if now.Sub(a.last) > arrivalStep {
		a.row = 0
	}
	if a.row++; a.row > arrivalFew && othersWait(now) {
		time.Sleep(arrivalRest)
	}
	a.last = time.Now()
}
