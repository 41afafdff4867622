package isolation

import (
	"os"
	"slices"
	"time"

	"virtree/actors"
	"virtree/bench/internal/lab"
)

// Row is one line of the matrix: a fault, in a place, in the systems where it can be made.
type Row struct {
	Chapter string // of the report
	About   string // what the chapter is about
	Name    string
	Place   Place
	Where   []lab.Kind

	// Order is a fault inside an actor of ours.
	Order *actors.MakeFault
	// Outside is a fault that the world makes; Count is how many of what it needs: callers, connections.
	Outside outside
	Count   int

	Window time.Duration // how long the fault is watched; 0: as the plan says. See rounds
	Ends   bool          // it ends a process: in one process that is not contained, by nature
	Smoke  bool          // part of the short run
}

// Place is where a fault is made.
type Place string

// The places of the matrix.
const (
	InClient  Place = "client"
	InDomain  Place = "domain"
	InPool    Place = "pool"
	InNetwork Place = "network"
	InQEMU    Place = "branch qemu"
	InNet     Place = "branch network"
	InStorage Place = "branch storage"
	InProxy   Place = "proxy"
	Nowhere   Place = "nowhere"
)

// Sets of systems.
var (
	ours   = []lab.Kind{lab.Single, lab.Split}
	split  = []lab.Kind{lab.Split}
	anyone = []lab.Kind{lab.Reference, lab.Single, lab.Split}
)

// inject is a fault inside an actor.
func inject(kind string, lasts time.Duration, times int) *actors.MakeFault {
	return &actors.MakeFault{Kind: kind, For: lasts, Times: times}
}

const (
	second  = time.Second
	lasting = 1500 * time.Millisecond // as long as a fault is watched

	// Until what does not come back has been given up and its successor serves: an object after 10 s, a branch after 5 s, and
	// the watchdog looks each half second.
	givenUpObject = 12 * second
	givenUpBranch = 9 * second
)

// chapter names what its rows have in common, and says it in a few words.
func chapter(name, about string, rows ...Row) []Row {
	for i := range rows {
		rows[i].Chapter, rows[i].About = name, about
	}
	return rows
}

