package sample

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/metrics"
)

// bench is a cache with a clock of its own and a driver that does as the test says.
type bench struct {
	*Cache
	at    time.Time
	wakes int
}

func newBench() *bench {
	b := &bench{Cache: &Cache{}, at: time.Unix(1000, 0)}
	b.now = func() time.Time { return b.at }
	b.Open(func() { b.wakes++ })
	return b
}

func (b *bench) page() string {
	p := metrics.NewPage("d")
	b.Source(p)
	return string(p.Bytes())
}

// answers makes the driver answer at once.
func (b *bench) answers(r *Round) {
	b.Open(func() {
		b.wakes++
		b.Put(r)
	})
}

func one(name string, m Outcome) *Round {
	return &Round{States: map[string]int{"running": 1}, Guests: []Guest{{Name: name, Monitor: m}}}
}

func TestTheFirstScrapeWakesTheSamplerAndHasItsRound(t *testing.T) {
	b := newBench()
	b.answers(one("web", Answered))
	page := b.page()
	if b.wakes != 1 || !strings.Contains(page, `virtree_domain_cpu_seconds_total{daemon="d",domain="web"} 0`) {
		t.Errorf("woken %d times\n%s", b.wakes, page)
	}
	b.at = b.at.Add(time.Second)
	b.page()
	if b.wakes != 1 {
		t.Error("woken again while it is awake")
	}
}

func TestAScrapeDoesNotWaitForASlowRound(t *testing.T) {
	b := newBench()
	began := time.Now()
	page := b.page()
	if took := time.Since(began); took > soon/2 {
		t.Errorf("waited %v", took)
	}
	if strings.Contains(page, "virtree_domains") {
		t.Error("figures from nowhere")
	}
	if next := b.Put(one("web", Answered)); next != usual/2 {
		t.Errorf("next round after %v", next)
	}
	if !strings.Contains(b.page(), `domain="web"`) {
		t.Error("the round is not shown")
	}
}

func TestRoundsEndWhenNobodyScrapes(t *testing.T) {
	b := newBench()
	b.answers(one("web", Answered))
	for range 3 {
		b.page()
		b.at = b.at.Add(20 * time.Second)
	}
	if next := b.Put(one("web", Answered)); next != 10*time.Second {
		t.Errorf("scraped each 20 s: next round after %v", next)
	}
	b.at = b.at.Add(2 * time.Minute)
	if next := b.Put(one("web", Answered)); next != 0 {
		t.Errorf("nobody scrapes, and the next round is due after %v", next)
	}
	if b.round != nil {
		t.Error("old figures are kept")
	}
	b.page()
	if b.wakes != 2 {
		t.Errorf("the next scrape does not wake it: %d", b.wakes)
	}
}

func TestRareScrapesAreServedToo(t *testing.T) {
	b := newBench()
	b.answers(one("web", Answered))
	for range 3 {
		b.page()
		if next := b.Put(one("web", Answered)); next > longest || next < shortest {
			t.Errorf("next round after %v", next)
		}
		b.at = b.at.Add(5 * time.Minute)
	}
	if next := b.Put(one("web", Answered)); next != longest {
		t.Errorf("scraped each 5 min: next round after %v", next)
	}
}

func TestALongRoundIsFollowedByALongRest(t *testing.T) {
	b := newBench()
	b.page()
	r := one("web", Answered)
	r.Took = 8 * time.Second
	if next := b.Put(r); next != 80*time.Second {
		t.Errorf("next round after %v", next)
	}
}

func TestADriverThatDoesNotComeBackIsWokenAgain(t *testing.T) {
	b := newBench()
	b.page()
	b.page()
	if b.wakes != 1 {
		t.Fatalf("woken %d times", b.wakes)
	}
	b.at = b.at.Add(overdue + time.Second)
	b.page()
	if b.wakes != 2 {
		t.Error("not woken again")
	}
	b.Put(one("web", Answered))
	b.at = b.at.Add(longest + overdue + time.Second)
	if page := b.page(); strings.Contains(page, `domain="web"`) || b.wakes != 3 {
		t.Errorf("figures of a round long ago, woken %d times\n%s", b.wakes, page)
	}
	restarted := 0
	b.Open(func() { restarted++ })
	b.page()
	if restarted != 1 {
		t.Error("a restarted driver is not woken")
	}
}

func TestAGuestThatDoesNotAnswerLacksItsDisksAlone(t *testing.T) {
	b := newBench()
	r := one("web", Late)
	r.Guests[0].CPU, r.Guests[0].Links = 1500*time.Millisecond, []Link{{Name: "vnet0", Sent: Traffic{Bytes: 9}}}
	r.Guests = append(r.Guests, Guest{Name: "db", Monitor: Answered, Disks: []Disk{{Target: "vda", Reads: 3, ReadTime: time.Second / 4}}})
	b.answers(r)
	page := b.page()
	for _, want := range []string{
		`virtree_domain_cpu_seconds_total{daemon="d",domain="web"} 1.5`, `virtree_domain_monitor_up{daemon="d",domain="web"} 0`,
		`virtree_domain_network_transmit_bytes_total{daemon="d",domain="web",interface="vnet0"} 9`,
		`virtree_domain_block_reads_total{daemon="d",device="vda",domain="db"} 3`, `virtree_domain_block_read_seconds_total{daemon="d",device="vda",domain="db"} 0.25`,
		`virtree_domain_samples_total{daemon="d",result="ok"} 1`, `virtree_domain_samples_total{daemon="d",result="timeout"} 1`,
		`virtree_domains{daemon="d",state="running"} 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no line %s in\n%s", want, page)
		}
	}
	if strings.Contains(page, `device="vda",domain="web"`) {
		t.Error("disks from nowhere")
	}
}

// many makes a round of n synthetic guests with two disks and an interface each.
func many(n int) *Round {
	r := &Round{States: map[string]int{"running": n}}
	for i := range n {
		r.Guests = append(r.Guests, Guest{
			Name: fmt.Sprintf("guest-%d", i), UUID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i), CPU: time.Duration(i) * time.Millisecond, VCPUs: 2,
			Maximum: 1 << 30, Current: 1 << 29, Resident: 123456789, Monitor: Answered,
			Disks: []Disk{{Target: "vda", ReadBytes: 1 << 40, Reads: 1 << 20, ReadTime: time.Hour}, {Target: "vdb"}},
			Links: []Link{{Name: fmt.Sprintf("vnet%d", i), Received: Traffic{Bytes: 1 << 42, Packets: 1 << 30}}},
		})
	}
	return r
}

func BenchmarkPageOf1000Guests(b *testing.B) {
	var c Cache
	r := many(1000)
	c.Open(func() { c.Put(r) })
	b.ReportAllocs()
	for range b.N {
		p := metrics.NewPage("virtqemud")
		c.Source(p)
		b.SetBytes(int64(len(p.Bytes())))
	}
}
