package rules

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestSpeed(t *testing.T) {
	needRoot(t)
	b := backend(t)
	doc := many(500)
	for i := range 3 {
		cpu0 := cpuTime()
		start := time.Now()
		programs := portsOf(t, doc, 50, i)
		compiled := time.Now()
		if err := b.Apply(t.Context(), programs...); err != nil {
			t.Fatal(err)
		}
		t.Logf("compile %v, apply %v, cpu %v", compiled.Sub(start), time.Since(compiled), cpuTime()-cpu0)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
