package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// world is the state of one script.
type world struct {
	kind    lab.Kind
	target  *lab.Target
	watches map[string]*watch
	pids    map[string]int // QEMU processes saved by name
	daemons map[string]int // branch processes killed by name
	churn   *churn
	capture *capture
	before  map[string]time.Duration
	started []*lab.Proc // by box-start
	clock   time.Time
	found   string // the box's links, rules and programs when the script looked
}

type worldKey struct{}

func setup(env *testscript.Env, kind lab.Kind) error {
	w := &world{kind: kind, watches: map[string]*watch{}, pids: map[string]int{}, daemons: map[string]int{}, before: map[string]time.Duration{}}
	env.Values[worldKey{}] = w
	env.Setenv("KIND", string(kind))
	env.Setenv("LC_ALL", "C.UTF-8")
	env.Setenv("PATH", filepath.Dir(lab.Binary())+":"+os.Getenv("PATH"))
	env.Defer(w.close)
	return nil
}

func (w *world) close() {
	for _, b := range w.watches {
		b.end()
	}
	if w.churn != nil {
		w.churn.stop()
	}
	if w.capture != nil {
		w.capture.close()
	}
	if w.target != nil {
		w.target.Close()
	}
}

func of(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// tree returns the running target.
func tree(ts *testscript.TestScript) (*world, *lab.Target) {
	w := of(ts)
	if w.target == nil {
		ts.Fatalf("no tree yet: the script must say tree first")
	}
	return w, w.target
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"tree":       cmdTree,
	"tree-stop":  cmdTreeStop,
	"tree-start": cmdTreeStart,
	"tree-kill":  cmdTreeKill,
	"tree-back":  cmdTreeBack,
	"tree-swap":  cmdTreeSwap,
	"virsh":      cmdVirsh,
	"until":      cmdUntil,
	"domain":     cmdDomain,
	"console":    cmdConsole,
	"watch":      cmdWatch,
	"seen":       cmdSeen,
	"unseen":     cmdUnseen,
	"unwatch":    cmdUnwatch,
	"qemu":       cmdQEMU,
	"python":     cmdPython,
	"golibvirt":  cmdGoLibvirt,
	"churn":      cmdChurn,
	"stuck":      cmdStuck,
	"latency":    cmdLatency,
	"fault":      cmdFault,
	"soak":       cmdSoak,
	"capture":    cmdCapture,
	"box":        cmdBox,
	"box-until":  cmdBoxUntil,
	"box-start":  cmdBoxStart,
	"box-stop":   cmdBoxStop,
	"clock":      cmdClock,
	"host":       cmdHost,
	"lease":      cmdLease,
}

func noNeg(ts *testscript.TestScript, neg bool, args []string, n int) {
	if neg {
		ts.Fatalf("unsupported: !")
	}
	if len(args) < n {
		ts.Fatalf("needs %d arguments", n)
	}
}

func cmdTree(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	w := of(ts)
	if w.kind == lab.Reference {
		args = nil
	}
	var err error
	w.target, err = lab.Open(context.Background(), w.kind, lab.Options{Args: args, Exchange: true})
	ts.Check(err)
	ts.Setenv("URI", w.target.URI())
	ts.Setenv("ROURI", w.target.ReadOnlyURI())
	ts.Setenv("ROOT", w.target.Dir)
}

// cmdTreeSwap puts Debian's libvirtd in the tree's place, or the tree in libvirtd's.
func cmdTreeSwap(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	w, t := tree(ts)
	kind := lab.Reference
	if t.Kind == kind {
		kind = w.kind
	}
	ts.Check(t.Swap(context.Background(), kind))
}

func cmdTreeStop(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	_, t := tree(ts)
	ts.Check(t.Stop(context.Background()))
	if left := t.DaemonPIDs(); len(left) > 0 {
		ts.Fatalf("the tree ended, its processes %v did not", left)
	}
}

func cmdTreeStart(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	_, t := tree(ts)
	ts.Check(t.Start(context.Background()))
}

func cmdTreeKill(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	w, t := tree(ts)
	if len(args) == 0 {
		for _, pid := range append([]int{t.Main.PID}, t.DaemonPIDs()...) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		<-t.Main.Done
		if !lab.Await(context.Background(), func() bool { return len(t.DaemonPIDs()) == 0 }) {
			ts.Fatalf("processes survive SIGKILL: %v", t.DaemonPIDs())
		}
		return
	}
	pid, err := t.Branch(args[0])
	ts.Check(err)
	w.daemons[args[0]] = pid
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	ts.Logf("killed %s, process %d", args[0], pid)
}

func cmdTreeBack(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	w, t := tree(ts)
	limit, err := time.ParseDuration(args[1])
	ts.Check(err)
	begin := time.Now()
	var pid int
	ok := lab.Await(context.Background(), func() bool {
		pid, err = t.Branch(args[0])
		return err == nil && pid != w.daemons[args[0]]
	})
	took := time.Since(begin)
	if !ok || took > limit {
		ts.Fatalf("%s is not back within %v (%v): %v\n%s", args[0], limit, took, err, t.LogTail(20))
	}
	ts.Logf("%s is back as process %d after %v", args[0], pid, took.Round(time.Millisecond))
}

func cmdVirsh(ts *testscript.TestScript, neg bool, args []string) {
	_, t := tree(ts)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"-c", t.URI()}, args...)...)
	cmd.Env = t.Env()
	cmd.Dir = ts.Getenv("WORK")
	r := lab.Finish(cmd)
	fmt.Fprint(ts.Stdout(), r.Stdout)
	fmt.Fprint(ts.Stderr(), r.Stderr)
	if r.Exit != 0 != neg {
		ts.Fatalf("exit code %d after %v\n%s%s\ndaemon:\n%s", r.Exit, r.Took, r.Stdout, r.Stderr, t.LogTail(15))
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 3)
	_, t := tree(ts)
	run := func() lab.Result { return t.Virsh(context.Background(), args[2:]...) }
	switch args[1] {
	case "virsh":
	case "virtree":
		run = func() lab.Result {
			return t.Run(context.Background(), lab.Binary(), append(args[2:len(args):len(args)], "--root", t.Dir)...)
		}
	default:
		ts.Fatalf("until REGEX virsh|virtree ARG...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var r lab.Result
	if !lab.Await(context.Background(), func() bool {
		r = run()
		return re.MatchString(r.Stdout)
	}) {
		ts.Fatalf("never matched %s: %s%s\ndaemon:\n%s", args[0], r.Stdout, r.Stderr, t.LogTail(15))
	}
	fmt.Fprint(ts.Stdout(), r.Stdout)
}

func cmdDomain(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	name := args[0]
	extra := ""
	if data, err := os.ReadFile(ts.MkAbs(name + ".devices")); err == nil {
		extra = strings.ReplaceAll(string(data), "$ROOT", ts.Getenv("ROOT"))
	}
	var xml string
	switch args[1] {
	case "bare":
		xml = lab.BareXML(name, extra)
	case "boot":
		image, err := lab.Guest()
		ts.Check(err)
		xml = image.GuestXML(name, extra)
		for name, value := range map[string]string{"KERNEL": image.Kernel, "INITRD": image.Initrd, "CMDLINE": image.Cmdline, "DOMTYPE": image.DomainType} {
			ts.Setenv(name, value)
		}
	default:
		ts.Fatalf("domain NAME bare|boot")
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".xml"), []byte(xml), 0o644))
}

