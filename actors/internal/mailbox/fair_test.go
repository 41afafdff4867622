package mailbox

import (
	"math/rand/v2"
	"slices"
	"testing"

	"virtree/actors/internal/await"

	"github.com/asynkron/protoactor-go/actor"
)

// flowing is a request of a flow; n counts the flow's own.
type flowing struct {
	flow Flow
	n    int
}

func (f flowing) Flow() Flow { return f.flow }

// model is the dumbest lane that takes turns: lists of lists.
type model struct{ groups []*modelGroup }

type modelGroup struct {
	id    uint64
	flows [][]flowing
}

func (m *model) push(f flowing) {
	i := slices.IndexFunc(m.groups, func(g *modelGroup) bool { return g.id == f.flow.Group })
	if i < 0 {
		m.groups = append(m.groups, &modelGroup{id: f.flow.Group})
		i = len(m.groups) - 1
	}
	g := m.groups[i]
	for j := range g.flows {
		if g.flows[j][0].flow == f.flow {
			g.flows[j] = append(g.flows[j], f)
			return
		}
	}
	g.flows = append(g.flows, []flowing{f})
}

func (m *model) pop() flowing {
	g := m.groups[0]
	m.groups = m.groups[1:]
	q := g.flows[0]
	g.flows = g.flows[1:]
	if len(q) > 1 {
		g.flows = append(g.flows, q[1:])
	}
	if len(g.flows) > 0 {
		m.groups = append(m.groups, g)
	}
	return q[0]
}

// TestTurnsAreTheModels: random traffic of some flows comes out as the model says, and the counts are right throughout.
func TestTurnsAreTheModels(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var f fair
		var m model
		waiting, crowd := 0, 1+r.IntN(12)
		for step := range 400 {
			if waiting == 0 || r.IntN(100) < 52 {
				msg := flowing{Flow{uint64(r.IntN(1 + crowd/3)), uint64(r.IntN(crowd))}, step}
				f.push(entry{msg, int64(step + 1)}, msg.flow)
				m.push(msg)
				waiting++
			} else {
				want, got := m.pop(), f.pop().msg
				if got != want {
					t.Fatalf("seed %d, step %d: got %v, want %v", seed, step, got, want)
				}
				waiting--
			}
			oldest, flows := int64(0), 0
			for _, g := range m.groups {
				for _, q := range g.flows {
					flows++
					if at := int64(q[0].n + 1); oldest == 0 || at < oldest {
						oldest = at
					}
				}
			}
			if f.n != waiting || f.oldest() != oldest || f.flows() < min(flows, 1) {
				t.Fatalf("seed %d, step %d: %d wait since %d in %d flows, want %d since %d in %d", seed, step, f.n, f.oldest(), f.flows(), waiting, oldest, flows)
			}
		}
		if rest := f.drain(nil); len(rest) != waiting {
			t.Fatalf("seed %d: %d drained of %d", seed, len(rest), waiting)
		}
	}
}

// TestAFloodDelaysOnlyItself: behind 10,000 messages of one flow, and many flows of one group, another's first message is
// served in the next turn of its group.
func TestAFloodDelaysOnlyItself(t *testing.T) {
	system := quiet()
	enter, leave := make(chan struct{}), make(chan struct{})
	order := make(chan flowing, 20_000)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case work:
			close(enter)
			<-leave
		case flowing:
			order <- m
		}
	}, actor.WithMailbox(Producer(&Options{}))))
	system.Root.Send(pid, work{})
	await.From(t, enter, "the first message")
	for n := range 10_000 {
		system.Root.Send(pid, flowing{Flow{1, 1}, n})
	}
	for member := range 100 {
		for n := range 10 {
			system.Root.Send(pid, flowing{Flow{1, uint64(2 + member)}, n})
		}
	}
	quiet := flowing{Flow{2, 7}, 0}
	system.Root.Send(pid, quiet)
	close(leave)
	last := map[Flow]int{}
	for i := range 11_001 {
		m := await.From(t, order, "a message")
		if m == quiet && i > 1 {
			t.Errorf("another user's message came as number %d", i+1)
		}
		if n, ok := last[m.flow]; ok && m.n != n+1 {
			t.Fatalf("flow %v: %d after %d", m.flow, m.n, n)
		}
		last[m.flow] = m.n
	}
}

// TestWhoFillsTheLaneFillsItForHimself: others still find room, and what waits stays bounded.
func TestWhoFillsTheLaneFillsItForHimself(t *testing.T) {
	const limit = 64
	var f fair
	fill := func(flow Flow) (n int) {
		for ; n < 100*limit && !f.full(flow, limit); n++ {
			f.push(entry{flowing{flow, n}, 1}, flow)
		}
		return n
	}
	if n := fill(Flow{1, 1}); n != limit {
		t.Errorf("the first flow has room for %d", n)
	}
	if n := fill(Flow{1, 1}); n != 0 {
		t.Errorf("the first flow has room for %d more", n)
	}
	if n := fill(Flow{1, 2}); n == 0 {
		t.Error("another program of the same user has no room")
	}
	for member := range uint64(1000) {
		fill(Flow{1, 3 + member})
	}
	if f.n > 2*limit {
		t.Errorf("%d messages of one user wait", f.n)
	}
	if n := fill(Flow{2, 1}); n == 0 {
		t.Error("another user has no room")
	}
	for user := range uint64(1000) {
		fill(Flow{3 + user, 1})
	}
	if f.n > crowd*limit {
		t.Errorf("%d messages of 1000 users wait", f.n)
	}
}
