package network

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/actors/internal/await"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideVariable in the environment tells that the tests run in namespaces of their own.
const insideVariable = "VIRTREE_NETWORK_TEST"

// TestMain runs all tests in network, mount and PID namespaces of their own: no bridge, rule or process of a test is ever
// seen by the host, and all of them end with it. The same binary is the lease helper.
func TestMain(m *testing.M) {
	if code, was := LeaseHelper(os.Args, os.Getenv, os.Stdout); was {
		os.Exit(code)
	}
	switch os.Getenv(insideVariable) {
	case "init":
		os.Exit(first())
	case "tests":
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 || slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") && !strings.HasPrefix(a, "-test.fuzzc") }) {
		fmt.Println("only the tests that need no root")
		os.Exit(m.Run())
	}
	cmd := again("init")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the thread that is the parent must live
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// again prepares another run of this binary.
func again(as string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+as)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// first is the first process of the namespaces: it runs the tests and reaps what detaches itself, as init does.
func first() int {
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := again("tests")
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var st syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &st, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 1
		case pid == cmd.Process.Pid:
			return st.ExitStatus()
		}
	}
}

// furnish makes the namespaces fit for the tests.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, fs := range []struct{ typ, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(fs.typ, fs.at, fs.typ, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", fs.typ, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// needsRoot skips a test that needs the namespaces.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getenv(insideVariable) == "" {
		t.Skip("needs root, for namespaces of its own")
	}
}

// shell runs a command line and fails the test when it fails.
func shell(t *testing.T, format string, args ...any) string {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// nothingLeft checks that no bridge, rule or dnsmasq is left.
func nothingLeft(t *testing.T) {
	t.Helper()
	if out := shell(t, "nft list ruleset"); strings.TrimSpace(out) != "" {
		t.Errorf("rules are left: %s", out)
	}
	if out := shell(t, "ip -br link show type bridge"); strings.TrimSpace(out) != "" {
		t.Errorf("bridges are left: %s", out)
	}
	// dnsmasq's helper, which runs the script, goes when it notices that dnsmasq is gone.
	await.Within(t, "no dnsmasq is left", 5*time.Second, func() bool {
		return tryOutput("for f in /proc/[0-9]*; do [ \"$(cat $f/comm)\" = dnsmasq ] && grep State $f/status; done 2>/dev/null | grep -v zombie") == ""
	})
}
