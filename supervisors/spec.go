package supervisors

import (
	"fmt"
	"slices"
	"time"
)

// Branch is one driver in the tree: data, from which the processes, the sockets, the systemd units, `virtree tree` and
// the documentation come.
type Branch struct {
	Name      string   // "qemu": the actor is root/qemu
	Daemon    string   // "virtqemud": the process, the sockets and the configuration are named after it
	Needs     []string // branches that are started before it and stopped after it
	Autostart bool     // runs from the start of the tree; others when somebody calls Tree.Wake
	Sockets   Sockets
	// Announces: the branch sends Ready when it serves. Others count as ready when they are spawned.
	Announces bool
	// Vital: the tree cannot do without it. When it fails too often the process ends with ExitFailed, so that the
	// service manager starts all of it again; any other branch is quarantined and the rest goes on.
	Vital    bool
	Restart  Restart       // in one process; zero = BranchRestart
	Process  Restart       // split; zero = ProcessRestart
	Shutdown time.Duration // zero = 10 s
	Startup  time.Duration // how long it may take to be ready; zero = 30 s
}

// Sockets says which of libvirt's sockets a daemon has.
type Sockets uint8

// The kinds of sockets; the read-only one does not exist in a session.
const (
	SocketRW Sockets = 1 << iota
	SocketRO
	SocketAdmin
	SocketIP // TCP and TLS, when configured

	AllUNIX = SocketRW | SocketRO | SocketAdmin
)

// Spec is a whole tree.
type Spec []Branch

// Find returns a branch by its name or by its daemon's.
func (s Spec) Find(name string) (Branch, bool) {
	i := slices.IndexFunc(s, func(b Branch) bool { return b.Name == name || b.Daemon == name })
	if i < 0 {
		return Branch{}, false
	}
	return s[i], true
}

// Only returns the spec of a process that runs one branch. What the branch needs runs elsewhere.
func (s Spec) Only(name string) (Spec, error) {
	b, ok := s.Find(name)
	if !ok {
		return nil, fmt.Errorf("no branch %q", name)
	}
	b.Needs, b.Autostart, b.Vital = nil, true, true // alone in its process: a restart of it is a restart of the process
	return Spec{b}, nil
}

// Without returns the spec less some branches, which are then needed by nobody.
func (s Spec) Without(names ...string) Spec {
	var out Spec
	for _, b := range s {
		if slices.Contains(names, b.Name) {
			continue
		}
		b.Needs = slices.DeleteFunc(slices.Clone(b.Needs), func(n string) bool { return slices.Contains(names, n) })
		out = append(out, b)
	}
	return out
}

// Check finds what is wrong with a spec: names twice, needs that do not exist, a circle.
func (s Spec) Check() error {
	names, daemons := map[string]bool{}, map[string]bool{}
	for _, b := range s {
		if b.Name == "" || names[b.Name] || (b.Daemon != "" && daemons[b.Daemon]) {
			return fmt.Errorf("branch %q (%s): name is empty or taken", b.Name, b.Daemon)
		}
		names[b.Name], daemons[b.Daemon] = true, true
	}
	for _, b := range s {
		for _, n := range b.Needs {
			if !names[n] {
				return fmt.Errorf("branch %q needs %q, which is not in the tree", b.Name, n)
			}
		}
	}
	_, err := s.Order()
	return err
}

// Order returns the names such that each comes after what it needs, and otherwise as written.
func (s Spec) Order() ([]string, error) {
	var order []string
	done := map[string]bool{}
	for len(order) < len(s) {
		before := len(order)
		for _, b := range s {
			if done[b.Name] || slices.ContainsFunc(b.Needs, func(n string) bool { return !done[n] }) {
				continue
			}
			done[b.Name] = true
			order = append(order, b.Name)
		}
		if len(order) == before {
			return nil, fmt.Errorf("branches need each other in a circle")
		}
	}
	return order, nil
}

func (b Branch) withDefaults() Branch {
	if b.Restart == (Restart{}) {
		b.Restart = BranchRestart
	}
	if b.Process == (Restart{}) {
		b.Process = ProcessRestart
	}
	if b.Shutdown == 0 {
		b.Shutdown = 10 * time.Second
	}
	if b.Startup == 0 {
		b.Startup = 30 * time.Second
	}
	return b
}
