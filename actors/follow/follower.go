package follow

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"virtree/actors"
	"virtree/supervisors"
)

// Source is where a Follower looks; actors.Visitor is one.
type Source interface {
	Sockets() []string
	Process(socket string) *actors.Process // waits for a limit of its own at most
	Troubles(socket string) ([]supervisors.Trouble, error)
	PictureOf([]*actors.Process) *actors.Picture
}

// Follower follows the processes of one tree. Look is for one goroutine at a time.
type Follower struct {
	source Source
	grace  time.Duration

	rows     map[string]*row // by socket; of Look
	records  []Record        // oldest first; of Look
	window   []tick          // the last looks, for latencies; of Look
	last     map[string]word // the words of the look before, by socket; of Look
	mu       sync.Mutex      // for what follows, which the asking goroutines write
	answered chan struct{}   // closed and replaced at each answer
}

// row is one process: what it said last, and whether it is being asked.
type row struct {
	asking bool
	has    bool
	word   word
}

// word is what a process said at one time.
type word struct {
	process  *actors.Process
	troubles []supervisors.Trouble
	revision uint64
}

// Record is trouble with the process it happened in.
type Record struct {
	Process string `json:"process"`
	PID     int    `json:"pid"`
	supervisors.Trouble
}

// recordsKept bounds what a Follower remembers.
const recordsKept = 200

// New makes a Follower. grace is how long a look waits for processes that take long; those are shown as they were.
func New(source Source, grace time.Duration) *Follower {
	return &Follower{source: source, grace: grace, rows: map[string]*row{}, answered: make(chan struct{})}
}

// gather asks every process that is not being asked already, and returns what each said last. A process that has never
// answered is not among them yet.
func (f *Follower) gather() map[string]word {
	sockets := f.source.Sockets()
	f.mu.Lock()
	for socket := range f.rows {
		if !slices.Contains(sockets, socket) {
			delete(f.rows, socket) // its process left in order
		}
	}
	for _, socket := range sockets {
		r := f.rows[socket]
		if r == nil {
			r = &row{}
			f.rows[socket] = r
		}
		if !r.asking {
			r.asking = true
			go f.ask(socket, r, r.word)
		}
	}
	f.mu.Unlock()
	f.wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	words := map[string]word{}
	for socket, r := range f.rows {
		if r.has {
			words[socket] = r.word
		}
	}
	return words
}

func (f *Follower) ask(socket string, r *row, before word) {
	w := word{process: f.source.Process(socket)}
	same := before.process != nil && before.process.PID == w.process.PID
	switch {
	case same && before.revision == w.process.Troubles, w.process.Tree == nil && before.process != nil:
		w.troubles, w.revision = before.troubles, before.revision
	case w.process.Troubles > 0:
		if all, err := f.source.Troubles(socket); err == nil {
			w.troubles, w.revision = all, w.process.Troubles
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.asking, r.has, r.word = false, true, w
	close(f.answered)
	f.answered = make(chan struct{})
}

// wait returns when all have answered, or after the grace.
func (f *Follower) wait() {
	over := time.NewTimer(f.grace)
	defer over.Stop()
	for {
		f.mu.Lock()
		pending := false
		for _, r := range f.rows {
			pending = pending || r.asking
		}
		news := f.answered
		f.mu.Unlock()
		if !pending {
			return
		}
		select {
		case <-news:
		case <-over.C:
			return
		}
	}
}

// remember puts the troubles of all processes into one list, in the order of time.
func (f *Follower) remember(words map[string]word) {
	type key struct {
		process string
		pid     int
		serial  uint64
	}
	at := map[key]int{}
	for i, r := range f.records {
		at[key{r.Process, r.PID, r.Serial}] = i
	}
	for _, w := range words {
		for _, t := range w.troubles {
			r := Record{Process: w.process.Name, PID: w.process.PID, Trouble: t}
			if i, have := at[key{r.Process, r.PID, r.Serial}]; have {
				f.records[i] = r // it may be over by now
			} else {
				f.records = append(f.records, r)
			}
		}
	}
	slices.SortStableFunc(f.records, func(a, b Record) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Serial, b.Serial))
	})
	if n := len(f.records) - recordsKept; n > 0 {
		f.records = slices.Delete(f.records, 0, n)
	}
}

// replaced notes processes that are new ones under an old name where nobody above them keeps a record: the end of the
// whole tree, or of a daemon that the service manager keeps.
func (f *Follower) replaced(words map[string]word, mode string, now time.Time) {
	for socket, w := range words {
		before, known := f.last[socket]
		if !known || mode == "split" && w.process.Name != supervisors.RootName {
			continue
		}
		if was, is := before.process.PID, w.process.PID; was != 0 && is != 0 && was != is {
			f.records = append(f.records, Record{Process: w.process.Name, PID: was, Trouble: supervisors.Trouble{
				At: now.Add(-time.Duration(w.process.Uptime * float64(time.Second))), Kind: supervisors.TroubleExit,
				Actor:  supervisors.RootName,
				Reason: "process " + itoa(was) + " of " + w.process.Daemon + " ended; " + itoa(is) + " took its place",
			}})
		}
	}
}
