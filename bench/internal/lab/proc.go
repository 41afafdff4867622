package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process, or several together, hold at one moment.
type Usage struct {
	RSS, PSS, Private int64 // KiB
	FDs, Threads      int
	Processes         int
}

// UsageOf adds up the given processes; one that has ended counts nothing.
func UsageOf(pids ...int) Usage {
	var u Usage
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		text, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			continue
		}
		u.Processes++
		for _, line := range strings.Split(string(text), "\n") {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				u.RSS += n
			case "Pss:":
				u.PSS += n
			case "Private_Clean:", "Private_Dirty:":
				u.Private += n
			}
		}
		fds, _ := os.ReadDir(dir + "/fd")
		u.FDs += len(fds)
		threads, _ := os.ReadDir(dir + "/task")
		u.Threads += len(threads)
	}
	return u
}

// String is one line for a log.
func (u Usage) String() string {
	return fmt.Sprintf("%d processes, RSS %d KiB, PSS %d KiB, %d descriptors, %d threads",
		u.Processes, u.RSS, u.PSS, u.FDs, u.Threads)
}

// DaemonPIDs lists the target's daemons: everything in the box that is the daemon's
// own program, and so no QEMU and no helper.
func (t *Target) DaemonPIDs() []int {
	want := Binary()
	if real, err := filepath.EvalSymlinks(want); err == nil {
		want = real
	}
	var pids []int
	for _, pid := range Descendants(t.Box.PID()) {
		exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		if err != nil {
			continue
		}
		exe = strings.TrimSuffix(exe, " (deleted)")
		if args := CommandLine(pid); len(args) > 1 && args[1] == "bench" {
			continue // a helper of a benchmark that is the daemon's program too
		}
		if base := filepath.Base(exe); exe == want || t.Kind == Reference && base == "libvirtd" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Branch finds a branch's process in split mode by the name of its daemon
// ("virtqemud"), which is its argv[0] or stands among its first arguments.
func (t *Target) Branch(daemon string) (int, error) {
	for _, pid := range t.DaemonPIDs() {
		args := CommandLine(pid)
		for i, a := range args {
			if i < 4 && filepath.Base(a) == daemon {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("no process of %s below %s", daemon, t.Dir)
}

// CommandLine is a process's argv.
func CommandLine(pid int) []string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

// QEMU finds the process of a running guest by its -name argument.
func (t *Target) QEMU(domain string) (int, error) {
	for _, pid := range Descendants(t.Box.PID()) {
		args := CommandLine(pid)
		for i, a := range args {
			if a == "-name" && i+1 < len(args) {
				name, _, _ := strings.Cut(strings.TrimPrefix(args[i+1], "guest="), ",")
				if name == domain {
					return pid, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("no QEMU of domain %s in the box of %s", domain, t.Kind)
}

// Alive says whether a process exists and is no zombie.
func Alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := cutLast(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// CPU is the processor time that the target's daemons have used so far, of those that run now.
func (t *Target) CPU() time.Duration {
	var ticks int64
	for _, pid := range t.DaemonPIDs() {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		_, rest, _ := cutLast(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			ticks += user + system
		}
	}
	return time.Duration(ticks) * (time.Second / 100)
}
