package remoting

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// trafficWith is what a node has counted of a peer.
func (p *peer) trafficWith(address string) Traffic {
	for _, t := range p.Traffic() {
		if t.Address == address {
			return t
		}
	}
	return Traffic{}
}

func TestTrafficIsCountedAtBothEnds(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, dir+"/a"), start(t, dir+"/b")
	far := b.spawn(t, "echo", echo)
	to := actor.NewPID(Address(dir+"/b"), far.Id)
	a.mustPong(t, to)
	before, there := a.trafficWith(Address(dir+"/b")), b.trafficWith(Address(dir+"/a"))
	const n, size = 10, 1000
	for range n {
		a.ask(t, to, &ping{Data: make([]byte, size)})
	}
	now := a.trafficWith(Address(dir + "/b"))
	if got := now.RoundTrips.Count() - before.RoundTrips.Count(); got != n {
		t.Errorf("%d round trips", got)
	}
	if now.RoundTrips.Sum <= before.RoundTrips.Sum {
		t.Error("they took no time")
	}
	if now.Sent-before.Sent < n || now.SentBytes-before.SentBytes < n*size || now.Received-before.Received < n || now.ReceivedBytes-before.ReceivedBytes < n*size {
		t.Errorf("%+v, before %+v", now, before)
	}
	if other := b.trafficWith(Address(dir + "/a")); other.Received-there.Received < n || other.SentBytes-there.SentBytes < n*size {
		t.Errorf("at the other end %+v, before %+v", other, there)
	}
}

func TestVisitorsAreCountedTogether(t *testing.T) {
	dir := t.TempDir()
	a := start(t, dir+"/a")
	far := a.spawn(t, "echo", echo)
	for range 3 {
		v := start(t, "")
		v.mustPong(t, actor.NewPID(Address(dir+"/a"), far.Id))
		v.stop()
	}
	if got := a.trafficWith(""); got.Received < 3 || got.Sent < 3 {
		t.Errorf("%+v", got)
	}
	if n := len(a.Traffic()); n != 1 {
		t.Errorf("%d peers", n)
	}
}
