package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// inBox prepares a program in the box.
func inBox(ctx context.Context, ts *testscript.TestScript, arg ...string) *exec.Cmd {
	_, t := tree(ts)
	cmd := t.Box.Command(ctx, arg[0], arg[1:]...)
	cmd.Env = t.Env()
	cmd.Dir = ts.Getenv("WORK")
	return cmd
}

func cmdBox(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("box ARG...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := lab.Finish(inBox(ctx, ts, args...))
	fmt.Fprint(ts.Stdout(), r.Stdout)
	fmt.Fprint(ts.Stderr(), r.Stderr)
	if r.Exit != 0 != neg {
		ts.Fatalf("exit code %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

func cmdBoxUntil(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	_, t := tree(ts)
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var r lab.Result
	if !lab.Await(context.Background(), func() bool {
		r = lab.Finish(inBox(context.Background(), ts, args[1:]...))
		return re.MatchString(r.Stdout)
	}) {
		ts.Fatalf("never matched %s: %s%s\ndaemon:\n%s", args[0], r.Stdout, r.Stderr, t.LogTail(15))
	}
	fmt.Fprint(ts.Stdout(), r.Stdout)
}

func cmdBoxStart(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w, t := tree(ts)
	p, err := t.Box.Start(filepath.Join(t.Dir, "box.log"), t.Env(), args...)
	ts.Check(err)
	w.started = append(w.started, p)
}

func cmdBoxStop(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	w := of(ts)
	for _, p := range w.started {
		_ = p.Signal(syscall.SIGKILL)
		<-p.Done
	}
	w.started = nil
}

func cmdClock(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w := of(ts)
	switch {
	case args[0] == "start":
		w.clock = time.Now()
	case args[0] == "check" && len(args) == 2:
		limit, err := time.ParseDuration(args[1])
		ts.Check(err)
		took := time.Since(w.clock)
		if took > limit {
			ts.Fatalf("it took %v, more than %v", took.Round(time.Millisecond), limit)
		}
		ts.Logf("it took %v", took.Round(time.Millisecond))
	default:
		ts.Fatalf("clock start|check TIME")
	}
}

// cmdHost compares what a tree leaves in its box with what it found.
func cmdHost(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w := of(ts)
	switch args[0] {
	case "save":
		w.found = lookAround(ts)
	case "check":
		var now string
		if !lab.Await(context.Background(), func() bool {
			now = lookAround(ts)
			return now == w.found
		}) {
			ts.Fatalf("the host is not as it was (- before, + now):\n%s", cmp.Diff(w.found, now))
		}
	default:
		ts.Fatalf("host save|check")
	}
}

// volatile is what changes by itself: counters, handles and states of carriers.
var volatile = regexp.MustCompile(`packets \d+ bytes \d+|# handle \d+`)

// lookAround lists links with their addresses, routes, rules and the programs that are no daemons of the tree.
func lookAround(ts *testscript.TestScript) string {
	_, t := tree(ts)
	var all []string
	for _, look := range []string{
		"ip -o addr show | grep -v ' fe80:' | awk '{print $2, $3, $4}'",                       // the kernel's own come and go with carriers
		"ip -o link | awk '{print $2}'", "ip -br link | grep -v '^br' | awk '{print $1, $3}'", // a bridge's address is that of a port "ip route", "nft list ruleset", "tc qdisc show | cut -d' ' -f1-5",
	} {
		r := lab.Finish(inBox(context.Background(), ts, "sh", "-c", look))
		lines := lab.Lines(volatile.ReplaceAllString(r.Stdout, ""))
		if !strings.HasPrefix(look, "nft") {
			slices.Sort(lines)
		}
		all = append(all, "== "+look)
		all = append(all, lines...)
	}
	all = append(all, "== programs")
	var programs []string
	daemons := t.DaemonPIDs()
	for _, pid := range lab.Descendants(t.Box.PID()) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && !slices.Contains(daemons, pid) {
			programs = append(programs, strings.TrimSpace(string(name)))
		}
	}
	slices.Sort(programs)
	return strings.Join(append(all, programs...), "\n") + "\n"
}

var ipv4 = regexp.MustCompile(`ipv4\s+([0-9.]+)/`)

// cmdLease waits until the guest has an address from its network's DHCP server.
func cmdLease(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	_, t := tree(ts)
	var r lab.Result
	deadline := time.Now().Add(time.Minute)
	for {
		r = t.Virsh(context.Background(), "domifaddr", args[1], "--source", "lease")
		if m := ipv4.FindStringSubmatch(r.Stdout); m != nil {
			ts.Setenv(args[0], m[1])
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no lease:\n%s%s\ndaemon:\n%s", args[1], r.Stdout, r.Stderr, t.LogTail(15))
		}
		time.Sleep(100 * time.Millisecond) // dnsmasq tells nobody who is outside
	}
}
