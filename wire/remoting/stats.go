package remoting

import (
	"cmp"
	"slices"
)

// Peer is one peer as `virtree tree` shows it.
type Peer struct {
	Address     string
	State       string // down, dialing, up, closed
	PID         int32  // 0 unless up; of the listener's maker where we dialled
	UID         uint32
	Queued      int // messages
	QueuedBytes int
	Requests    int // sent, not answered
	Watches     int // by local actors
	Watched     int // by the peer's
	LastError   string
}

// Peers lists all addresses that this node has dealt with.
func (n *Node) Peers() []Peer {
	var peers []Peer
	for _, ep := range n.all() {
		ep.mu.Lock()
		p := Peer{
			Address: ep.address, State: ep.state.String(),
			Queued: ep.out.messages, QueuedBytes: ep.out.bytes,
			Requests: len(ep.calls), Watches: len(ep.watches), Watched: len(ep.watched),
		}
		if ep.link != nil {
			p.PID, p.UID = ep.link.cred.Pid, ep.link.cred.Uid
		}
		if ep.lastError != nil {
			p.LastError = ep.lastError.Message
		}
		ep.mu.Unlock()
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Address, b.Address) })
	return peers
}
