package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// monitorOf takes a copy of the socket by which a QEMU talks to us.
func (g *guests) monitorOf(name string) int {
	g.t.Helper()
	pid := g.pid(name)
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		g.t.Fatal(err)
	}
	const connected = "03"
	inodes := map[string]bool{}
	for _, line := range strings.Split(string(table), "\n") {
		if f := strings.Fields(line); len(f) == 8 && f[5] == connected && strings.HasSuffix(f[7], "monitor.sock") {
			inodes["socket:["+f[6]+"]"] = true
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || !inodes[to] {
			continue
		}
		process, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			g.t.Fatal(err)
		}
		defer unix.Close(process)
		var n int
		fmt.Sscan(filepath.Base(l), &n)
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			g.t.Fatal(err)
		}
		return fd
	}
	g.t.Fatal("QEMU has no monitor connected")
	return -1
}

// A guest outlives what its QEMU says that is no QMP, and is managed again at once.
func TestGarbageOnTheMonitorCostsNoGuest(t *testing.T) {
	g := newGuests(t)
	dom := g.create("noisy", "")
	pid := g.pid("noisy")
	for range 3 {
		fd := g.monitorOf("noisy")
		if _, err := unix.Write(fd, []byte("{\"return\": [[[ \x01\x02 no JSON \"at\" all }\r\n")); err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		g.event(virt.DomainEventIDControlError)
		await.True(t, "the monitor answers again", func() bool {
			ret, err := branchtest.Do(g.c, protocol.DomainGetControlInfo, &protocol.DomainGetControlInfoArgs{Dom: dom})
			return err == nil && ret.State == virt.DomainControlOk
		})
		if _, err := branchtest.Do(g.c, protocol.DomainSuspend, &protocol.DomainSuspendArgs{Dom: dom}); err != nil {
			t.Fatal(err)
		}
		if _, err := branchtest.Do(g.c, protocol.DomainResume, &protocol.DomainResumeArgs{Dom: dom}); err != nil {
			t.Fatal(err)
		}
	}
	if now := g.pid("noisy"); now != pid {
		t.Errorf("process %d, was %d", now, pid)
	}
}
