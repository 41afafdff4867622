package follow

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"virtree/actors"
	"virtree/supervisors"
	"virtree/wire/meter"
)

// host is a Source of processes that a test makes up. A process with a gate does not answer until it is closed.
type host struct {
	mu        sync.Mutex
	processes map[string]*actors.Process
	gates     map[string]chan struct{}
	troubles  map[string][]supervisors.Trouble
	asked     int // for troubles
}

func (h *host) Sockets() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.processes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (h *host) Process(socket string) *actors.Process {
	h.mu.Lock()
	gate := h.gates[socket]
	h.mu.Unlock()
	if gate != nil {
		<-gate
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := *h.processes[socket]
	p.Name, p.Socket = socket, socket
	return &p
}

func (h *host) Troubles(socket string) ([]supervisors.Trouble, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return slices.Clone(h.troubles[socket]), nil
}

func (h *host) PictureOf(all []*actors.Process) *actors.Picture {
	return (&actors.Visitor{}).PictureOf(all)
}

func (h *host) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func tree(messages uint64) *supervisors.Node {
	return &supervisors.Node{Name: "root", ID: "root", Kind: "supervisor", State: "running", Children: []*supervisors.Node{
		{Name: "qemu", ID: "root/qemu", Kind: "branch", State: "running", Processed: messages, Children: []*supervisors.Node{
			{Name: "u1", ID: "root/qemu/u1", Kind: "domain", Title: "web", State: "running", Life: "running", Depth: 3, Age: 0.5},
			{Name: "u2", ID: "root/qemu/u2", Kind: "domain", Title: "db", State: "quarantined", Life: "paused", Restarts: 6},
			{Name: "u3", ID: "root/qemu/u3", Kind: "domain", Title: "old", State: "running", Life: "shut off"},
			{Name: "start", ID: "root/qemu#start", Kind: "job", State: "running"},
		}},
		{Name: "network", ID: "root/network", Kind: "branch", State: "running"},
	}}
}

func calls(branch string, buckets ...uint64) actors.Calls {
	return actors.Calls{Branch: branch, Class: "query", Buckets: append(buckets, make([]uint64, len(meter.Bounds)+1-len(buckets))...)}
}

func single() *host {
	return &host{
		processes: map[string]*actors.Process{"libvirtd": {
			Daemon: "libvirtd", State: "running", PID: 1, Uptime: 100, CPU: 1, Wakeups: 1000, RSS: 5, Tree: tree(10), Calls: []actors.Calls{calls("qemu", 1, 1)},
			Servers: []*supervisors.Node{{Name: "server", ID: "server", Kind: "server", State: "running", Children: []*supervisors.Node{{Name: "client-1", ID: "server/client-1", Kind: "client", State: "running"}}}},
		}},
		gates: map[string]chan struct{}{}, troubles: map[string][]supervisors.Trouble{},
	}
}

const patience = 20 * time.Second

func TestWhatOneLookShows(t *testing.T) {
	s := New(single(), patience).Look()
	if s.Mode != "single" || s.Clients != 1 || s.Actors != 8 || len(s.Processes) != 1 || s.Calls.Rate != 0 {
		t.Errorf("%+v", s)
	}
	if want := "map[paused:1 running:1 shut off:1]"; fmt.Sprint(s.Guests) != want {
		t.Errorf("guests %v", s.Guests)
	}
	q := s.Branches[0]
	if q.Name != "qemu" || q.Daemon != "virtqemud" || q.Objects != 3 || q.Depth != 3 || q.Age != 0.5 || q.Ailing != 1 || q.Quarantined != 1 || q.Jobs != 1 || q.Restarts != 6 {
		t.Errorf("%+v", q)
	}
	if n := s.Branches[1]; n.Name != "network" || !n.Calm() || q.Calm() {
		t.Errorf("%+v", n)
	}
}

func TestRatesAreOfTheProcessesOwnClock(t *testing.T) {
	h := single()
	f := New(h, patience)
	f.Look()
	h.set(func() {
		p := h.processes["libvirtd"]
		p.Uptime, p.CPU, p.Wakeups, p.Tree, p.Calls = 102, 2, 1020, tree(50), []actors.Calls{calls("qemu", 1, 101, 0, 0, 0, 0, 0, 0, 0, 1), calls("network", 4)}
		p.Calls[0].Failed = 10
	})
	s := f.Look()
	p, q := s.Processes[0], s.Branches[0]
	if p.CPU != 0.5 || p.Wakeups != 10 || p.Messages != 20 || q.Messages != 20 || s.Messages != 20 {
		t.Errorf("%+v\n%+v", p, q)
	}
	if q.Calls.Rate != 50.5 || q.Calls.Failed != 5 || q.Calls.Count != 101 || s.Calls.Rate != 52.5 || s.Branches[1].Calls.Rate != 2 {
		t.Errorf("%+v", q.Calls)
	}
	if c := q.Calls.Classes["query"]; c.Rate != 50.5 || c.P99 != q.Calls.P99 {
		t.Errorf("classes %+v", q.Calls.Classes)
	}
	// 100 calls took 25 to 50 µs, one 10 to 25 ms.
	if p50 := q.Calls.P50; p50 < 25e-6 || p50 > 50e-6 {
		t.Errorf("half took less than %v s", p50)
	}
	h.set(func() { h.processes["libvirtd"].Uptime = 103 })
	if again := f.Look().Branches[0].Calls; again.Rate != 0 || again.Count != 101 || again.P50 != q.Calls.P50 {
		t.Errorf("a look later: %+v", again)
	}
}

func TestQuantiles(t *testing.T) {
	bucket := func(at int, n uint64) []uint64 {
		b := make([]uint64, len(meter.Bounds)+1)
		b[at] = n
		return b
	}
	for name, c := range map[string]struct {
		buckets []uint64
		q, want float64
	}{
		"of nothing":                    {bucket(0, 0), 0.99, 0},
		"within a bucket evenly spread": {bucket(1, 100), 0.5, 37.5e-6},
		"the first bucket begins at 0":  {bucket(0, 100), 0.2, 5e-6},
		"above the last bound":          {bucket(len(meter.Bounds), 1), 0.5, meter.Bounds[len(meter.Bounds)-1].Seconds()},
		"of too few buckets":            {[]uint64{0, 4}, 1, 50e-6},
	} {
		if got := quantile(c.buckets, c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A process that does not answer is shown as it was, and holds up nobody; when it says something, that is shown.
func TestASilentProcessHoldsUpNobody(t *testing.T) {
	h := single()
	h.processes["root"] = &actors.Process{Daemon: "virtree", State: "running", PID: 9, Uptime: 1, Tree: &supervisors.Node{Name: "root", ID: "root", State: "running"}}
	f := New(h, patience)
	f.Look()
	f.grace = 20 * time.Millisecond
	gate := make(chan struct{})
	h.set(func() { h.gates["root"] = gate; h.processes["libvirtd"].Uptime = 200 })
	for range 3 {
		s := f.Look()
		if len(s.Processes) != 2 || s.Processes[0].Uptime != 200 || s.Processes[1].Uptime != 1 {
			t.Fatalf("%+v", s.Processes)
		}
	}
	h.set(func() {
		h.processes["root"] = &actors.Process{Daemon: "virtree", State: actors.ProcessStuck}
		delete(h.gates, "root")
	})
	close(gate)
	f.grace = patience
	for end := time.Now().Add(patience); f.Look().Processes[1].State != actors.ProcessStuck; {
		if time.Now().After(end) {
			t.Fatal("its answer never shows")
		}
	}
	h.set(func() { delete(h.processes, "root") })
	if s := f.Look(); len(s.Processes) != 1 {
		t.Errorf("one that has left is still there: %+v", s.Processes)
	}
}

func TestWhatWentWrongStaysOnTheRecord(t *testing.T) {
	h := single()
	f := New(h, patience)
	f.Look()
	if h.asked != 0 {
		t.Error("it asks for troubles where there are none")
	}
	at := time.Now().Add(-time.Minute)
	h.set(func() {
		h.processes["libvirtd"].Troubles = 1
		h.troubles["libvirtd"] = []supervisors.Trouble{{Serial: 1, At: at, Kind: supervisors.TroubleStuck, Actor: "root/qemu/u1", Reason: "x"}}
	})
	for range 3 {
		if s := f.Look(); len(s.Records) != 1 || s.Records[0].Process != "libvirtd" || s.Records[0].Reason != "x" {
			t.Fatalf("%+v", s.Records)
		}
	}
	if h.asked != 1 {
		t.Errorf("asked %d times for the same", h.asked)
	}
	h.set(func() { h.processes["libvirtd"].Troubles = 2; h.troubles["libvirtd"][0].Over = time.Now() })
	if s := f.Look(); len(s.Records) != 1 || s.Records[0].Over.IsZero() {
		t.Errorf("that it is over does not show: %+v", s.Records)
	}
	h.set(func() { // a new process, in which the same happens
		p := h.processes["libvirtd"]
		p.PID, p.Uptime, p.Troubles = 2, 1, 1
		h.troubles["libvirtd"] = []supervisors.Trouble{{Serial: 1, At: time.Now().Add(time.Second), Kind: supervisors.TroubleCrash, Reason: "y"}}
	})
	s := f.Look()
	var kinds []string
	for _, r := range s.Records {
		kinds = append(kinds, fmt.Sprint(r.Kind, " ", r.PID))
	}
	if want := []string{"stuck 1", "exit 1", "crash 2"}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	if s.Processes[0].CPU != 0 || s.Processes[0].Messages != 0 {
		t.Errorf("rates across two processes: %+v", s.Processes[0])
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	h := single()
	f := New(h, patience)
	for i := range 10 {
		h.set(func() {
			h.processes["libvirtd"].PID, h.processes["libvirtd"].Troubles = 10+i, 1
			h.troubles["libvirtd"] = nil
			for n := range 40 {
				h.troubles["libvirtd"] = append(h.troubles["libvirtd"], supervisors.Trouble{Serial: uint64(n + 1), At: time.Unix(int64(100*i+n), 0)})
			}
		})
		f.Look()
	}
	if s := f.Look(); len(s.Records) > recordsKept {
		t.Errorf("%d records", len(s.Records))
	}
}
