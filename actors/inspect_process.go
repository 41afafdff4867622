package actors

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/client"
	"virtree/supervisors"
	"virtree/wire/remoting"
)

// Process is what one process of the tree says of itself. Times are in seconds, memory in bytes.
type Process struct {
	Name        string  `json:"name"`   // of its actor socket: "root", "libvirtd", or its branch
	Daemon      string  `json:"daemon"` // "virtqemud"
	Socket      string  `json:"socket"`
	State       string  `json:"state"` // running, stuck, dead, refused; the last three are the asker's finding
	Error       string  `json:"error,omitempty"`
	PID         int     `json:"pid,omitempty"`
	Uptime      float64 `json:"uptime,omitempty"`
	Revision    string  `json:"revision,omitempty"` // of the source
	Faults      bool    `json:"allow_faults,omitempty"`
	Goroutines  int     `json:"goroutines,omitempty"`
	Threads     int     `json:"threads,omitempty"`
	RSS         uint64  `json:"rss,omitempty"`
	Heap        uint64  `json:"heap,omitempty"`
	CPU         float64 `json:"cpu,omitempty"` // used since the start
	Descriptors int     `json:"descriptors,omitempty"`
	Wakeups     uint64  `json:"wakeups,omitempty"`  // how often one of its threads went to sleep, since the start
	Troubles    uint64  `json:"troubles,omitempty"` // changes when something goes wrong; Visitor.Troubles has the records

	Tree    *supervisors.Node   `json:"tree,omitempty"`
	Calls   []Calls             `json:"calls,omitempty"`   // that clients of this process have made, since its start
	Servers []*supervisors.Node `json:"servers,omitempty"` // actors outside the tree: servers with their clients, the inspector
	Peers   []Peer              `json:"peers,omitempty"`
}

// Calls are the answered calls of clients to one driver, of one class.
type Calls struct {
	Branch  string   `json:"branch"` // that serves them; "connection" for what the client's actor answers itself
	Class   string   `json:"class"`
	Buckets []uint64 `json:"buckets"` // how many took how long, see meter.Bounds; each bucket its own
	Failed  uint64   `json:"failed"`  // answered with an error
}

// Peer is another process that this one has to do with.
type Peer struct {
	Address  string `json:"address"`
	State    string `json:"state"`
	PID      int    `json:"pid,omitempty"`
	Queued   int    `json:"queued"`
	Requests int    `json:"requests"` // sent and not answered
	Watches  int    `json:"watches"`
	Error    string `json:"error,omitempty"`
}

// lookout sees what there is to see of this process. It waits for nobody.
type lookout struct {
	system   *actor.ActorSystem
	daemon   string
	clients  *atomic.Pointer[[]*client.Figures] // of the servers, once there are some
	tree     *supervisors.Tree
	node     *remoting.Node
	observer supervisors.Observer
	faults   bool
}

var born = time.Now()

func (l lookout) process() *Process {
	p := &Process{
		Daemon: l.daemon, State: "running", Faults: l.faults, Revision: revision(),
		PID: os.Getpid(), Uptime: time.Since(born).Seconds(), Goroutines: runtime.NumGoroutine(),
		Tree: l.tree.Collect(), Servers: outside(l.observer.Actors()), Peers: l.peers(),
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p.Heap = mem.HeapAlloc
	p.RSS, p.Threads = memory()
	p.Descriptors = descriptors()
	p.Calls = l.calls()
	p.Troubles = supervisors.TroubleRevision(l.system)
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		p.CPU = time.Duration(use.Utime.Nano() + use.Stime.Nano()).Seconds()
		p.Wakeups = uint64(use.Nvcsw)
	}
	return p
}

// branchOfDriver are the branches that serve drivers under another name.
var branchOfDriver = map[string]string{"hypervisor": "qemu", "daemon": "admin", "virtlogd": "logd", "virtlockd": "lockd"}

func (l lookout) calls() (all []Calls) {
	if l.clients == nil || l.clients.Load() == nil {
		return nil
	}
	for _, figures := range *l.clients.Load() {
		for _, c := range figures.Calls() {
			all = append(all, Calls{Branch: cmp.Or(branchOfDriver[c.Driver], c.Driver), Class: c.Class, Buckets: c.Took.Buckets[:], Failed: c.Failed})
		}
	}
	return all
}

func (l lookout) peers() (peers []Peer) {
	for _, p := range l.node.Peers() {
		peers = append(peers, Peer{
			Address: p.Address, State: p.State, PID: int(p.PID), Queued: p.Queued, Requests: p.Requests, Watches: p.Watches,
			Error: p.LastError,
		})
	}
	return peers
}

// outside draws the actors that stand beside the tree, each below its parent. Nameless helpers of futures and the like
// have no mailbox of ours and so are not among them.
func outside(all []supervisors.ActorInfo) (tops []*supervisors.Node) {
	nodes := map[string]*supervisors.Node{}
	for _, a := range all { // sorted: parents come first
		if a.ID == supervisors.RootName || strings.HasPrefix(a.ID, supervisors.RootName+"/") {
			continue
		}
		n := &supervisors.Node{
			Name: a.ID, ID: a.ID, Kind: a.Kind, State: stateOf(a), Depth: a.Depth, Age: a.Oldest.Seconds(), Busy: a.Busy.Seconds(),
			Doing: a.Current, Processed: a.Processed, Refused: a.Refused, MaxDepth: a.MaxDepth,
		}
		nodes[a.ID] = n
		if cut := strings.LastIndexByte(a.ID, '/'); cut >= 0 {
			n.Name = a.ID[cut+1:]
			if parent := nodes[a.ID[:cut]]; parent != nil {
				parent.Children = append(parent.Children, n)
				continue
			}
		}
		tops = append(tops, n)
	}
	return tops
}

func stateOf(a supervisors.ActorInfo) string {
	switch {
	case a.Abandoned:
		return "abandoned"
	case a.Stopping:
		return "stopping"
	case a.Suspended:
		return "failed"
	}
	return "running"
}

// memory is the resident memory and the number of threads.
func memory() (rss uint64, threads int) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "VmRSS":
			rss = number(value) << 10
		case "Threads":
			threads = int(number(value))
		}
	}
	return rss, threads
}

// number reads the digits at the start of a field, as in "  123 kB".
func number(field string) (n uint64) {
	for _, c := range strings.TrimSpace(field) {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

func descriptors() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return max(0, len(names)-1) // less the one that reads
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}
