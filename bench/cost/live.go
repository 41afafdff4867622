package main

import (
	"context"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/rpc"
)

// idleState is one state in which nobody asks anything, and the wake-ups a second of each process in it.
type idleState struct {
	Name  string
	Rates []rate
}

type rate struct {
	Process string
	PerSec  float64
}

// weight is what a process holds while there is a number of things: domains, guests, connections.
type weight struct {
	Of           string // a key of what grows
	N            int
	PSS, Private int64 // KiB
}

// What grows.
const (
	definedDomain = "defined domain"
	runningGuest  = "running guest"
	connection    = "connection"
)

// live takes all systems through the same states, side by side, and counts and weighs in each.
func (r *result) live(ctx context.Context, p plan, systems []*system, idle, memory bool) error {
	count := func(state string) {
		if idle {
			progress("wake-ups: %s", state)
			r.Idle = append(r.Idle, countIdle(p, systems, state))
		}
	}
	weigh := func(of string, n int) {
		if memory {
			progress("memory: %d x %s", n, of)
			r.weigh(p, systems, of, n)
		}
	}
	for i, n := range p.defined {
		if !memory && i > 1 {
			break
		}
		for _, s := range systems {
			if err := s.define(ctx, n); err != nil {
				return err
			}
		}
		switch i {
		case 0:
			count("no client, one domain")
		case 1:
			count("no client, defined domains")
		}
		weigh(definedDomain, n)
	}
	weigh(runningGuest, 0)
	for _, s := range systems {
		if err := s.start(ctx, p.running); err != nil {
			return err
		}
	}
	for _, s := range systems {
		if err := s.network(ctx); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second) // firmware looks for something to boot, and then rests
	count("no client, running guests, a network")
	weigh(runningGuest, p.running)
	for _, s := range systems {
		if err := s.destroy(ctx, p.running); err != nil {
			return err
		}
	}
	if !memory {
		return nil
	}
	weigh(connection, 0)
	return connect(ctx, p, systems, func(n int) { weigh(connection, n) })
}

// connect opens connections step by step and closes them all at the end.
func connect(ctx context.Context, p plan, systems []*system, weigh func(n int)) error {
	var open []*rpc.Client
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	have := 0
	for _, n := range p.conns {
		for _, s := range systems {
			for range n - have {
				c, err := s.dial(ctx)
				if err != nil {
					return err
				}
				open = append(open, c)
			}
		}
		have = n
		weigh(n)
	}
	return nil
}

// countIdle lets what was under way end, and counts.
func countIdle(p plan, systems []*system, state string) idleState {
	time.Sleep(p.settling / 2)
	var procs []process
	for _, s := range systems {
		procs = append(procs, s.processes()...)
	}
	st := idleState{Name: state}
	for i, n := range wakeups(procs, p.window, p.windows) {
		st.Rates = append(st.Rates, rate{procs[i].Name, n})
	}
	return st
}

// weigh notes what each process holds once it rests: when two looks a second apart differ by less than a page in a hundred.
func (r *result) weigh(p plan, systems []*system, of string, n int) {
	for _, s := range systems {
		for _, proc := range s.processes() {
			u := rested(proc.pid, p.settling)
			r.Memory[proc.Name] = append(r.Memory[proc.Name], weight{of, n, u.PSS, u.Private})
		}
	}
}

func rested(pid int, limit time.Duration) lab.Usage {
	u := lab.UsageOf(pid)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		next := lab.UsageOf(pid)
		still := next.PSS == u.PSS
		if u = next; still {
			break
		}
	}
	return u
}
