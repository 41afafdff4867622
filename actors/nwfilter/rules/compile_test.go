package rules

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/nettest"
	"virtree/wire/liberr"
)

var update = flag.Bool("update", false, "write what programs are now")

// Each testdata/*.xml holds filters, the first of which is compiled; the program is in the .txt of the same name.
func TestPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal("no filters", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			docs := strings.SplitAfter(string(text), "</filter>")
			docs = docs[:len(docs)-1]
			got := ""
			if p, err := compileDocuments(t, docs...); err != nil {
				got = err.Error() + "\n"
			} else {
				got = p.String()
			}
			golden := strings.TrimSuffix(file, ".xml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// compileDocuments compiles the first document for port vnet0.
func compileDocuments(t testing.TB, docs ...string) (*Program, error) {
	all := parse(t, docs...)
	first := &libvirtxml.NWFilter{}
	if err := first.Unmarshal(docs[0]); err != nil {
		t.Fatal(err)
	}
	return Compile(&Binding{Port: "vnet0", MAC: "52:54:00:00:00:00", Root: all[first.Name], Vars: variables(),
		Filters: func(name string) *libvirtxml.NWFilter { return all[name] }})
}

// The messages were recorded from libvirtd 9.0.0, those about firewall rules apart, where it quotes its tools.
func TestErrors(t *testing.T) {
	rule := func(r string) []string { return []string{"<filter name='f'>" + r + "</filter>"} }
	for _, c := range []struct {
		name string
		docs []string
		want string
	}{
		{"a filter that is not there", rule("<filterref filter='gone'/>"), "internal error: referenced filter 'gone' is missing"},
		{"a loop", []string{"<filter name='a'><filterref filter='b'/></filter>", "<filter name='b'><filterref filter='a'/></filter>"},
			"operation failed: filter would introduce a loop"},
		{"a filter that refers to itself", []string{"<filter name='a'><filterref filter='a'/></filter>"}, "operation failed: filter would introduce a loop"},
		{"a variable without value", rule("<rule action='accept' direction='in'><tcp srcipaddr='$NO'/></rule>"),
			"internal error: Cannot instantiate filter due to unresolvable variables or unavailable list elements: NO"},
		{"several of them", rule("<rule action='accept' direction='in'><tcp srcipaddr='$NO' dstipaddr='$NOB[@2]' dstportstart='$NOC[1]'/></rule>"),
			"internal error: Cannot instantiate filter due to unresolvable variables or unavailable list elements: NO, NOB[@2], NOC[1]"},
		{"an element that the list does not have", rule("<rule action='accept' direction='in'><tcp srcipaddr='$A[5]'/></rule>"),
			"internal error: Cannot instantiate filter due to unresolvable variables or unavailable list elements: A[5]"},
		{"lists of different lengths", rule("<rule action='accept' direction='in'><tcp srcportstart='$A' dstportstart='$B'/></rule>"),
			"internal error: Cardinality of list items must be the same for processing them in parallel"},
		{"an iterator that is none", rule("<rule action='accept' direction='in'><tcp srcportstart='$B[@x]'/></rule>"), "internal error: srcportstart has illegal value $B[@x]"},
		{"an iterator too high", rule("<rule action='accept' direction='in'><tcp srcportstart='$B[@1001]'/></rule>"), "internal error: srcportstart has illegal value $B[@1001]"},
		{"an address for a port", rule("<rule action='accept' direction='in'><tcp srcportstart='$A'/></rule>"), "internal error: srcportstart has illegal value 1.1.1.1"},
		{"an address of the other family", rule("<rule action='accept' direction='in'><tcp srcipaddr='$IP6'/></rule>"), "internal error: srcipaddr has illegal value fe80::2"},
		{"going on in iptables", rule("<rule action='continue' direction='in'><tcp/></rule>"), "internal error: Failed to apply firewall rules: protocol tcp has no action 'continue'"},
		{"ports of every protocol but one", rule("<rule action='accept' direction='in'><ip match='no' protocol='17' srcportstart='5'/></rule>"),
			"internal error: Failed to apply firewall rules: ports and types cannot be matched of every protocol but one"},
		{"a range the wrong way round", rule("<rule action='accept' direction='in'><tcp srcportstart='5' srcportend='4'/></rule>"),
			"internal error: Failed to apply firewall rules: srcportstart is above srcportend"},
		{"spanning tree both ways", rule("<rule action='accept' direction='inout'><stp srcmacaddr='1:2:3:4:5:6'/></rule>"),
			"internal error: STP filtering in inout direction with source MAC address set is not supported"},
		{"a chain of two priorities", []string{"<filter name='f'><filterref filter='a'/><filterref filter='b'/></filter>",
			"<filter name='a' chain='ipv4' priority='-900'><rule action='drop' direction='out' priority='-950'><ip protocol='1'/></rule></filter>",
			"<filter name='b' chain='ipv4' priority='300'><rule action='drop' direction='out' priority='-900'><ip protocol='2'/></rule></filter>"},
			"internal error: Failed to apply firewall rules: chain 'ipv4' has two priorities"},
		{"a chain of no protocol", []string{"<filter name='f' chain='other'/>"}, "internal error: Failed to apply firewall rules: no chain can be called 'other'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compileDocuments(t, c.docs...)
			if err == nil || err.Error() != c.want {
				t.Errorf("%v\nnot %s", err, c.want)
			}
			var lib *liberr.Error
			if !errors.As(err, &lib) {
				t.Error("no error of libvirt's")
			}
		})
	}
}

func TestAMissingVariableIsNamed(t *testing.T) {
	_, err := compileRules(t, "vnet0", "<rule action='accept' direction='in'><tcp srcipaddr='$IPX'/></rule>")
	var missing *MissingError
	if !errors.As(err, &missing) || len(missing.Names) != 1 || missing.Names[0] != "IPX" {
		t.Error(err)
	}
}

// What an outer filter or the binding says goes before a reference's parameters.
func TestParametersAreDefaults(t *testing.T) {
	inner := "<filter name='inner'><rule action='drop' direction='out'><tcp srcipaddr='$IP' dstportstart='$PORT'/></rule></filter>"
	if _, err := compileDocuments(t, "<filter name='f'><filterref filter='inner'><parameter name='IP' value='9.9.9.9'/><parameter name='PORT' value='22'/><parameter name='PORT' value='23'/><parameter name='bad-name' value='x'/></filterref></filter>", inner); err == nil {
		t.Fatal("lists of one and two go together")
	}
	p, err := compileDocuments(t, "<filter name='f'><filterref filter='inner'><parameter name='IP' value='9.9.9.9'/><parameter name='PORT' value='22'/></filterref></filter>", inner)
	if err != nil {
		t.Fatal(err)
	}
	if text := p.String(); !strings.Contains(text, "ip saddr 10.0.0.1 th dport 22") || strings.Contains(text, "9.9.9.9") {
		t.Error(text)
	}
}

// Filters of a few lines can ask for more than any memory.
func TestWhatMultipliesIsRefused(t *testing.T) {
	doubling := []string{}
	for i := range 40 {
		doubling = append(doubling, fmt.Sprintf("<filter name='f%d'><rule action='drop' direction='in'><tcp/></rule><filterref filter='f%d'/><filterref filter='f%d'/></filter>", i, i+1, i+1))
	}
	doubling = append(doubling, "<filter name='f40'/>")
	deep := []string{}
	for i := range 5000 {
		deep = append(deep, fmt.Sprintf("<filter name='f%d'><filterref filter='f%d'><parameter name='V%d' value='1'/></filterref></filter>", i, i+1, i))
	}
	deep = append(deep, "<filter name='f5000'/>")
	var long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&long, "<parameter name='L' value='%d'/>", i)
	}
	cube := []string{"<filter name='f'><filterref filter='g'>" + long.String() + "</filterref></filter>",
		"<filter name='g'><rule action='drop' direction='in'><tcp srcportstart='$L[@1]' dstportstart='$L[@2]' option='$L[@3]' dscp='3'/></rule></filter>"}
	for name, docs := range map[string][]string{"doubling": doubling, "deep": deep, "cube": cube} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := compileDocuments(t, docs...)
			runtime.ReadMemStats(&after)
			if err == nil || err.Error() != "internal error: Failed to apply firewall rules: port 'vnet0' would have more than 131072 rules" {
				t.Error(err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
		})
	}
}

