package remoting

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"virtree/wire/meter"
)

// traffic counts what goes to and comes from one peer, over all its links; of peers that nobody can dial all share one,
// since each visitor is a peer of its own and gone soon.
type traffic struct {
	sent, sentBytes         atomic.Uint64
	received, receivedBytes atomic.Uint64
	answers                 meter.Histogram
}

func (t *traffic) send(bytes int) {
	t.sent.Add(1)
	t.sentBytes.Add(uint64(bytes))
}

func (t *traffic) receive(bytes int) {
	t.received.Add(1)
	t.receivedBytes.Add(uint64(bytes))
}

// Traffic is what went between this node and a peer since the node was started.
type Traffic struct {
	Address                 string        // "" for all visitors together
	Sent, SentBytes         uint64        // frames: messages, and what keeps links alive
	Received, ReceivedBytes uint64        // likewise
	RoundTrips              meter.Reading // from sending a request of a local actor to its answer, or the news that there is none
}

// Traffic lists all peers that this node has dealt with.
func (n *Node) Traffic() []Traffic {
	read := func(address string, t *traffic) Traffic {
		return Traffic{address, t.sent.Load(), t.sentBytes.Load(), t.received.Load(), t.receivedBytes.Load(), t.answers.Read()}
	}
	all := []Traffic{read("", &n.visitors)}
	for _, ep := range n.all() {
		if ep.traffic != &n.visitors {
			all = append(all, read(ep.address, ep.traffic))
		}
	}
	slices.SortFunc(all, func(a, b Traffic) int { return cmp.Compare(a.Address, b.Address) })
	return all
}

// trafficOf is where the traffic with an address is counted.
func (n *Node) trafficOf(address string) *traffic {
	if strings.HasPrefix(address, anonymous) {
		return &n.visitors
	}
	return &traffic{}
}

// answered counts a request that has left the table.
func (t *traffic) answered(c *call) { t.answers.Observe(time.Since(c.since)) }
