package supervisors

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTheHostsTreeIsSound(t *testing.T) {
	for name, spec := range map[string]Spec{"Host": Host, "Monolith": Monolith} {
		if err := spec.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		order, _ := spec.Order()
		if slices.Index(order, "logd") > slices.Index(order, "qemu") {
			t.Errorf("%s: logd must be there before qemu and go after it: %v", name, order)
		}
	}
	if _, ok := Monolith.Find("proxy"); ok {
		t.Error("libvirtd has no proxy")
	}
	only, err := Host.Only("virtqemud")
	if err != nil || len(only) != 1 || only[0].Name != "qemu" || !only[0].Vital || only[0].Needs != nil || only.Check() != nil {
		t.Errorf("one branch: %+v %v", only, err)
	}
	if b, _ := Host.Find("qemu"); b.Vital || len(b.Needs) == 0 {
		t.Error("Only changed the spec it was taken from")
	}
	if _, err := Host.Only("nonsense"); err == nil {
		t.Error("a branch that does not exist was found")
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for want, spec := range map[string]Spec{
		"taken":      {{Name: "a"}, {Name: "a"}},
		"is empty":   {{}},
		"not in the": {{Name: "a", Needs: []string{"b"}}},
		"circle":     {{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"c"}}, {Name: "c", Needs: []string{"a"}}},
		"a\" (d)":    {{Name: "b", Daemon: "d"}, {Name: "a", Daemon: "d"}},
	} {
		if err := spec.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", spec, err, want)
		}
	}
}

func TestOrderPutsEachAfterItsNeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spec Spec
		n := rapid.IntRange(1, 12).Draw(t, "branches")
		for i := range n {
			b := Branch{Name: string(rune('a' + i))}
			for j := range i {
				if rapid.Bool().Draw(t, "needs") {
					b.Needs = append(b.Needs, string(rune('a'+j)))
				}
			}
			spec = append(spec, b)
		}
		spec = rapid.Permutation(spec).Draw(t, "written")
		order, err := spec.Order()
		if err != nil || len(order) != n {
			t.Fatalf("%v %v", order, err)
		}
		for _, b := range spec {
			for _, need := range b.Needs {
				if slices.Index(order, need) > slices.Index(order, b.Name) {
					t.Fatalf("%s before %s in %v", b.Name, need, order)
				}
			}
		}
	})
}
