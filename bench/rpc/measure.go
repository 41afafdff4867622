package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"sort"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
)

// operation is one call that is repeated.
type operation struct {
	name   string
	packet []byte
}

// operations are encoded for one of the defined domains.
func operations(d protocol.Domain) []operation {
	all := int32(1)
	return []operation{
		{"version", lab.Packet(protocol.ConnectGetLibVersion.Procedure, nil)},
		{"lookup", lab.Packet(protocol.DomainLookupByName.Procedure, (&protocol.DomainLookupByNameArgs{Name: d.Name}).AppendXDR(nil))},
		{"info", lab.Packet(protocol.DomainGetInfo.Procedure, d.AppendXDR(nil))},
		{"xml", lab.Packet(protocol.DomainGetXMLDesc.Procedure, (&protocol.DomainGetXMLDescArgs{Dom: d}).AppendXDR(nil))},
		{"list", lab.Packet(protocol.ConnectListAllDomains.Procedure, (&protocol.ConnectListAllDomainsArgs{NeedResults: all}).AppendXDR(nil))},
	}
}

// series collects the slices of one operation at one number of connections.
type series struct {
	lat   []int64
	rates []float64
	cpu   []float64 // share of one core that the client needed
	err   error
}

// result is what the report is made of, in microseconds, calls a second, KiB.
type result struct {
	P50, P99, Rate float64
	Client         float64 `json:",omitempty"`
	Calls          int
	Rates          []float64 `json:",omitempty"` // of the rounds, in their order
	Err            string    `json:",omitempty"`
}

func (s *series) result() result {
	if s.err != nil {
		return result{Err: s.err.Error()}
	}
	sort.Slice(s.lat, func(i, j int) bool { return s.lat[i] < s.lat[j] })
	return result{P50: percentile(s.lat, 0.50), P99: percentile(s.lat, 0.99), Rate: median(s.rates), Client: median(s.cpu), Calls: len(s.lat), Rates: s.rates}
}

// percentile of sorted nanoseconds, in microseconds.
func percentile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[max(i, 0)]) / 1e3
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// plan says how much is measured.
type plan struct {
	rounds, domains, starts, restarts int
	slice                             time.Duration
	conns                             []int
}

// run holds all that was measured, by system.
type run struct {
	Calls   map[string]map[string]map[int]result // system, operation, connections
	Costs   map[string]map[string]result         // system, cost
	Memory  map[string]map[string]lab.Usage      // system, moment
	Skipped []string                             `json:",omitempty"`
	Domains int
}

// rotate gives the systems in another order each round.
func rotate(all []*system, round int) []*system {
	n := round % len(all)
	return append(append([]*system(nil), all[n:]...), all[:n]...)
}

func measure(ctx context.Context, systems []*system, p plan) (*run, error) {
	r := &run{Calls: map[string]map[string]map[int]result{}, Costs: map[string]map[string]result{},
		Memory: map[string]map[string]lab.Usage{}, Domains: p.domains}
	for _, s := range systems {
		r.Calls[s.name], r.Costs[s.name] = map[string]map[int]result{}, map[string]result{}
		r.Memory[s.name] = map[string]lab.Usage{}
	}
	if err := r.restart(ctx, systems, p, "first answer, empty"); err != nil {
		return nil, err
	}
	r.memory(systems, "idle")
	sample, err := r.define(systems, p)
	if err != nil {
		return nil, err
	}
	r.memory(systems, "defined")
	r.calls(systems, p, sample)
	r.opens(systems, p)
	if err := r.starts(systems, p); err != nil {
		return nil, err
	}
	r.memory(systems, "after load")
	return r, r.restart(ctx, systems, p, "first answer, defined")
}

