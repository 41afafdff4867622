package e2e

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// counters is what a leak would grow.
type counters struct {
	lab.Usage
	Goroutines int // -1 when the daemon does not tell
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines(?:\{[^}]*\})? ([0-9.e+]+)$`)

func count(t *lab.Target) counters {
	c := counters{Usage: lab.UsageOf(t.DaemonPIDs()...), Goroutines: -1}
	if t.Kind == lab.Reference {
		return c
	}
	r := t.Run(context.Background(), lab.Binary(), "metrics", "--root", t.Dir)
	for _, m := range goroutines.FindAllStringSubmatch(r.Stdout, -1) {
		if v, err := strconv.ParseFloat(m[1], 64); err == nil {
			c.Goroutines = max(c.Goroutines, 0) + int(v)
		}
	}
	return c
}

// cmdSoak does one thing again and again. In the first half pools and heaps find their
// size; in the second nothing may grow beyond what garbage collection needs to breathe.
func cmdSoak(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	_, t := tree(ts)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var once func() error
	switch args[0] {
	case "connects":
		once = func() error {
			l, err := connectGo(t)
			if err != nil {
				return err
			}
			return l.Disconnect()
		}
	case "starts":
		l, err := connectGo(t)
		ts.Check(err)
		defer l.Disconnect()
		d, err := l.DomainDefineXML(lab.BareXML("soak", ""))
		ts.Check(err)
		defer l.DomainUndefine(d)
		once = func() error {
			if err := l.DomainCreate(d); err != nil {
				return err
			}
			return l.DomainDestroy(d)
		}
	default:
		ts.Fatalf("soak connects|starts N")
	}
	warm := n / 2
	var before counters
	begin := time.Now()
	for i := range n {
		if i == warm {
			before = count(t)
		}
		if err := once(); err != nil {
			ts.Fatalf("time %d of %d: %v\n%s", i+1, n, err, t.LogTail(20))
		}
	}
	took := time.Since(begin)
	// What ends asynchronously (a closed connection's actor) gets time to do so.
	var after counters
	var grown []string
	lab.Await(context.Background(), func() bool {
		after = count(t)
		grown = growth(before, after)
		return len(grown) == 0
	})
	ts.Logf("%d %s in %v; before %v, %d goroutines; after %v, %d goroutines", n, args[0], took.Round(time.Millisecond),
		before.Usage, before.Goroutines, after.Usage, after.Goroutines)
	if len(grown) > 0 {
		ts.Fatalf("%s", strings.Join(grown, "; "))
	}
}

func growth(before, after counters) []string {
	var all []string
	if d := after.FDs - before.FDs; d > 3 {
		all = append(all, strconv.Itoa(d)+" more descriptors")
	}
	if d := after.Threads - before.Threads; d > 12 {
		all = append(all, strconv.Itoa(d)+" more threads")
	}
	if d := after.Goroutines - before.Goroutines; before.Goroutines >= 0 && d > 5 {
		all = append(all, strconv.Itoa(d)+" more goroutines")
	}
	if d := after.RSS - before.RSS; d > 8<<10+before.RSS/10 {
		all = append(all, strconv.FormatInt(d, 10)+" KiB more resident memory")
	}
	return all
}
