package isolation

import (
	"bytes"
	"context"
	"os"
	"testing"

	"virtree/bench/internal/lab"
)

func TestMain(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

// The smoke run: some faults in both modes. It fails when somebody else's call suffers.
func TestFaultsStayWhereTheyAre(t *testing.T) {
	if why := lab.Missing(lab.Single); why != "" {
		t.Skip(why)
	}
	p := Smoke()
	p.Progress = func(done, all int, what string) { t.Logf("%d/%d %s", done, all, what) }
	rep, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	rep.Table(&b)
	t.Logf("\n%s", b.String())
	if rep.Missed > 0 {
		t.Errorf("%d visits did not fit into %v", rep.Missed, p.Limit)
	}
	for _, row := range rep.Rows {
		for kind, c := range row.Cells {
			if !c.Contained {
				t.Errorf("%s, %s: %s\n%v", row.Title(), kind, c.Verdict(), c.Errors)
			}
		}
	}
}
