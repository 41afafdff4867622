package qemu

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/actors/qemu/sample"
)

// herd is many guests that are not there: actors that answer for domains, this process in the place of QEMU's, and
// monitors that know one command. A thousand real QEMUs do not fit into a test.
type herd struct {
	shared *shared
	guests []*sampled
	asked  []atomic.Int64 // questions to each monitor
}

// newHerd makes n guests with two disks, of which every silent one (0: none) has a monitor that does not answer.
func newHerd(t testing.TB, n, silent int) *herd {
	system := kit.NewSystem("", zerolog.Nop())
	h := &herd{shared: &shared{system: system}, asked: make([]atomic.Int64, n)}
	for i := range n {
		mon := h.monitor(t, i, silent > 0 && i%silent == 0)
		here := &sampleHere{
			run: 1, pid: os.Getpid(), vcpus: 2, maximum: 1 << 20, current: 1 << 20, mon: mon,
			disks: []sampleDisk{{"virtio-disk0", "vda"}, {"virtio-disk1", "vdb"}}, links: []sampleLink{{"lo", true}},
		}
		pid := system.Root.Spawn(kit.Func(func(c actor.Context) {
			if _, ok := c.Message().(*sampleWhere); ok {
				c.Respond(here)
			}
		}))
		g := &sampled{Summary: Summary{Name: fmt.Sprintf("guest-%d", i), ID: int32(i)}, pid: pid}
		binary.BigEndian.PutUint32(g.UUID[:], uint32(i))
		h.guests = append(h.guests, g)
	}
	return h
}

// monitor is the near end of a monitor.
func (h *herd) monitor(t testing.TB, i int, silent bool) *qmp.Client {
	near, far := net.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	go func() {
		in := bufio.NewReader(far)
		_, _ = fmt.Fprintln(far, `{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}`)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			var r struct {
				Execute string          `json:"execute"`
				ID      json.RawMessage `json:"id"`
			}
			if err := json.Unmarshal(line, &r); err != nil {
				t.Error(err)
				return
			}
			value := "{}"
			if r.Execute == "query-blockstats" {
				h.asked[i].Add(1)
				if silent {
					continue
				}
				value = blockStatsOfTwo
			}
			if _, err := fmt.Fprintf(far, "{\"return\": %s, \"id\": %s}\n", value, r.ID); err != nil {
				return
			}
		}
	}()
	c, err := qmp.New(t.Context(), near, qmp.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

const blockStatsOfTwo = `[{"device": "", "qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "node-name": "libvirt-1-format", "stats": {"rd_bytes": 4096, "rd_operations": 8, "wr_bytes": 512, "wr_operations": 1, "flush_operations": 2, "rd_total_time_ns": 1000, "wr_total_time_ns": 2000, "flush_total_time_ns": 3000, "wr_highest_offset": 0}, "parent": {"node-name": "libvirt-1-storage", "stats": {"rd_bytes": 4096, "rd_operations": 8}}}, ` +
	`{"device": "", "qdev": "/machine/peripheral/virtio-disk1/virtio-backend", "node-name": "libvirt-2-format", "stats": {"rd_bytes": 1, "rd_operations": 1, "wr_bytes": 0, "wr_operations": 0, "flush_operations": 0, "rd_total_time_ns": 0, "wr_total_time_ns": 0, "flush_total_time_ns": 0, "wr_highest_offset": 0}}]`

func TestARoundOfManyGuestsSkipsThoseThatAreSilent(t *testing.T) {
	const n, every = 300, 100
	h := newHerd(t, n, every)
	for round := range 3 {
		r := &sample.Round{}
		h.shared.sampleRound(t.Context(), h.guests, r)
		if len(r.Guests) != n {
			t.Fatalf("round %d has %d guests", round, len(r.Guests))
		}
		for i, g := range r.Guests {
			switch {
			case i%every == 0:
				if g.Monitor != sample.Late || g.Disks != nil || g.CPU == 0 || g.Resident == 0 {
					t.Errorf("round %d: a silent guest has %+v", round, g)
				}
			case g.Monitor != sample.Answered || len(g.Disks) != 2 || g.Disks[0].Reads != 8 || g.Disks[0].Target != "vda" || len(g.Links) != 1:
				t.Errorf("round %d: guest %d has %+v", round, i, g)
			}
		}
	}
	for i := range h.asked {
		if got, want := h.asked[i].Load(), int64(3); i%every != 0 && got != want {
			t.Errorf("guest %d was asked %d times", i, got)
		} else if i%every == 0 && got != 1 {
			t.Errorf("a silent guest was asked %d times", got)
		}
	}
}

func TestAStuckDomainIsReadWhereItWas(t *testing.T) {
	h := newHerd(t, 2, 0)
	first := &sample.Round{}
	h.shared.sampleRound(t.Context(), h.guests, first)
	h.guests[0].pid = h.shared.system.Root.Spawn(kit.Func(func(actor.Context) {})) // who does not answer
	second := &sample.Round{}
	h.shared.sampleRound(t.Context(), h.guests, second)
	if len(second.Guests) != 2 || second.Guests[0].Monitor != sample.Answered {
		t.Errorf("%+v", second.Guests)
	}
}

// BenchmarkSampleRound is what a round of 1,000 such guests costs.
func BenchmarkSampleRound(b *testing.B) {
	h := newHerd(b, 1000, 0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r := &sample.Round{}
		h.shared.sampleRound(b.Context(), h.guests, r)
		if len(r.Guests) != 1000 {
			b.Fatal(len(r.Guests))
		}
	}
}
