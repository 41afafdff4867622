package diff

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/bench/internal/lab"
)

var (
	against = flag.String("against", "single,split,direct",
		"what to compare with libvirtd; reference compares it with itself, which tests the scenarios")
	reportTo  = flag.String("report", "", "write the table of virsh commands to this file")
	writeGaps = flag.Bool("gaps", false, "write testdata/gaps.txt from what differs now")
	show      = flag.Bool("show", false, "log what libvirtd answers")
)

const gapsFile = "testdata/gaps.txt"

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

// transcript is the reference's side of one scenario.
type transcript struct {
	scenario *Scenario
	outcomes []Outcome
}

func TestAnswersAreLibvirtds(t *testing.T) {
	if why := lab.Missing(lab.Reference); why != "" {
		t.Skip(why)
	}
	if _, err := lab.Python(); err != nil {
		t.Skip(err)
	}
	kinds := strings.Split(*against, ",")
	for i, k := range kinds {
		if k == "reference" {
			kinds[i] = string(lab.Reference)
		}
		if why := lab.Missing(lab.Kind(kinds[i])); why != "" {
			t.Skip(why)
		}
	}
	scripts := playReference(t)
	known, err := LoadGaps(gapsFile)
	if err != nil {
		t.Fatal(err)
	}
	found, report := Gaps{}, NewReport()
	for _, k := range kinds {
		t.Run(k, func(t *testing.T) { compareAll(t, lab.Kind(k), scripts, known, found, report) })
	}
	if *writeGaps {
		if err := found.Save(gapsFile); err != nil {
			t.Error(err)
		}
	}
	if *reportTo != "" {
		text, err := report.Markdown(context.Background(), kinds)
		if err == nil {
			err = os.WriteFile(*reportTo, []byte(text), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// playReference plays every scenario on one libvirtd; they clean up after themselves.
func playReference(t *testing.T) []transcript {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	ctx := t.Context()
	d, err := lab.Open(ctx, lab.Reference, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var all []transcript
	t.Run("reference-plays", func(t *testing.T) {
		for _, p := range paths {
			s, err := Load(p)
			if err != nil {
				t.Error(err)
				continue
			}
			t.Run(s.Name, func(t *testing.T) {
				outcomes, err := Play(ctx, d, s)
				if err != nil {
					t.Fatal(err)
				}
				if *show {
					for i, o := range outcomes {
						t.Logf("%s\n[%d] %s%s", s.Steps[i].Text, o.Exit, o.Stdout, o.Stderr)
					}
				}
				all = append(all, transcript{s, outcomes})
			})
		}
	})
	return all
}

func compareAll(t *testing.T, kind lab.Kind, scripts []transcript, known, found Gaps, report *Report) {
	ctx := t.Context()
	var d *lab.Target
	defer func() {
		if d != nil {
			d.Close()
		}
	}()
	for _, tr := range scripts {
		t.Run(tr.scenario.Name, func(t *testing.T) {
			if d != nil && !lab.Alive(d.Main.PID) {
				t.Errorf("the daemon had ended before this scenario:\n%s", d.LogTail(30))
				d.Close()
				d = nil
			}
			if d == nil {
				var err error
				if d, err = lab.Open(ctx, kind, lab.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			outcomes, err := Play(ctx, d, tr.scenario)
			if err != nil {
				t.Errorf("stopped: %v", err)
			}
			findings := Compare(tr.scenario, tr.outcomes, outcomes)
			report.Add(string(kind), tr.scenario, findings)
			for _, f := range findings {
				judge(t, gapKey(string(kind), tr.scenario, f.Step), f, known, found)
			}
		})
	}
}

// judge fails the test for a difference that is not in the list, and for an entry of
// the list that is no longer one.
func judge(t *testing.T, key string, f Finding, known, found Gaps) {
	switch {
	case f.Verdict == Differs:
		found[key] = true
		if known[key] && !testing.Verbose() {
			return
		}
		say := t.Errorf
		if known[key] || *writeGaps {
			say = t.Logf
		}
		say("line %d: %s\n%s", f.Step.Line, f.Step.Text, f.Detail)
	case known[key] && !*writeGaps:
		t.Errorf("line %d: %s\nnow answers as libvirtd does: remove it from %s", f.Step.Line, f.Step.Text, gapsFile)
	}
}