// A hundred thousand rules are much, but no reason to refuse them.
func TestManyRules(t *testing.T) {
	if n := len(portsOf(t, many(100_000), 1, 0)[0].chains[netOut4].rules); n != 100_001 {
		t.Errorf("%d rules", n)
	}
	if !nettest.Inside() {
		return
	}
	b := backend(t)
	if err := b.Apply(t.Context(), portsOf(t, many(20_000), 1, 0)...); err != nil {
		t.Error(err)
	}
}

// Folding must not change which conditions a packet meets, nor in which order it meets the rules.
func TestFolding(t *testing.T) {
	for _, doc := range []string{many(30), "<filter name='many'>" + strings.Join(ruleLinesThatCompile(t), "") + "</filter>"} {
		for _, c := range portsOf(t, doc, 1, 0)[0].chains {
			if c == nil {
				continue
			}
			var flat []rule
			for _, f := range fold(c.rules) {
				for _, r := range f.rules {
					flat = append(flat, rule{matches: append(append([]match{}, f.common...), r.matches...), verdict: r.verdict, sub: r.sub, comment: r.comment})
				}
			}
			if len(flat) != len(c.rules) {
				t.Fatalf("%d rules became %d", len(c.rules), len(flat))
			}
			for i := range flat {
				a, b := flat[i], c.rules[i]
				if len(a.matches) != len(b.matches) || len(intersect(a.matches, b.matches)) != len(a.matches) || a.verdict != b.verdict || a.comment != b.comment {
					t.Errorf("%s became %s", &b, &a)
				}
			}
		}
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		ranges [][2]uint32
		want   string
	}{
		{[][2]uint32{{5, 5}, {1, 1}, {9, 9}, {7, 7}}, "1-1 5-5 7-7 9-9"},
		{[][2]uint32{{1, 4}, {5, 9}, {3, 3}, {20, 30}}, "1-9 20-30"},
		{[][2]uint32{{0, 65535}, {1, 2}, {65535, 65535}, {0, 0}}, "0-65535"},
		{[][2]uint32{{65530, 65535}, {65535, 65535}, {1, 300}, {256, 256}}, "1-300 65530-65535"},
	} {
		var rules []rule
		for _, r := range c.ranges {
			rules = append(rules, rule{matches: []match{numbers(dstPort, r[0], r[1])}})
		}
		if n := together(rules); n != len(rules) {
			t.Errorf("%v: %d go together", c.ranges, n)
		}
		var got []string
		for _, s := range spans(rules) {
			got = append(got, fmt.Sprintf("%d-%d", uint(s.lo[0])<<8|uint(s.lo[1]), uint(s.hi[0])<<8|uint(s.hi[1])))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v, not %s", c.ranges, got, c.want)
		}
	}
}

