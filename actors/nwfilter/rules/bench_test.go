package rules

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/actors/internal/nettest"

	"libvirt.org/go/libvirtxml"
)

// many makes a filter of so many rules; each names the guest's own address, so that no two ports share a chain.
func many(rules int) string {
	var s strings.Builder
	s.WriteString("<filter name='many'>")
	for i := range rules {
		fmt.Fprintf(&s, "<rule action='accept' direction='in'><tcp dstipaddr='$IP' dstportstart='%d' dstportend='%d'/></rule>", 1000+i*10%60000, 1003+i*10%60000)
	}
	s.WriteString("<rule action='drop' direction='inout' priority='900'><all/></rule></filter>")
	return s.String()
}

func portsOf(t testing.TB, doc string, ports int, shift int) (all []*Program) {
	filters := parse(t, doc)
	for i := range ports {
		p, err := Compile(&Binding{Port: fmt.Sprintf("vnet%d", i), MAC: fmt.Sprintf("52:54:00:00:00:%02x", i), Root: filters["many"],
			Vars: map[string][]string{"IP": {fmt.Sprintf("10.0.%d.%d", shift, i)}}, Filters: func(string) *libvirtxml.NWFilter { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// Fifty ports with five hundred rules each, none of them alike, are replaced within a second. What is measured is the time
// of processors, which others on the machine do not change as they do the clock; this is one thread's work but for the
// collection of garbage.
func TestFiftyPortsInASecond(t *testing.T) {
	nettest.Need(t)
	b := backend(t)
	doc := many(500)
	best := time.Hour
	for i := 0; i < 8 && (i < 2 || best > time.Second); i++ { // what else the machine does slows some of them down
		start, used := time.Now(), cpuTime()
		programs := portsOf(t, doc, 50, i)
		compiled := time.Now()
		if err := b.Apply(t.Context(), programs...); err != nil {
			t.Fatal(err)
		}
		used = cpuTime() - used
		best = min(best, used)
		t.Logf("compiled in %v, applied in %v, %v of processors' time", compiled.Sub(start), time.Since(compiled), used)
	}
	if best > time.Second && !raceEnabled {
		t.Errorf("%v of processors' time", best)
	}
}

func BenchmarkApply(b *testing.B) {
	nettest.Need(b)
	back := backend(b)
	doc := many(500)
	for i := 0; b.Loop(); i++ {
		if err := back.Apply(b.Context(), portsOf(b, doc, 50, i%200)...); err != nil {
			b.Fatal(err)
		}
	}
}

// What is there already costs a look.
func BenchmarkApplyTheSame(b *testing.B) {
	nettest.Need(b)
	back := backend(b)
	programs := portsOf(b, many(500), 50, 0)
	for b.Loop() {
		if err := back.Apply(b.Context(), programs...); err != nil {
			b.Fatal(err)
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
