package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
)

// cgroup is a guest's group in the kernel's hierarchies, old and new, in libvirt's layout for hosts whose
// groups nobody else manages: /machine/qemu-ID-NAME.libvirt-qemu in each.
type cgroup struct {
	old map[string]string // mount of each controller of the first version
	new string            // mount of the second version; "" where there is none
	has map[string]bool   // controllers of the second version
	rel string
	pid int // of the guest; its own view of its groups decides whether it has been placed
}

// groupControllers are the ones a guest is placed in.
var groupControllers = []string{"cpu", "cpuset", "memory", "blkio", "freezer"}

// newGroup names the group of a guest. The daemons below another root, of which a host may run several,
// each have names of their own.
func newGroup(short, root string, pid int) group {
	old, unified := groupMounts("/proc/self/mountinfo")
	if root != "" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(root))
		short += fmt.Sprintf("-%08x", h.Sum32())
	}
	g := &cgroup{old: old, new: unified, has: map[string]bool{}, rel: "/machine/qemu-" + short + ".libvirt-qemu", pid: pid}
	if unified != "" {
		b, _ := os.ReadFile(unified + "/cgroup.controllers")
		for _, c := range strings.Fields(string(b)) {
			if c == "io" {
				c = "blkio"
			}
			g.has[c] = true
		}
	}
	return g
}

// groupMounts finds where the hierarchies are mounted.
func groupMounts(mountinfo string) (old map[string]string, unified string) {
	old = map[string]string{}
	f, err := os.Open(mountinfo)
	if err != nil {
		return old, ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup2":
			unified = l[4]
		case "cgroup":
			for _, o := range strings.Split(r[2], ",") {
				old[o] = l[4]
			}
		}
	}
	return old, unified
}

// dir is the folder of a part in a controller's hierarchy.
func (g *cgroup) dir(controller, part string) (dir string, second, ok bool) {
	if m := g.old[controller]; m != "" {
		return filepath.Join(m, g.rel, part), false, true
	}
	if g.new != "" && g.has[controller] {
		return filepath.Join(g.new, g.rel, part), true, true
	}
	return "", false, false
}

func (g *cgroup) exists() bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(g.pid) + "/cgroup")
	return err == nil && strings.Contains(string(b), ":"+g.rel)
}

func readGroup(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

func writeGroup(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		if errno == unix.EINVAL {
			return liberr.System(liberr.FromCgroup, errno, "Invalid value '%s' for '%s'", value, filepath.Base(path))
		}
		return liberr.System(liberr.FromCgroup, errno, "Unable to write to '%s'", path)
	}
	return nil
}

// place makes the group and moves the guest into it.
func (g *cgroup) place(pid int, parts map[string]int) error {
	placed := false
	hierarchies := map[string]string{} // folder of the group, by controller; the second version once
	for _, c := range groupControllers {
		if dir, second, ok := g.dir(c, ""); ok && !second {
			hierarchies[c] = dir
		}
	}
	if g.new != "" {
		hierarchies[""] = filepath.Join(g.new, g.rel)
	}
	for c, dir := range hierarchies {
		if err := g.placeIn(c, dir, pid, parts); err != nil {
			if c == "" && len(g.has) == 0 {
				continue // nothing but counting hangs on it
			}
			return err
		}
		placed = true
	}
	if !placed {
		return noController("CPU")
	}
	return nil
}

func (g *cgroup) placeIn(controller, dir string, pid int, parts map[string]int) error {
	threads := controller == "cpu" || controller == "cpuset" || controller == ""
	dirs := []string{filepath.Dir(dir), dir}
	if threads {
		dirs = append(dirs, dir+"/emulator")
		for p := range parts {
			dirs = append(dirs, dir+"/"+p)
		}
	}
	for i, d := range dirs {
		if err := g.part(controller, d, i >= 2); err != nil {
			return err
		}
	}
	if err := writeGroup(dir+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
		return err
	}
	if !threads {
		return nil
	}
	return g.spread(controller, dir, pid, parts)
}