// ruleLinesThatCompile are those with which a filter of them all compiles.
func ruleLinesThatCompile(t testing.TB) (lines []string) {
	for _, line := range ruleLines(t) {
		if _, err := compileRules(t, "vnet0", line); err == nil && !strings.Contains(line, "$") {
			lines = append(lines, line)
		}
	}
	return lines
}

// The library's reader of filters does not end on some broken documents, so only rules are read from text here.
func FuzzCompile(f *testing.F) {
	for _, line := range ruleLines(f) {
		f.Add(line, "root", 500, "IP", "10.0.0.1")
	}
	f.Add("<rule action='drop' direction='out'><ip srcipaddr='$A[@2]' srcipmask='$A[0]' protocol='$A'/></rule>", "ipv4-x", -1000, "A", "7")
	f.Fuzz(func(t *testing.T, text, chain string, priority int, name, val string) {
		r := &libvirtxml.NWFilterRule{}
		if len(text) > 1<<14 || xml.Unmarshal([]byte(text), r) != nil {
			return
		}
		r.Priority = priority
		filter := &libvirtxml.NWFilter{Name: "f", Chain: chain, Priority: -priority, Entries: []libvirtxml.NWFilterEntry{{Rule: r}, {Rule: r},
			{Ref: &libvirtxml.NWFilterRef{Filter: "g", Parameters: []libvirtxml.NWFilterParameter{{Name: name, Value: "1"}, {Name: "X", Value: val}}}}}}
		inner := &libvirtxml.NWFilter{Name: "g", Entries: []libvirtxml.NWFilterEntry{{Rule: r}}}
		p, err := Compile(&Binding{Port: "vnet0", MAC: "52:54:00:00:00:01", Root: filter, Vars: map[string][]string{name: {val, "80", val}, "IP": {val}},
			Filters: func(n string) *libvirtxml.NWFilter {
				return map[string]*libvirtxml.NWFilter{"f": filter, "g": inner}[n]
			}})
		if err != nil {
			var lib *liberr.Error
			if !errors.As(err, &lib) {
				t.Fatalf("%v is no error of libvirt's", err)
			}
			return
		}
		if text := p.String(); text == "" {
			t.Fatal("a program without text")
		}
		for k, c := range p.chains {
			if c == nil {
				continue
			}
			if err := writeChain(newBatch(), tableOfTests, "chain", namedChain{c, kind(k)}); err != nil && !c.hasField(ipSet) {
				t.Fatal(err)
			}
		}
	})
}
