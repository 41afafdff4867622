package node

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is the host, or a recording of one.
type Node struct {
	// Root is where proc and sys lie; "" is the real host.
	Root string
}

// Host is this host.
func Host() Node { return Node{} }

func (n Node) path(p string) string { return filepath.Join("/", n.Root, p) }

// text reads a small file without its last newline; "" when it cannot be read.
func (n Node) text(p string) string {
	b, err := os.ReadFile(n.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n")
}

func (n Node) number(p string, otherwise int) int {
	if v, err := strconv.Atoi(strings.TrimSpace(n.text(p))); err == nil {
		return v
	}
	return otherwise
}

func (n Node) exists(p string) bool {
	_, err := os.Stat(n.path(p))
	return err == nil
}

// numbered lists the numbers N for which dir has an entry named prefix+N, ascending.
func (n Node) numbered(dir, prefix string) []int {
	entries, err := os.ReadDir(n.path(dir))
	if err != nil {
		return nil
	}
	var list []int
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if v, err := strconv.Atoi(rest); err == nil && v >= 0 {
				list = append(list, v)
			}
		}
	}
	slices.Sort(list)
	return list
}

// maxListed bounds a list of CPUs or nodes: more than any kernel can be built for.
const maxListed = 1 << 16

// ParseList reads the kernel's form of a set, "0-3,8".
func ParseList(s string) []int {
	var list []int
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		if err != nil || a < 0 {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for v := a; v <= b && v < maxListed; v++ {
			list = append(list, v)
		}
	}
	return list
}

// FormatList is the inverse of ParseList; the list must ascend.
func FormatList(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(list[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(list[j]))
		}
		i = j + 1
	}
	return b.String()
}

// Hostname is the name of the host as virConnectGetHostname gives it: the kernel's, which libvirt completes to the full
// name when the resolver knows one; resolve does that and may be nil.
func (n Node) Hostname(resolve func(string) string) string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if resolve != nil && !strings.Contains(name, ".") && !strings.HasPrefix(name, "localhost") {
		if full := resolve(name); full != "" && !strings.HasPrefix(full, "localhost") {
			return full
		}
	}
	return name
}

// Machine is the kernel's name of the architecture ("x86_64").
func Machine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// KernelVersion names the running kernel, release and build.
func (n Node) KernelVersion() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Version[:])
}
