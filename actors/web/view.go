package web

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtree/actors/follow"
	"virtree/supervisors"
)

// View is what one viewer is shown of one look.
type View struct {
	At        time.Time        `json:"at"`
	Mode      string           `json:"mode"`
	Root      string           `json:"root,omitempty"`
	Guests    []count          `json:"guests"`
	Clients   int              `json:"clients"`
	Actors    int              `json:"actors"`
	Messages  float64          `json:"messages"`
	Calls     follow.Latency   `json:"calls"`
	Wrong     []count          `json:"wrong"` // what is wrong now
	Processes []follow.Process `json:"processes"`
	Branches  []branch         `json:"branches"`
	Troubles  []trouble        `json:"troubles"` // the last first
	Set       []object         `json:"quarantined"`
	Points    []point          `json:"points"` // those that the viewer has not seen
}

type count struct {
	What string `json:"what"`
	N    int    `json:"n"`
}

type branch struct {
	follow.Branch
	Lives   []count  `json:"lives"`
	Total   int      `json:"total"`   // objects that the filter leaves
	Members []object `json:"members"` // those of them that are sent: in trouble first, then by name
}

// object is an actor of a branch.
type object struct {
	ID     string  `json:"id"`
	Branch string  `json:"branch"`
	Kind   string  `json:"kind"`
	Name   string  `json:"name"`
	State  string  `json:"state"`
	Life   string  `json:"life,omitempty"`
	For    float64 `json:"for,omitempty"`
	Depth  int     `json:"depth,omitempty"`
	Age    float64 `json:"age,omitempty"`
	Busy   float64 `json:"busy,omitempty"`
	Doing  string  `json:"doing,omitempty"`
	Rate   float64 `json:"rate,omitempty"`
	Failed int     `json:"failed,omitempty"`
	Jobs   string  `json:"jobs,omitempty"`
	Error  string  `json:"error,omitempty"`
	Ails   bool    `json:"ails,omitempty"`
}

