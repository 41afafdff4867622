package network

import (
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/protocol"
)

// Traffic shaping by tc, in libvirt's layout. What the guests receive leaves the host through the bridge, so <inbound> is a
// hierarchy of HTB classes there:
//
//	1: htb
//	 +- 1:1 the whole network: its average, at most its peak
//	     +- 1:2 what has no floor: what the floors leave, shared fairly (sfq)
//	     +- 1:N a port with a floor: the floor at least, at most the network's peak; found by the guest's address
//
// What the guests send comes in there, so <outbound> is a police action on the bridge's ingress.
//
// This file says which steps lead from one state to the next; bandwidth_linux.go takes them.

// tcStep is one request to the kernel's traffic control. Its text is the tc command that would make it.
type tcStep struct {
	verb, object string // add, change, del; qdisc, class, filter
	kind         string // of a qdisc: htb, sfq, ingress; of a filter: fw, u32, police
	minor        uint16 // of the class, or of the class that the qdisc or filter leads to
	parent       uint16 // of a class: its parent's minor
	root         bool   // the qdisc of the link itself
	rate, ceil   uint64 // kilobytes (1000 bytes) per second; ceil 0: the rate
	burst        uint64 // kibibytes; 0: the kernel's
	quantum      uint64
	mac          [6]byte // of a u32 filter
}

const (
	wholeClass = 1 // minor of the class of the whole network
	restClass  = 2 // of the class of all without a floor
)

func (t tcStep) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s dev %%s", t.object, t.verb)
	switch {
	case t.object == "class" && t.verb == "del":
		fmt.Fprintf(&b, " classid 1:%d", t.minor)
	case t.object == "class":
		switch {
		case t.verb == "change":
			fmt.Fprintf(&b, " classid 1:%d htb", t.minor)
		case t.parent == 0:
			fmt.Fprintf(&b, " parent 1: classid 1:%d htb", t.minor)
		default:
			fmt.Fprintf(&b, " parent 1:%d classid 1:%d htb", t.parent, t.minor)
		}
		fmt.Fprintf(&b, " rate %dkbps", t.rate)
		if t.ceil != 0 {
			fmt.Fprintf(&b, " ceil %dkbps", t.ceil)
		}
		if t.burst != 0 {
			fmt.Fprintf(&b, " burst %dkb", t.burst)
		}
		fmt.Fprintf(&b, " quantum %d", t.quantum)
	case t.kind == "htb" && t.verb == "add":
		fmt.Fprintf(&b, " root handle 1: htb default %d", t.minor)
	case t.kind == "htb":
		b.WriteString(" root")
	case t.kind == "ingress":
		b.WriteString(" ingress")
	case t.kind == "sfq" && t.verb == "add":
		fmt.Fprintf(&b, " parent 1:%d handle %d: sfq perturb 10", t.minor, t.minor)
	case t.kind == "sfq":
		fmt.Fprintf(&b, " handle %d:", t.minor)
	case t.kind == "fw":
		b.WriteString(" parent 1:0 protocol all prio 1 handle 1 fw flowid 1")
	case t.kind == "police":
		fmt.Fprintf(&b, " parent ffff: protocol all u32 match u32 0 0 police rate %dkbps burst %dkb mtu 64kb drop flowid :1", t.rate, t.burst)
	case t.verb == "del":
		fmt.Fprintf(&b, " prio 2 handle 800::%d u32", 800+int(t.minor))
	default:
		m := t.mac
		fmt.Fprintf(&b, " protocol ip prio 2 handle 800::%d u32 match u16 0x0800 0xffff at -2 match u32 0x%02x%02x%02x%02x 0xffffffff at -12 match u16 0x%02x%02x 0xffff at -14 flowid 1:%d",
			800+int(t.minor), m[2], m[3], m[4], m[5], m[0], m[1], t.minor)
	}
	return b.String()
}

// quantum is what a class may send before another one has its turn: libvirt's choice, meant to be a packet.
func quantum(average uint64) uint64 { return max(average*1024/8/1500, 1) }

