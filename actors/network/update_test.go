package network

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtree/wire/liberr"
)

func TestUpdateAgreesWithLibvirt(t *testing.T) {
	want := recorded(t, "testdata/update.txtar")
	for name, line := range want {
		name, ok := strings.CutSuffix(name, ".in")
		if !ok {
			continue
		}
		f := strings.SplitN(line, " ", 5)
		c := &change{doc: f[4]}
		fmt.Sscan(f[1]+" "+f[2]+" "+f[3], &c.command, &c.section, &c.index)
		d, err := parse(want[f[0]])
		if err != nil {
			t.Fatal(err)
		}
		before := d.format(nil)
		def := d.clone()
		err = c.apply(def)
		if d.format(nil) != before {
			t.Errorf("%s: the change of a clone changes the original", name)
		}
		if err != nil {
			var e *liberr.Error
			errors.As(err, &e)
			got, expected := strings.TrimSpace(fmt.Sprintf("%d %d %s", e.Domain, e.Code, e.Message)), want[name+".err"]
			if got != expected {
				t.Errorf("%s: %s\n\tgot  %s\n\twant %s%s", name, line, got, expected, want[name+".out"])
			}
			continue
		}
		if diff := cmp.Diff(want[name+".out"], strings.TrimSpace(def.format(nil))); diff != "" {
			t.Errorf("%s: %s: %s%s", name, line, want[name+".err"], diff)
		}
	}
}
