package live

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"virtree/actors/iface/def"
)

// dhcpPatience is how long a client may take to get an address. It is then an error, and the client is stopped.
const dhcpPatience = 20 * time.Second

// clients are the DHCP clients we know, best first: what they need to get an address of a family and stay in the background.
var clients = []struct {
	name string
	args func(family, pid, name string) []string // nil: not for this family
}{
	{"dhclient", func(family, pid, name string) []string {
		return []string{map[string]string{"ipv4": "-4", "ipv6": "-6"}[family], "-1", "-q", "-pf", pid, "-lf", strings.TrimSuffix(pid, ".pid") + ".leases", name}
	}},
	{"udhcpc", func(family, pid, name string) []string {
		if family == "ipv6" {
			return nil
		}
		return []string{"-n", "-p", pid, "-i", name}
	}},
}

func (k *Kernel) pidFile(name, family string) string {
	return filepath.Join(k.Run, name+"."+family+".pid")
}

// startDHCP runs a client until it has an address.
func (k *Kernel) startDHCP(ctx context.Context, name string, p def.Protocol) error {
	if err := os.MkdirAll(k.Run, 0o700); err != nil {
		return err
	}
	for _, c := range clients {
		args := c.args(p.Family, k.pidFile(name, p.Family), name)
		if _, err := exec.LookPath(c.name); err != nil || args == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, dhcpPatience)
		defer cancel()
		return run(ctx, c.name, args...)
	}
	return errors.New("failed to execute external program - there is no DHCP client for " + p.Family + " on this host")
}

// stopDHCP ends the clients that startDHCP left in the background. It knows them by their arguments: what a client's file
// of its process id says may be the number of a process that has forked and gone.
func (k *Kernel) stopDHCP(i *def.Interface) {
	for _, family := range []string{"ipv4", "ipv6"} {
		file := k.pidFile(i.Name, family)
		for _, pid := range clientsWith(file) {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		tick := time.NewTicker(stopPause)
		for end := time.Now().Add(stopPatience); len(clientsWith(file)) > 0 && time.Now().Before(end); <-tick.C {
		}
		tick.Stop()
		for _, pid := range clientsWith(file) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.Remove(file)
		_ = os.Remove(strings.TrimSuffix(file, ".pid") + ".leases")
	}
}

// How long a client may take to end, and the time between two looks.
const (
	stopPatience = 2 * time.Second
	stopPause    = 10 * time.Millisecond
)

// clientsWith lists the DHCP clients that have a file of process ids among their arguments.
func clientsWith(file string) (pids []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range list {
		text, err := os.ReadFile(name)
		args := strings.Split(string(text), "\x00")
		if err != nil || !slices.Contains(args, file) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