type trouble struct {
	ID      string    `json:"id"`
	Process string    `json:"process"`
	PID     int       `json:"pid"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Actor   string    `json:"actor"`
	Title   string    `json:"title,omitempty"`
	Message string    `json:"message,omitempty"`
	Reason  string    `json:"reason"`
	Over    time.Time `json:"over,omitzero"`
	Open    bool      `json:"open,omitempty"` // it is so still
	Stack   bool      `json:"stack"`          // there is one
}

// wish is what a viewer asked for.
type wish struct {
	filter string
	shown  map[string]int // objects, by branch
	since  int64          // Unix milliseconds: points after it
}

// Limits of a view.
const (
	shownFirst    = 12   // objects of a branch of which nobody asked for more
	shownMost     = 5000 // however often one asks for more
	ailingMost    = 100
	troublesShown = 60
	filterLongest = 200
)

func parseWish(q url.Values) (wish, error) {
	w := wish{filter: strings.ToLower(q.Get("q")), shown: map[string]int{}}
	if len(w.filter) > filterLongest {
		return w, fmt.Errorf("a filter has %d bytes at most", filterLongest)
	}
	if since := q.Get("since"); since != "" {
		n, err := strconv.ParseInt(since, 10, 64)
		if err != nil {
			return w, fmt.Errorf("since is no number")
		}
		w.since = n
	}
	for _, part := range q["show"] { // show=qemu:100
		name, number, _ := strings.Cut(part, ":")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || len(w.shown) > 64 {
			return w, fmt.Errorf("show is BRANCH:NUMBER")
		}
		w.shown[name] = min(n, shownMost)
	}
	return w, nil
}

func makeView(m *moment, want wish) *View {
	s := m.sample
	v := &View{
		At: s.At, Mode: s.Mode, Root: s.Root, Clients: s.Clients, Actors: s.Actors, Messages: s.Messages, Calls: s.Calls,
		Guests: counts(s.Guests), Processes: s.Processes, Branches: []branch{}, Troubles: []trouble{}, Set: []object{}, Points: []point{},
	}
	if v.Processes == nil {
		v.Processes = []follow.Process{}
	}
	wrong := map[string]int{}
	rates := make(map[string]float64, len(s.Rows))
	for _, r := range s.Rows {
		rates[r.Node.ID] += r.Rate
		if follow.Bad(r.Node.State) {
			wrong[r.Node.State]++
		} else if follow.Ails(r.Node) {
			wrong["stuck"]++
		}
	}
	for _, p := range s.Processes {
		if follow.Bad(p.State) {
			wrong[p.Daemon+" "+p.State]++
		}
	}
	v.Wrong = counts(wrong)
	for _, b := range s.Branches {
		out := branch{Branch: b, Lives: counts(b.Lives), Members: []object{}}
		if n := s.Picture.Tree.Find(supervisors.RootName + "/" + b.Name); n != nil {
			members := membersOf(n, b.Name, rates)
			for _, o := range members {
				if o.State == "quarantined" && len(v.Set) < ailingMost {
					v.Set = append(v.Set, o)
				}
			}
			out.Total, out.Members = choose(members, want, b.Name)
		}
		v.Branches = append(v.Branches, out)
	}
	for i := len(s.Records) - 1; i >= 0 && len(v.Troubles) < troublesShown; i-- {
		r := s.Records[i]
		v.Troubles = append(v.Troubles, trouble{
			ID: recordID(r), Process: r.Process, PID: r.PID, At: r.At, Kind: r.Kind, Actor: r.Actor, Title: r.Title,
			Message: strings.TrimPrefix(r.Message, "*"), Reason: r.Reason, Over: r.Over,
			Open: r.Kind == supervisors.TroubleStuck && r.Over.IsZero(), Stack: r.Stack != "",
		})
	}
	for _, p := range m.past {
		if p.At > want.since {
			v.Points = append(v.Points, p)
		}
	}
	return v
}

func recordID(r follow.Record) string {
	return fmt.Sprintf("%s:%d:%d:%d", r.Process, r.PID, r.Serial, r.At.UnixNano())
}

// counts sorts what runs before what rests.
func counts(m map[string]int) []count {
	order := []string{"running", "active", "idle", "paused", "pmsuspended", "in shutdown", "crashed", "shut off", "inactive", "unknown"}
	all := []count{}
	for what, n := range m {
		all = append(all, count{what, n})
	}
	slices.SortFunc(all, func(a, b count) int {
		at := func(c count) int {
			if i := slices.Index(order, c.What); i >= 0 {
				return i
			}
			return len(order)
		}
		return cmp.Or(cmp.Compare(at(a), at(b)), strings.Compare(a.What, b.What))
	})
	return all
}

// membersOf are the objects of a branch, with what their jobs are.
func membersOf(n *supervisors.Node, branch string, rates map[string]float64) (all []object) {
	for _, c := range n.Children {
		if c.Kind == "job" {
			continue
		}
		o := object{
			ID: c.ID, Branch: branch, Kind: c.Kind, Name: cmp.Or(c.Title, c.Name), State: c.State, Life: c.Life, For: c.For, Depth: c.Depth, Age: c.Age,
			Busy: c.Busy, Doing: strings.TrimPrefix(c.Doing, "*"), Rate: rates[c.ID], Failed: c.Restarts, Error: c.LastError,
			Ails: follow.Ails(c),
		}
		var jobs []string
		for _, j := range c.Children {
			if j.Kind == "job" {
				jobs = append(jobs, j.Name)
			}
		}
		o.Jobs = strings.Join(jobs, ", ")
		all = append(all, o)
	}
	return all
}

// choose are the objects that a viewer is sent, and how many the filter leaves.
func choose(all []object, want wish, branch string) (total int, chosen []object) {
	chosen = []object{}
	for _, o := range all {
		if want.filter == "" || strings.Contains(strings.ToLower(o.Name), want.filter) || strings.Contains(strings.ToLower(o.ID), want.filter) {
			chosen = append(chosen, o)
		}
	}
	total = len(chosen)
	slices.SortFunc(chosen, func(a, b object) int {
		bad := func(o object) int {
			if o.Ails {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(bad(a), bad(b)), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	limit, asked := want.shown[branch]
	if !asked {
		limit = shownFirst
	}
	ailing := 0
	for ailing < len(chosen) && chosen[ailing].Ails {
		ailing++
	}
	return total, chosen[:min(len(chosen), max(limit, min(ailing, ailingMost)))]
}
