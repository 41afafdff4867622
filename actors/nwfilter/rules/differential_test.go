package rules

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// differ filters port vnet0 by the first of the documents, first here and then by libvirtd, and compares what passes.
func differ(t *testing.T, l *lab, r *reference, scenes []scene, docs ...string) {
	t.Helper()
	all := parse(t, docs...)
	first := &libvirtxml.NWFilter{}
	if err := first.Unmarshal(docs[0]); err != nil {
		t.Fatal(err)
	}
	b := backend(t)
	p, err := Compile(&Binding{Port: "vnet0", MAC: "52:54:00:00:00:00", Root: all[first.Name], Vars: variables(),
		Filters: func(name string) *libvirtxml.NWFilter { return all[name] }})
	if err == nil {
		err = b.Apply(t.Context(), p)
	}
	var here map[string]string
	if err == nil {
		here = l.play(scenes)
	}
	if err := b.Remove(t.Context(), "vnet0"); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(all))
	defer r.unbind(names...)
	refErr := r.bind(docs, first.Name, variables())
	if (err == nil) != (refErr == nil) {
		t.Errorf("libvirtd: %v\nhere: %v", refErr, err)
		return
	}
	if err != nil {
		t.Logf("libvirtd: %v\nhere: %v", refErr, err)
		return
	}
	there := l.play(scenes)
	different, shown := 0, 0
	for _, s := range scenes {
		if here[s.name] != there[s.name] {
			different++
			if shown++; shown <= 10 {
				t.Errorf("%s: libvirtd %s, here %s", s.name, there[s.name], here[s.name])
			}
		}
	}
	if different > 0 {
		t.Errorf("%d of %d scenes differ\n%s", different, len(scenes), p)
	}
}

// full plays everything with everything, which takes minutes.
var full = flag.Bool("full", false, "compare more with libvirtd")

// some is a part of the scenes, another one for each n.
func some(scenes []scene, n int) (part []scene) {
	if *full {
		return scenes
	}
	for i, s := range scenes {
		if (i+n)%7 == 0 {
			part = append(part, s)
		}
	}
	return part
}

// ruleLines are rules, each with an attribute or two. Not among them is what libvirtd 9.0.0 does otherwise than it says,
// for the tools that it calls: numbers of vlan's encap-protocol are read as hexadecimal, the fields of stp never match.
// Nor is what it forgets when it reads a filter: that a destination port is not to match, unless a source port is not to
// either; nor ah-ipv6, which ip6tables never finds.
func ruleLines(t testing.TB) (lines []string) {
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// rest are rules that drop what the rule does not let pass, or one would not see what it does.
func rest(t testing.TB, line string) string {
	if strings.Contains(line, "action='drop'") || strings.Contains(line, "action='reject'") {
		return ""
	}
	if p, err := compileRules(t, "vnet0", line); err == nil && p.chains[linkIn] == nil && p.chains[linkOut] == nil {
		return "<rule action='drop' direction='inout' priority='1000'><all/></rule><rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>"
	}
	return "<rule action='drop' direction='inout' priority='1000'/>"
}

func TestDifferential(t *testing.T) {
	l := newLab(t, 2)
	shipped := shippedFilters(t)
	r := startReference(t)
	scenes := corpus()
	lines := ruleLines(t)
	for i, line := range lines {
		if !*full && i%5 != 0 {
			continue
		}
		t.Run(line, func(t *testing.T) {
			differ(t, l, r, some(scenes, i), "<filter name='root'>"+line+rest(t, line)+"</filter>")
		})
	}
	for i, name := range []string{"clean-traffic", "clean-traffic-gateway", "allow-dhcp-server", "no-ip-multicast",
		"no-mac-broadcast", "allow-incoming-ipv4", "no-ipv6-spoofing", "qemu-announce-self"} {
		if !*full && i >= 3 {
			break
		}
		t.Run(name, func(t *testing.T) {
			docs := []string{shipped[name]}
			for _, n := range slices.Sorted(maps.Keys(shipped)) {
				if n != name {
					docs = append(docs, shipped[n])
				}
			}
			differ(t, l, r, some(scenes, i), docs...)
		})
	}
	count := 6
	if *full {
		count = 100
	}
	for seed := range count {
		t.Run(fmt.Sprint("random ", seed), func(t *testing.T) {
			differ(t, l, r, some(scenes, seed), randomFilters(rand.New(rand.NewPCG(uint64(seed), 1)), lines)...)
		})
	}
}

// shippedFilters are those that libvirt brings along.
func shippedFilters(t testing.TB) map[string]string {
	files, err := filepath.Glob("/etc/libvirt/nwfilter/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal("package libvirt-daemon-config-nwfilter is needed", err)
	}
	all := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".xml")] = string(text)
	}
	return all
}

var (
	attributeOf = map[string]*regexp.Regexp{"action": regexp.MustCompile("action='[a-z]*'"), "direction": regexp.MustCompile("direction='[a-z]*'"),
		"priority": regexp.MustCompile(" priority='[-0-9]*'")}
	// impossible are rules that no filter can have.
	impossible = regexp.MustCompile(`NO|A\[5\]|@x|@9999|ipset|continue|comment|'\$A'|B\[@2\]|match='no' .*protocol='(17|icmpv6)'|<stp src`)
)

// randomFilters are a filter and some that it refers to, in chains of several names, made of the lines.
func randomFilters(r *rand.Rand, lines []string) (docs []string) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	rules := func(n int, fits func(string) bool) (text string) {
		for n > 0 {
			line := lines[r.IntN(len(lines))]
			if impossible.MatchString(line) || !fits(line) {
				continue
			}
			n--
			actions := []string{"accept", "drop", "return", "accept", "drop"}
			if strings.Contains(line, "<mac") || strings.Contains(line, "<arp") || strings.Contains(line, "<ip") {
				actions = append(actions, "continue", "reject")
			}
			line = attributeOf["priority"].ReplaceAllString(line, "")
			line = attributeOf["action"].ReplaceAllString(line, "action='"+pick(actions...)+"'")
			line = attributeOf["direction"].ReplaceAllString(line, "direction='"+pick("in", "out", "inout")+fmt.Sprintf("' priority='%d'", r.IntN(2000)-1000))
			text += line
		}
		return text
	}
	root := "<filter name='root'>" + rules(2+r.IntN(6), func(string) bool { return true })
	for i := range r.IntN(4) {
		chain := pick("ipv4", "ipv4-one", "ipv6", "arp", "rarp", "mac", "mac-two", "vlan", "stp", "ipv4-one")
		element := map[string]string{"ipv4": "<ip ", "ipv4-one": "<ip ", "ipv6": "<ipv6", "arp": "<arp", "rarp": "<rarp", "mac": "<mac", "mac-two": "<mac",
			"vlan": "<vlan", "stp": "<mac"}[chain]
		name := fmt.Sprint("sub", i)
		docs = append(docs, fmt.Sprintf("<filter name='%s' chain='%s' priority='%d'>%s</filter>", name, chain, r.IntN(2000)-1000,
			rules(1+r.IntN(4), func(line string) bool { return strings.Contains(line, element) || r.IntN(20) == 0 })))
		root += "<filterref filter='" + name + "'><parameter name='X' value='7'/></filterref>"
	}
	return append([]string{root + "</filter>"}, docs...)
}
