package e2e

import (
	"context"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// calls are what must not suffer when something else does.
var calls = []struct {
	name string
	do   func(l *libvirt.Libvirt, d libvirt.Domain) error
}{
	{"lookup", func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := l.DomainLookupByName(d.Name)
		return err
	}},
	{"info", func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, _, _, _, _, err := l.DomainGetInfo(d)
		return err
	}},
	{"xml", func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := l.DomainGetXMLDesc(d, 0)
		return err
	}},
	{"list", func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, _, err := l.ConnectListAllDomains(1, 0)
		return err
	}},
	{"query", func(l *libvirt.Libvirt, d libvirt.Domain) error { // goes through QEMU
		_, err := l.QEMUDomainMonitorCommand(d, `{"execute":"query-status"}`, 0)
		return err
	}},
}

// medians measures each call on a domain, over a connection of its own.
func medians(t *lab.Target, name string, rounds int, which ...string) (map[string]time.Duration, error) {
	l, err := connectGo(t)
	if err != nil {
		return nil, err
	}
	defer l.Disconnect()
	d, err := l.DomainLookupByName(name)
	if err != nil {
		return nil, err
	}
	result := map[string]time.Duration{}
	for _, c := range calls {
		if len(which) > 0 && !contains(which, c.name) {
			continue
		}
		var all []time.Duration
		for range rounds {
			begin := time.Now()
			if err := c.do(l, d); err != nil {
				return nil, err
			}
			all = append(all, time.Since(begin))
		}
		sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
		result[c.name] = all[len(all)/2]
	}
	return result, nil
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// slack is what a median may grow by for reasons of the machine, beside the factor: two
// cores are shared with the callers that are being tested against.
const slack = 300 * time.Microsecond

// slower lists the calls whose median more than doubled.
func slower(before, now map[string]time.Duration) []string {
	var bad []string
	for name, b := range before {
		if n := now[name]; n > 2*b+slack {
			bad = append(bad, name+": "+b.String()+" before, "+n.String()+" now")
		}
	}
	return bad
}

func cmdLatency(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	w, t := tree(ts)
	now, err := medians(t, args[1], 200)
	ts.Check(err)
	switch args[0] {
	case "save":
		w.before = now
	case "check":
		ts.Logf("before %v, now %v", w.before, now)
		if bad := slower(w.before, now); len(bad) > 0 {
			ts.Fatalf("%v", bad)
		}
	default:
		ts.Fatalf("latency save|check NAME")
	}
}

// cmdStuck stops one QEMU with n callers waiting on its monitor. Other guests, lists
// and lookups must not notice; what is known of the stuck one must still be told.
func cmdStuck(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 3)
	_, t := tree(ts)
	name, other := args[0], args[1]
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	before, err := medians(t, other, 200)
	ts.Check(err)

	pid, err := t.QEMU(name)
	ts.Check(err)
	var callers []*libvirt.Libvirt
	for range n {
		l, err := connectGo(t)
		ts.Check(err)
		defer l.Disconnect()
		callers = append(callers, l)
	}
	d, err := callers[0].DomainLookupByName(name)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGSTOP))
	defer syscall.Kill(pid, syscall.SIGCONT)

	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i, l := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			if i%2 == 0 {
				_, err = l.QEMUDomainMonitorCommand(d, `{"execute":"query-status"}`, 0)
			} else {
				_, err = l.DomainMemoryStats(d, 16, 0)
			}
			errs <- err
		}()
	}
	// The calls are on their way; that they are stuck shows when none comes back while
	// the others below are measured.
	now, err := medians(t, other, 200)
	ts.Check(err)
	ts.Logf("other guest: before %v, with %d callers stuck %v", before, n, now)
	bad := slower(before, now)
	known, err := medians(t, name, 20, "lookup", "info", "xml", "list")
	ts.Check(err)
	ts.Logf("stuck guest, from known state: %v", known)
	for call, took := range known {
		if took > 100*time.Millisecond {
			bad = append(bad, call+" of the stuck guest took "+took.String())
		}
	}
	if len(errs) == n {
		bad = append(bad, "no caller was stuck: the test shows nothing")
	}
	ts.Check(syscall.Kill(pid, syscall.SIGCONT))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for i := range n {
		select {
		case err := <-errs:
			if err != nil {
				ts.Logf("a stuck caller got: %v", err)
			}
		case <-ctx.Done():
			ts.Fatalf("only %d of %d callers have an answer a minute after QEMU went on", i, n)
		}
	}
	wg.Wait()
	if len(bad) > 0 {
		ts.Fatalf("%v", bad)
	}
}
