package rules

import (
	"context"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// parse reads filters and fills in priorities as a driver does.
func parse(t testing.TB, docs ...string) map[string]*libvirtxml.NWFilter {
	t.Helper()
	all := map[string]*libvirtxml.NWFilter{}
	for _, doc := range docs {
		f := &libvirtxml.NWFilter{}
		if err := f.Unmarshal(doc); err != nil {
			t.Fatal(err)
		}
		if f.Priority == 0 {
			f.Priority = ChainPriority(f.Chain)
		}
		for _, e := range f.Entries {
			if e.Rule != nil && e.Rule.Priority == 0 {
				e.Rule.Priority = RulePriority
			}
		}
		all[f.Name] = f
	}
	return all
}

// program compiles rules for a port, with the variables of the tests.
func program(t testing.TB, port string, rules string) *Program {
	t.Helper()
	p, err := compileRules(t, port, rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compileRules(t testing.TB, port string, rules string) (*Program, error) {
	all := parse(t, "<filter name='f'>"+rules+"</filter>")
	return Compile(&Binding{Port: port, MAC: "52:54:00:00:00:01", Root: all["f"],
		Filters: func(name string) *libvirtxml.NWFilter { return all[name] },
		Vars: map[string][]string{"IP": {"10.0.0.1"}, "IP6": {"fe80::2"}, "A": {"1.1.1.1", "2.2.2.2", "1.1.1.1"}, "B": {"80", "90"},
			"C": {"7", "8", "9"}, "M": {"255.255.255.0"}}})
}

// backend is one whose rules go with the test.
func backend(t testing.TB) Backend {
	b := NFTables(Options{Warn: func(m string) { t.Log(m) }})
	t.Cleanup(func() {
		ports, err := b.Ports(context.Background())
		if err == nil {
			err = b.Remove(context.Background(), ports...)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestFirst(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	f := packet(0, 1, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, "hello"))
	if !l.passes(0, 1, f) {
		t.Error("unfiltered")
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='out'><udp dstportstart='6'/></rule>")))
	if l.passes(0, 1, f) {
		t.Error("passes")
	}
	if f := packet(0, 1, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 7, "hello")); !l.passes(0, 1, f) {
		t.Error("dropped")
	}
	ports, err := b.Ports(t.Context())
	t.Log(ports, err)
	l.must(b.Remove(t.Context(), "vnet0"))
	ports, err = b.Ports(t.Context())
	t.Log(ports, err)
	if !l.passes(0, 1, f) {
		t.Error("unfiltered")
	}
}
