package actors

import (
	"path/filepath"
	"strings"

	"virtree/actors/internal/metrics"
	"virtree/wire/remoting"
)

// peerName is how figures call another process: by the name of its actor socket, "qemu". Those who only look, and whom
// nobody can dial, are all "visitors".
func peerName(address string) string {
	if address == "" {
		return "visitors"
	}
	return strings.TrimSuffix(filepath.Base(address), ".sock")
}

// writeTraffic writes what went to other processes of the tree, and came from them.
func writeTraffic(p *metrics.Page, all []remoting.Traffic) {
	counter := func(name, help string, value func(t *remoting.Traffic) uint64) {
		p.Family("virtree_peer_"+name+"_total", metrics.Counter, help)
		for i := range all {
			p.Count(value(&all[i]), "peer", peerName(all[i].Address))
		}
	}
	counter("sent_messages", "Messages to another process, and what keeps the link to it alive.", func(t *remoting.Traffic) uint64 { return t.Sent })
	counter("sent_bytes", "Bytes to another process.", func(t *remoting.Traffic) uint64 { return t.SentBytes })
	counter("received_messages", "Messages from another process, and what keeps the link to it alive.", func(t *remoting.Traffic) uint64 { return t.Received })
	counter("received_bytes", "Bytes from another process.", func(t *remoting.Traffic) uint64 { return t.ReceivedBytes })
	p.Family("virtree_peer_round_trip_seconds", metrics.Histogram, "From a request to another process to its answer.")
	for i := range all {
		if all[i].RoundTrips.Count() > 0 {
			p.Durations(all[i].RoundTrips, "peer", peerName(all[i].Address))
		}
	}
}
