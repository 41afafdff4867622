package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// boxVariable in the environment makes a process a box; its value is the config.
const boxVariable = "VIRTREE_LAB_BOX"

// Enter turns this process into a box if it was started as one, and does not
// return then. It belongs first in TestMain or main.
func Enter() {
	text := os.Getenv(boxVariable)
	if text == "" {
		return
	}
	os.Unsetenv(boxVariable)
	var cfg BoxConfig
	out := &reporter{enc: json.NewEncoder(os.Stdout)}
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = furnish(cfg)
	}
	if err != nil {
		out.send(report{Err: err.Error()})
		os.Exit(1)
	}
	out.send(report{Ready: true})
	obey(out)
	bury()
	os.Exit(0)
}

// furnish makes the namespaces fit for a daemon.
func furnish(cfg BoxConfig) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	for inside, outside := range cfg.Binds {
		if err := errors.Join(os.MkdirAll(inside, 0o755), os.MkdirAll(outside, 0o755)); err != nil {
			return err
		}
		if err := unix.Mount(outside, inside, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", outside, inside, err)
		}
	}
	if err := ownSysfs(); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// ownSysfs shows the box's own links below /sys/class/net, which belongs to the network namespace of whoever mounted
// it. The control groups stay where they are.
func ownSysfs() error {
	const groups = "/sys/fs/cgroup"
	kept, err := unix.OpenTree(unix.AT_FDCWD, groups, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("hold %s: %w", groups, err)
	}
	defer unix.Close(kept)
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if err := unix.MoveMount(kept, "", unix.AT_FDCWD, groups, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("put back %s: %w", groups, err)
	}
	return nil
}

// reporter serializes the lines of the order loop and of the reaper.
type reporter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (r *reporter) send(v report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enc.Encode(v)
}

// obey runs programs by order and reaps all children until the opener closes.
func obey(out *reporter) {
	// Held while a program starts, so that its end cannot be reported before it.
	var starting sync.Mutex
	go func() {
		child := make(chan os.Signal, 1)
		signal.Notify(child, syscall.SIGCHLD)
		for range child {
			for {
				var st syscall.WaitStatus
				pid, err := syscall.Wait4(-1, &st, syscall.WNOHANG, nil)
				if err == syscall.EINTR {
					continue
				}
				if pid <= 0 {
					break
				}
				starting.Lock()
				out.send(report{Ended: pid, Status: int(st)})
				starting.Unlock()
			}
		}
	}()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			continue
		}
		starting.Lock()
		pid, err := launch(o)
		r := report{Serial: o.Serial, PID: pid}
		if err != nil {
			r.Err = err.Error()
		}
		out.send(r)
		starting.Unlock()
	}
}

func launch(o order) (int, error) {
	if len(o.Argv) == 0 {
		return 0, errors.New("no program named")
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	path, err := exec.LookPath(o.Argv[0])
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, o.Argv, &syscall.ProcAttr{
		Env:   append(os.Environ(), o.Env...),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// bury kills every descendant. Killing a parent hands us its children, so it goes
// on until there are none.
func bury() {
	for {
		for _, pid := range Descendants(os.Getpid()) {
			syscall.Kill(pid, syscall.SIGCONT)
			syscall.Kill(pid, syscall.SIGKILL)
		}
		var st syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &st, 0, nil); err == syscall.ECHILD {
			return
		}
	}
}

// Descendants lists the living processes below root. A process may be a zombie and
// still have children: they stay its own until its last thread has ended.
func Descendants(root int) []int {
	children, dead := map[int][]int{}, map[int]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The command in parentheses may hold spaces; what follows the last one is regular.
		_, rest, ok := cutLast(string(text), ") ")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 {
			continue
		}
		ppid, _ := strconv.Atoi(f[1])
		dead[pid] = f[0] == "Z"
		children[ppid] = append(children[ppid], pid)
	}
	var all []int
	for next := children[root]; len(next) > 0; {
		pid := next[0]
		next = append(next[1:], children[pid]...)
		if !dead[pid] {
			all = append(all, pid)
		}
	}
	return all
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