func cmdQEMU(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	w, t := tree(ts)
	switch args[1] {
	case "save":
		pid, err := t.QEMU(args[0])
		ts.Check(err)
		w.pids[args[0]] = pid
	case "same":
		pid, err := t.QEMU(args[0])
		ts.Check(err)
		if pid != w.pids[args[0]] {
			ts.Fatalf("%s runs in process %d, it was %d", args[0], pid, w.pids[args[0]])
		}
	case "gone":
		if !lab.Await(context.Background(), func() bool {
			_, err := t.QEMU(args[0])
			return err != nil
		}) {
			ts.Fatalf("QEMU of %s is still there", args[0])
		}
	case "freeze", "kill":
		pid, err := t.QEMU(args[0])
		ts.Check(err)
		ts.Check(syscall.Kill(pid, map[string]syscall.Signal{"freeze": syscall.SIGSTOP, "kill": syscall.SIGKILL}[args[1]]))
	default:
		ts.Fatalf("qemu NAME save|same|gone|freeze|kill")
	}
}

func cmdPython(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	python, err := lab.Python()
	if err != nil {
		ts.Fatalf("%v", err)
	}
	_, t := tree(ts)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Env = t.Env()
	cmd.Dir = ts.Getenv("WORK")
	r := lab.Finish(cmd)
	fmt.Fprint(ts.Stdout(), r.Stdout)
	fmt.Fprint(ts.Stderr(), r.Stderr)
	if r.Exit != 0 {
		ts.Fatalf("exit code %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	_, t := tree(ts)
	r := t.Run(context.Background(), lab.Binary(), append([]string{"fault", "--root", t.Dir}, args...)...)
	fmt.Fprint(ts.Stdout(), r.Stdout)
	fmt.Fprint(ts.Stderr(), r.Stderr)
	if r.Exit != 0 {
		ts.Fatalf("virtree fault: exit code %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}