// Matrix is all of it.
var Matrix = slices.Concat(
	chapter("Nothing", "how much of all this is the machine's own noise",
		Row{Name: "nothing at all", Place: Nowhere, Where: anyone, Outside: outNothing, Smoke: true},
	),
	chapter("Bugs", "what Go notices, made inside an actor",
		Row{Name: "panic", Place: InClient, Where: ours, Order: inject("panic", 0, 1)},
		Row{Name: "panic", Place: InDomain, Where: ours, Order: inject("panic", 0, 1), Smoke: true},
		Row{Name: "panic", Place: InPool, Where: ours, Order: inject("panic", 0, 1)},
		Row{Name: "panic", Place: InNetwork, Where: ours, Order: inject("panic", 0, 1)},
		Row{Name: "panic", Place: InQEMU, Where: ours, Order: inject("panic", 0, 1), Smoke: true},
		Row{Name: "panic", Place: InNet, Where: ours, Order: inject("panic", 0, 1)},
		Row{Name: "panic", Place: InProxy, Where: split, Order: inject("panic", 0, 1)},
		Row{Name: "panic in a loop", Place: InDomain, Where: ours, Order: inject("panic", 0, 50)},
		Row{Name: "panic in a loop", Place: InPool, Where: ours, Order: inject("panic", 0, 50)},
		Row{Name: "panic in a loop", Place: InNetwork, Where: ours, Order: inject("panic", 0, 50)},
		Row{Name: "write to a nil map", Place: InDomain, Where: ours, Order: inject("nilmap", 0, 1)},
		Row{Name: "write to a nil map", Place: InNetwork, Where: ours, Order: inject("nilmap", 0, 1)},
	),
	chapter("Handlers that do not come back", "an actor that waits or computes instead of answering",
		Row{Name: "stalled 1 s", Place: InClient, Where: ours, Order: inject("stall", second, 1)},
		Row{Name: "stalled 1 s", Place: InDomain, Where: ours, Order: inject("stall", second, 1), Smoke: true},
		Row{Name: "stalled 1 s", Place: InPool, Where: ours, Order: inject("stall", second, 1)},
		Row{Name: "stalled 1 s", Place: InNetwork, Where: ours, Order: inject("stall", second, 1), Smoke: true},
		Row{Name: "stalled 1 s", Place: InQEMU, Where: ours, Order: inject("stall", second, 1)},
		Row{Name: "stalled 1 s", Place: InNet, Where: ours, Order: inject("stall", second, 1)},
		Row{Name: "stalled 1 s", Place: InProxy, Where: split, Order: inject("stall", second, 1)},
		Row{Name: "stalled 10 s", Place: InDomain, Where: ours, Order: inject("stall", 10*second, 1), Window: 11 * second},
		Row{Name: "stalled for ever", Place: InDomain, Where: ours, Order: inject("stall", 0, 1), Window: givenUpObject},
		Row{Name: "stalled for ever", Place: InPool, Where: ours, Order: inject("stall", 0, 1), Window: givenUpObject},
		Row{Name: "stalled for ever", Place: InNetwork, Where: ours, Order: inject("stall", 0, 1), Window: givenUpObject},
		Row{Name: "stalled for ever", Place: InQEMU, Where: ours, Order: inject("stall", 0, 1), Window: givenUpBranch},
		Row{Name: "stalled for ever", Place: InNet, Where: ours, Order: inject("stall", 0, 1), Window: givenUpBranch},
		Row{Name: "endless loop, 1.5 s", Place: InDomain, Where: ours, Order: inject("spin", lasting, 1), Smoke: true},
		Row{Name: "endless loop, 1.5 s", Place: InPool, Where: ours, Order: inject("spin", lasting, 1)},
		Row{Name: "endless loop, 1.5 s", Place: InNetwork, Where: ours, Order: inject("spin", lasting, 1)},
	),
	chapter("Leaks and descriptors", "what is taken and not given back, or given back twice",
		Row{Name: "256 MiB taken", Place: InDomain, Where: ours, Order: inject("alloc", lasting, 256)},
		Row{Name: "256 MiB taken", Place: InNetwork, Where: ours, Order: inject("alloc", lasting, 256)},
		Row{Name: "10,000 goroutines leaked", Place: InDomain, Where: ours, Order: inject("goroutines", lasting, 10_000)},
		Row{Name: "1,000 descriptors leaked", Place: InDomain, Where: ours, Order: inject("descriptors", lasting, 1_000)},
		Row{Name: "a file closed twice", Place: InDomain, Where: ours, Order: inject("closefd", 0, 100)},
		Row{Name: "another's connection closed", Place: InDomain, Where: ours, Outside: outSteal},
	),
	chapter("Floods", "too much of what is allowed",
		Row{Name: "mailbox flood", Place: InDomain, Where: ours, Order: inject("flood", 100*time.Microsecond, 10_000), Smoke: true},
		Row{Name: "mailbox flood", Place: InPool, Where: ours, Order: inject("flood", 100*time.Microsecond, 10_000)},
		Row{Name: "mailbox flood", Place: InNetwork, Where: ours, Order: inject("flood", 100*time.Microsecond, 10_000)},
		Row{Name: "mailbox flood", Place: InNet, Where: ours, Order: inject("flood", 100*time.Microsecond, 10_000)},
		Row{Name: "10,000 requests of one client", Place: InClient, Where: anyone, Outside: outFlood, Count: 10_000, Smoke: true},
		Row{Name: "2,000 idle connections", Place: InClient, Where: anyone, Outside: outIdle, Count: 2_000},
		Row{Name: "20 clients that never read", Place: InClient, Where: anyone, Outside: outDeaf, Count: 20},
	),
	chapter("The world outside", "made from outside, in libvirtd too",
		Row{Name: "QEMU stopped, 5 callers", Place: InDomain, Where: anyone, Outside: outFreeze, Count: 5},
		Row{Name: "QEMU stopped, 20 callers", Place: InDomain, Where: anyone, Outside: outFreeze, Count: 20},
		Row{Name: "QEMU stopped, 40 callers", Place: InDomain, Where: anyone, Outside: outFreeze, Count: 40, Smoke: true},
		Row{Name: "QEMU killed", Place: InDomain, Where: anyone, Outside: outKill, Smoke: true},
		Row{Name: "QEMU answers garbage", Place: InDomain, Where: anyone, Outside: outGarble},
		Row{Name: "storage hangs, 1 caller", Place: InPool, Where: anyone, Outside: outHang, Count: 1},
		Row{Name: "storage hangs, 30 callers", Place: InPool, Where: anyone, Outside: outHang, Count: 30, Smoke: true},
		Row{Name: "dnsmasq stopped", Place: InNetwork, Where: anyone, Outside: outDnsmasq, Count: 5},
	),
	chapter("The end of a process", "what no supervisor in the same process survives",
		Row{Name: "kill -9", Place: InQEMU, Where: split, Outside: outBranch, Ends: true, Smoke: true},
		Row{Name: "kill -9", Place: InNet, Where: split, Outside: outBranch, Ends: true},
		Row{Name: "kill -9", Place: InStorage, Where: split, Outside: outBranch, Ends: true},
		Row{Name: "kill -9", Place: InProxy, Where: split, Outside: outBranch, Ends: true},
		Row{Name: "stack overflow", Place: InQEMU, Where: ours, Order: inject("overflow", 0, 1), Ends: true},
		Row{Name: "concurrent map writes", Place: InNet, Where: ours, Order: inject("mapwrite", 0, 1), Ends: true},
	),
)

// branches maps the places that are branches to the branch.
var branches = map[Place]string{InQEMU: "qemu", InNet: "network", InStorage: "storage", InProxy: "proxy"}

// inside lists the probes that go through the faulty thing, and so are not the healthy rest. Split, a connection lives in
// the process of the branch it was opened for, and ends with it.
func (r Row) inside(kind lab.Kind) map[string]bool {
	m := map[string]bool{probeSick: true}
	add := func(names ...string) {
		for _, n := range names {
			m[n] = true
		}
	}
	switch r.Place {
	case InQEMU:
		add(probeDomain, probeLookup, probeMonitor, probeToggle, probeOpen)
		if kind == lab.Split {
			add(probeCross, probePing)
		}
	case InNet:
		add(probeNetwork, probeCross)
		if kind == lab.Split {
			add(probePing2)
		}
	case InStorage:
		add(probePool)
	case InProxy:
		add(probeOpen)
	}
	return m
}

// has says whether the row is for that kind of system.
func (r Row) has(kind lab.Kind) bool {
	for _, k := range r.Where {
		if k == kind {
			return true
		}
	}
	return false
}

// rounds is in how many of a plan's rounds the row is visited: what is watched for long has calls enough in one.
func (r Row) rounds(p Plan) int {
	if r.Window > 0 {
		return 1
	}
	return p.Rounds
}

// missing says why the fault cannot be made on this host, or "".
func (r Row) missing() string {
	if r.Outside == outHang {
		if _, err := os.Stat("/dev/fuse"); err != nil {
			return "needs FUSE"
		}
	}
	return ""
}