// part makes one folder, ready to take in processes, or threads alone.
func (g *cgroup) part(controller, dir string, threads bool) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return liberr.System(liberr.FromCgroup, errors.Unwrap(err), "Failed to create controller %s for group", controller)
	}
	switch {
	case controller == "cpuset":
		for _, f := range []string{"/cpuset.cpus", "/cpuset.mems"} {
			if v, err := readGroup(dir + f); err == nil && v == "" {
				if up, err := readGroup(filepath.Dir(dir) + f); err == nil {
					_ = writeGroup(dir+f, up)
				}
			}
		}
	case controller == "" && threads:
		_ = writeGroup(dir+"/cgroup.type", "threaded")
	case controller == "":
		g.delegate(filepath.Dir(dir))
	}
	return nil
}

// spread moves the threads into the folders of their parts.
func (g *cgroup) spread(controller, dir string, pid int, parts map[string]int) error {
	file := "/tasks"
	if controller == "" {
		file = "/cgroup.threads"
	}
	part := map[int]string{}
	for p, tid := range parts {
		part[tid] = p
	}
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return liberr.System(liberr.FromCgroup, errors.Unwrap(err), "cannot list the threads of process %d", pid)
	}
	for _, t := range tasks {
		tid, _ := strconv.Atoi(t.Name())
		p, ok := part[tid]
		if !ok {
			p = "emulator"
		}
		if err := writeGroup(dir+"/"+p+file, t.Name()); err != nil && disk.Exists("/proc/"+strconv.Itoa(pid)+"/task/"+t.Name()) {
			return err
		}
	}
	return nil
}

// add gives a thread that is new a part of its own.
func (g *cgroup) add(part string, tid int) error {
	if !g.exists() {
		return nil
	}
	dirs := map[string]string{}
	for _, c := range []string{"cpu", "cpuset"} {
		if dir, second, ok := g.dir(c, ""); ok && !second {
			dirs[c] = dir
		}
	}
	if g.new != "" {
		dirs[""] = filepath.Join(g.new, g.rel)
	}
	for c, dir := range dirs {
		if err := g.part(c, dir+"/"+part, true); err != nil {
			return err
		}
		file := "/tasks"
		if c == "" {
			file = "/cgroup.threads"
		}
		if err := writeGroup(dir+"/"+part+file, strconv.Itoa(tid)); err != nil && (c != "" || len(g.has) > 0) {
			return err
		}
	}
	return nil
}

// delegate lets the folders below use the controllers of the second version.
func (g *cgroup) delegate(dir string) {
	for c := range g.has {
		if c == "blkio" {
			c = "io"
		}
		_ = writeGroup(dir+"/cgroup.subtree_control", "+"+c)
	}
}

// remove takes the group's folders away, innermost first.
func (g *cgroup) remove() error {
	mounts := map[string]bool{g.new: g.new != ""}
	for _, c := range groupControllers {
		if m := g.old[c]; m != "" {
			mounts[m] = true
		}
	}
	var failed error
	for m := range mounts {
		if m == "" {
			continue
		}
		top := filepath.Join(m, g.rel)
		subs, _ := os.ReadDir(top)
		for _, s := range subs {
			if s.IsDir() {
				failed = errors.Join(failed, os.Remove(filepath.Join(top, s.Name())))
			}
		}
		if err := os.Remove(top); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// perCPU: the kernel counts by CPU in the first version only.
func (g *cgroup) perCPU() ([]uint64, error) {
	if g.new != "" {
		return nil, liberr.New(liberr.FromCgroup, liberr.OperationUnsupported, "operation 'getCpuacctPercpuUsage' not supported for backend 'cgroup V2'")
	}
	dir, _, ok := g.dir("cpuacct", "")
	if !ok || !disk.Exists(dir) {
		return nil, noController("CPUACCT")
	}
	text, err := readGroup(dir + "/cpuacct.usage_percpu")
	if err != nil {
		return nil, liberr.System(liberr.FromCgroup, errors.Unwrap(err), "Unable to read from '%s'", dir+"/cpuacct.usage_percpu")
	}
	var out []uint64
	for _, s := range strings.Fields(text) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("unexpected time '%s' in a control group", s)
		}
		out = append(out, n)
	}
	return out, nil
}
