package diff

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// Gaps is the set of known differences, by key.
type Gaps map[string]bool

// gapKey names one step of one scenario for one kind of target. The line number is
// left out, so that editing a scenario does not move its gaps; nth tells equal
// commands of one scenario apart.
func gapKey(kind string, s *Scenario, st *Step) string {
	nth := 1
	for i := range s.Steps {
		if &s.Steps[i] == st {
			break
		}
		if s.Steps[i].Text == st.Text {
			nth++
		}
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s", kind, s.Name, nth, st.Text)
}

// LoadGaps reads the list; a missing file is an empty list.
func LoadGaps(path string) (Gaps, error) {
	g := Gaps{}
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return g, nil
	}
	for _, line := range strings.Split(string(data), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			g[line] = true
		}
	}
	return g, err
}

// Save writes the list, sorted.
func (g Gaps) Save(path string) error {
	keys := make([]string, 0, len(g))
	for k := range g {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return os.WriteFile(path, []byte("# Steps that still differ from libvirtd: target, scenario, nth such step, step.\n"+
		strings.Join(append(keys, ""), "\n")), 0o644)
}
