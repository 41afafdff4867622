// Package nettest runs a package's tests in network and mount namespaces of their own: no link or rule of a test is ever seen
// by the host, and all of them end with the tests.
package nettest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideVariable in the environment tells that the tests run in namespaces of their own.
const insideVariable = "VIRTREE_NET_TEST"

// Main is for TestMain. Without root, and when fuzzing, the tests run as they are, and those that Need the namespaces are
// skipped. It does not return.
func Main(m *testing.M) {
	if Inside() {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 || slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz=") || a == "-test.fuzzworker" }) {
		fmt.Println("only the tests that need no root")
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the thread that is the parent must live
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Inside tells whether the tests run in the namespaces.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Need skips a test that is not in the namespaces.
func Need(t testing.TB) {
	t.Helper()
	if !Inside() {
		t.Skip("needs root, for namespaces of its own")
	}
}

// furnish makes the namespaces fit for tests: their own sysfs, the loopback link up, and no IPv6 on others, so that links
// speak only when the test does.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	for _, scope := range []string{"default", "all"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
