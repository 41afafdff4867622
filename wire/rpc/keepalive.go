package rpc

import "time"

// Keepalive is a program of its own, with two procedures that are messages
// without payload and with serial 0.
const (
	KeepaliveProgram = 0x6b656570
	KeepaliveVersion = 1

	keepalivePing = 1
	keepalivePong = 2
)

func keepaliveHeader(proc int32) Header {
	return Header{Program: KeepaliveProgram, Version: KeepaliveVersion, Proc: proc, Type: Message}
}

// Keepalive decides when to ping an idle peer and when to give it up. It holds no
// clock and does no input or output: its owner calls Tick at the time Next names,
// passes what Conn.LastRead says, and does what Tick answers.
//
//	     traffic                      traffic
//	   +--------+     +-----------------------------------+
//	   v        |     v                                   |
//	[quiet] --interval: PING--> [pinged 1] --interval: PING--> ... [pinged count]
//	                                                              --interval--> dead
//
// So the peer is given up after (count+1) intervals without any packet, and with
// count 0 after one interval, without a PING, as libvirt does.
type Keepalive struct {
	interval time.Duration
	count    int
	since    time.Time // last traffic or last ping: start of the running interval
	seen     time.Time // traffic already accounted for
	pings    int       // sent since the last traffic
}

// KeepaliveAction is what the owner of a Keepalive has to do.
type KeepaliveAction int

const (
	KeepaliveWait KeepaliveAction = iota // nothing until Next
	KeepalivePing                        // send a PING
	KeepaliveDead                        // close the connection
)

// NewKeepalive starts at now. An interval of zero or less never pings and never
// gives up.
func NewKeepalive(interval time.Duration, count int, now time.Time) *Keepalive {
	return &Keepalive{interval: interval, count: max(count, 0), since: now, seen: now}
}

// Next is when Tick is to be called; ok is false if never.
func (k *Keepalive) Next() (at time.Time, ok bool) {
	if k.interval <= 0 {
		return time.Time{}, false
	}
	return k.since.Add(k.interval), true
}

// Tick looks at the time and at when the last packet came. Early and late calls
// do no harm: one call answers at most one PING.
func (k *Keepalive) Tick(now, lastRead time.Time) KeepaliveAction {
	if k.interval <= 0 {
		return KeepaliveWait
	}
	if lastRead.After(k.seen) {
		k.seen, k.pings = lastRead, 0
		if lastRead.After(k.since) {
			k.since = lastRead
		}
	}
	switch {
	case now.Before(k.since.Add(k.interval)):
		return KeepaliveWait
	case k.pings >= k.count:
		return KeepaliveDead
	}
	k.pings++
	k.since = now
	return KeepalivePing
}
