package rules

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// variables of the tests. Guest 0's address is MAC.
func variables() map[string][]string {
	return map[string][]string{"IP": {"10.0.0.1"}, "IP6": {"fe80::2"}, "A": {"1.1.1.1", "2.2.2.2", "1.1.1.1"}, "B": {"80", "90"},
		"C": {"7", "8", "9"}, "M": {"255.255.255.0"}}
}

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

func TestDifferential(t *testing.T) {
	l := newLab(t, 2)
	r := startReference(t)
	scenes := corpus()
	t.Logf("%d scenes", len(scenes))
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		t.Run(line, func(t *testing.T) {
			// What is in the rule's reach is dropped or passes; the rest is the other way round.
			differ(t, l, r, scenes, "<filter name='root'>"+line+"</filter>")
		})
	}
}
