package live

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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

// stopDHCP ends the clients that startDHCP left in the background.
func (k *Kernel) stopDHCP(i *def.Interface) {
	for _, family := range []string{"ipv4", "ipv6"} {
		file := k.pidFile(i.Name, family)
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_ = os.Remove(file)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 1 || !isClient(pid) {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
}

// isClient tells whether a process is one of the clients: its number may be another's by now.
func isClient(pid int) bool {
	comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	for _, c := range clients {
		if strings.TrimSpace(string(comm)) == c.name {
			return true
		}
	}
	return false
}