// restart measures how soon a daemon answers. It is measured per tree.
func (r *run) restart(ctx context.Context, systems []*system, p plan, cost string) error {
	all := map[string]*series{}
	for round := range p.restarts {
		for _, s := range rotate(systems, round) {
			if s.target == nil || s.shares != "" {
				continue
			}
			took, err := s.firstAnswer(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			all[s.name] = all[s.name].add(took)
		}
	}
	r.costs(cost, all)
	progress("%s measured", cost)
	return nil
}

func (s *series) add(took time.Duration) *series {
	if s == nil {
		s = &series{}
	}
	s.lat = append(s.lat, int64(took))
	s.rates = append(s.rates, 1/took.Seconds())
	return s
}

func (r *run) costs(name string, all map[string]*series) {
	for sys, s := range all {
		v := s.result()
		v.Rates = nil // one per sample here, which says nothing more
		r.Costs[sys][name] = v
	}
}

func (r *run) memory(systems []*system, moment string) {
	for _, s := range systems {
		r.Memory[s.name][moment] = s.usage()
		if s.target != nil && (s.name == "direct" || s.name == "proxy") {
			if pid, err := s.target.Branch("virtqemud"); err == nil {
				r.Memory[s.name][moment+", virtqemud"] = lab.UsageOf(pid)
			}
		}
	}
}

// define fills every tree with domains, ten here and ten there, and measures it.
func (r *run) define(systems []*system, p plan) (map[string]protocol.Domain, error) {
	sample, all := map[string]protocol.Domain{}, map[string]*series{}
	sessions := map[string]*session{}
	for _, s := range systems {
		if s.target == nil || s.shares != "" {
			continue
		}
		c, err := dial(s.socket)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		defer c.Close()
		sessions[s.name] = c
	}
	for first := 0; first < p.domains; first += 10 {
		for _, s := range rotate(systems, first/10) {
			c := sessions[s.name]
			if c == nil {
				continue
			}
			for i := first; i < min(first+10, p.domains); i++ {
				begin := time.Now()
				d, err := c.define(lab.BareXML(fmt.Sprintf("bench-%05d", i), ""))
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.name, err)
				}
				all[s.name] = all[s.name].add(time.Since(begin))
				sample[s.name] = d
			}
		}
	}
	for _, s := range systems {
		if s.shares != "" {
			for _, o := range systems {
				if o.target == s.target && o.shares == "" {
					sample[s.name] = sample[o.name]
				}
			}
		}
	}
	r.costs("define", all)
	progress("%d domains defined", p.domains)
	return sample, nil
}

// calls is the heart: every operation, at every number of connections, on every
// system, in slices.
func (r *run) calls(systems []*system, p plan, sample map[string]protocol.Domain) {
	scratch := make([]byte, 1<<20)
	for _, conns := range p.conns {
		packs := map[string]*pack{}
		for _, s := range systems {
			k, err := connect(conns, s.open)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %d connections: %v\n", s.name, conns, err)
				continue
			}
			packs[s.name] = k
		}
		for i, op := range operations(protocol.Domain{}) {
			all := map[string]*series{}
			for round := range p.rounds + 1 {
				for _, s := range rotate(systems, round) {
					k := packs[s.name]
					if k == nil || s.target == nil && op.name != "version" {
						continue
					}
					if all[s.name] == nil {
						all[s.name] = &series{}
					}
					se := all[s.name]
					if se.err != nil {
						continue
					}
					got, err := k.run(operations(sample[s.name])[i].packet, p.slice, scratch)
					if err != nil {
						se.err = err
						k.close()
						delete(packs, s.name)
						continue
					}
					if round == 0 {
						continue // warms caches on both sides
					}
					se.lat = append(se.lat, got.Lat...)
					se.rates = append(se.rates, float64(got.Calls)/got.Took.Seconds())
					se.cpu = append(se.cpu, got.CPU.Seconds()/got.Took.Seconds())
				}
			}
			for sys, se := range all {
				if r.Calls[sys][op.name] == nil {
					r.Calls[sys][op.name] = map[int]result{}
				}
				r.Calls[sys][op.name][conns] = se.result()
			}
			progress("%s at %d connections measured", op.name, conns)
		}
		for _, k := range packs {
			k.close()
		}
	}
}

// opens measures connecting, opening and closing.
func (r *run) opens(systems []*system, p plan) {
	all := map[string]*series{}
	for round := range 10 * p.rounds {
		for _, s := range rotate(systems, round) {
			if s.target == nil {
				continue
			}
			for range 10 {
				begin := time.Now()
				c, err := dial(s.socket)
				if err != nil {
					if all[s.name] == nil {
						all[s.name] = &series{}
					}
					all[s.name].err = err
					break
				}
				all[s.name] = all[s.name].add(time.Since(begin))
				c.call(protocol.ConnectClose.Procedure, nil)
				c.Close()
			}
		}
	}
	r.costs("connect and open", all)
	progress("connect and open measured")
}

// starts measures starting a guest that has nothing but its firmware.
func (r *run) starts(systems []*system, p plan) error {
	all := map[string]*series{}
	ends := map[string]*series{}
	for round := range p.starts {
		for _, s := range rotate(systems, round) {
			if s.target == nil {
				continue
			}
			if err := s.startOnce(all, ends); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	r.costs("start", all)
	r.costs("destroy", ends)
	progress("start and destroy measured")
	return nil
}

func (s *system) startOnce(starts, ends map[string]*series) error {
	c, err := dial(s.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	d, err := c.define(lab.BareXML("bench-start", ""))
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := c.start(d); err != nil {
		return err
	}
	starts[s.name] = starts[s.name].add(time.Since(begin))
	begin = time.Now()
	if err := c.destroy(d); err != nil {
		return err
	}
	ends[s.name] = ends[s.name].add(time.Since(begin))
	return c.undefine(d)
}

var _ net.Conn = (*session)(nil)

func progress(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, a...)...)
}