// top is the most that the network may receive: its peak or, without one, its average.
func (r *rate) top() uint64 {
	if r.peak != 0 {
		return r.peak
	}
	return r.average
}

// clearSteps removes all shaping; steps that find nothing are fine.
func clearSteps() []tcStep {
	return []tcStep{{verb: "del", object: "qdisc", kind: "htb", root: true}, {verb: "del", object: "qdisc", kind: "ingress"}}
}

// shapeSteps shapes the traffic of a network's bridge.
func shapeSteps(b *bandwidth) (s []tcStep) {
	if in := b.in; in != nil && in.average != 0 {
		q := quantum(in.average)
		s = append(s,
			tcStep{verb: "add", object: "qdisc", kind: "htb", root: true, minor: restClass},
			tcStep{verb: "add", object: "class", minor: wholeClass, rate: in.average, ceil: in.top(), quantum: q},
			tcStep{verb: "add", object: "class", parent: wholeClass, minor: restClass, rate: in.average, ceil: in.peak, burst: in.burst, quantum: q},
			tcStep{verb: "add", object: "qdisc", kind: "sfq", minor: restClass},
			tcStep{verb: "add", object: "filter", kind: "fw"})
	}
	if out := b.out; out != nil && out.average != 0 {
		burst := out.burst
		if burst == 0 {
			burst = out.average
		}
		s = append(s, tcStep{verb: "add", object: "qdisc", kind: "ingress"},
			tcStep{verb: "add", object: "filter", kind: "police", rate: out.average, burst: burst})
	}
	return s
}

// plugSteps guarantees a port its floor. floors is the sum of all, this one included.
func plugSteps(net *rate, p *port, floors uint64) []tcStep {
	mac, _ := xmltree.MAC(p.mac)
	minor := uint16(p.class)
	return []tcStep{
		{verb: "add", object: "class", parent: wholeClass, minor: minor, rate: p.bandwidth.in.floor, ceil: net.top(), quantum: quantum(p.bandwidth.in.average)},
		{verb: "add", object: "qdisc", kind: "sfq", minor: minor},
		{verb: "add", object: "filter", kind: "u32", minor: minor, mac: mac},
		restStep(net, floors),
	}
}

// unplugSteps takes a port's class away. floors is the sum of those that stay.
func unplugSteps(net *rate, p *port, floors uint64) []tcStep {
	minor := uint16(p.class)
	return []tcStep{
		{verb: "del", object: "qdisc", kind: "sfq", minor: minor},
		{verb: "del", object: "filter", kind: "u32", minor: minor},
		{verb: "del", object: "class", minor: minor},
		restStep(net, floors),
	}
}

// floorSteps changes the floor of a port that has one.
func floorSteps(net *rate, p *port, floors uint64) []tcStep {
	return []tcStep{
		{verb: "change", object: "class", minor: uint16(p.class), rate: p.bandwidth.in.floor, ceil: net.top(), quantum: quantum(net.average)},
		restStep(net, floors),
	}
}

// restStep gives those without a floor what the floors leave.
func restStep(net *rate, floors uint64) tcStep {
	return tcStep{verb: "change", object: "class", minor: restClass, rate: net.top() - min(floors, net.top()), ceil: net.top(), quantum: quantum(net.average)}
}

// restoreSteps shapes a bridge anew, with the classes of all ports.
func restoreSteps(st *status, ports map[protocol.UUID]*port) []tcStep {
	s := append(clearSteps(), shapeSteps(st.def.bandwidth)...)
	for _, p := range ports {
		if p.class != 0 {
			s = append(s, plugSteps(st.def.bandwidth.in, p, st.floor)...)
		}
	}
	return s
}

// tcHandle is the handle of a port's filter in the hash table 800 of u32. Compat: libvirt writes 800 and the class's number in
// decimal where tc reads hexadecimal.
func tcHandle(minor uint16) uint32 {
	v, _ := strconv.ParseUint(strconv.Itoa(800+int(minor)), 16, 32)
	return 0x800<<20 | uint32(v)
}
