package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

const (
	networks = 200
	rounds   = 15
	// listLimit is what a list of all networks may take.
	listLimit = 100 * time.Millisecond
	// slack is how much worse than libvirtd the median of paired measurements may be before it is said to be slower: the
	// machine is shared.
	slack = 1.0
)

// host is one daemon and a connection to it.
type host struct {
	*lab.Target
	c   *rpc.Client
	ctx context.Context
}

func open(t *testing.T, kind lab.Kind) *host {
	t.Helper()
	if why := lab.Missing(kind); why != "" {
		t.Skip(why)
	}
	target, err := lab.Open(t.Context(), kind, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	c, err := rpc.Dial(t.Context(), "unix", target.Socket("libvirt-sock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Connect(t.Context(), "qemu:///system", false); err != nil {
		t.Fatal(err)
	}
	return &host{target, c, t.Context()}
}

func (h *host) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", h.Kind, err)
	}
}

func (h *host) define(t *testing.T, doc string) protocol.Network {
	t.Helper()
	ret, err := rpc.Do(h.ctx, h.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: doc})
	h.must(t, err)
	return ret.Net
}

const natDoc = "<network><name>%s</name><forward mode='nat'/><bridge name='%s'/><ip address='10.%d.%d.1' prefix='24'>" +
	"<dhcp><range start='10.%d.%d.2' end='10.%d.%d.254'/></dhcp></ip></network>"

func nat(i int) string {
	a, b := 100+i/250, i%250
	return fmt.Sprintf(natDoc, fmt.Sprintf("net%03d", i), fmt.Sprintf("nb%d", i), a, b, a, b, a, b)
}

// Many networks are listed at once, and no slower than by libvirtd.
func TestManyNetworksAreListed(t *testing.T) {
	reference := open(t, lab.Reference)
	list := func(h *host) func() time.Duration {
		return func() time.Duration {
			return lab.Took(func() {
				ret, err := rpc.Do(h.ctx, h.c, protocol.ConnectListAllNetworks, &protocol.ConnectListAllNetworksArgs{NeedResults: 1})
				h.must(t, err)
				if len(ret.Nets) != networks {
					t.Errorf("%s lists %d networks", h.Kind, len(ret.Nets))
				}
			})
		}
	}
	define := func(h *host) time.Duration {
		return lab.Took(func() {
			for i := range networks {
				h.define(t, nat(i))
			}
		})
	}
	theirs := define(reference)
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		h := open(t, kind)
		ours := define(h)
		ratio, a, b := lab.Paired(rounds, list(h), list(reference))
		t.Logf("%s: %d networks defined in %v (libvirtd %v, ratio %.2f), listed in %v (libvirtd %v, ratio %.2f)", kind, networks, ours, theirs, float64(ours)/float64(theirs), a, b, ratio)
		if a > listLimit {
			t.Errorf("%s: a list of %d networks takes %v, promised are %v", kind, networks, a, listLimit)
		}
		if kind == lab.Single && ratio > slack {
			t.Errorf("%s: a list takes %.2f times as long as libvirtd's", kind, ratio)
		}
	}
}

// A NAT network with DHCP starts no slower than libvirtd's, and leaves nothing when it stops.
func TestStartOfANATNetwork(t *testing.T) {
	reference := open(t, lab.Reference)
	start := func(h *host) func() time.Duration {
		n := h.define(t, nat(0))
		return func() time.Duration {
			d := lab.Took(func() {
				_, err := rpc.Do(h.ctx, h.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n})
				h.must(t, err)
			})
			_, err := rpc.Do(h.ctx, h.c, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{Net: n})
			h.must(t, err)
			return d
		}
	}
	theirs := start(reference)
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		h := open(t, kind)
		before := h.traces(t)
		ratio, a, b := lab.Paired(rounds, start(h), theirs)
		t.Logf("%s: start of a NAT network %v (libvirtd %v, ratio %.2f)", kind, a, b, ratio)
		if ratio > slack {
			t.Errorf("%s: the start takes %.2f times as long as libvirtd's", kind, ratio)
		}
		if after := h.traces(t); after != before {
			t.Errorf("%s: traces of the network are left:\n%s\nwere\n%s", kind, after, before)
		}
	}
}

// Whenever the network daemon dies, its networks are wholly there or not at all when it is back, and a stop leaves nothing.
func TestKilledInTheMiddle(t *testing.T) {
	// A tree starts a daemon that keeps dying again with growing delays: four deaths each.
	for _, what := range []string{"start", "stop"} {
		for first := range 2 {
			t.Run(fmt.Sprintf("%s_%d", what, first), func(t *testing.T) { killInTheMiddle(t, what, first) })
		}
	}
}

func killInTheMiddle(t *testing.T, what string, first int) {
	h := open(t, lab.Split)
	n := h.define(t, nat(3))
	before := h.traces(t)
	do := func(p *protocol.Procedure) error {
		return h.c.Call(h.ctx, p, &protocol.NetworkCreateArgs{Net: n}, &protocol.Void{})
	}
	start, stop := protocol.NetworkCreate.Procedure, protocol.NetworkDestroy.Procedure
	for i := range 4 {
		if what == "stop" {
			h.must(t, do(start))
		}
		pid, err := h.Branch("virtnetworkd")
		h.must(t, err)
		delay := time.Duration(2*i+first) * 6 * time.Millisecond // each a little later than the one before
		time.AfterFunc(delay, func() { syscall.Kill(pid, syscall.SIGKILL) })
		p := start
		if what == "stop" {
			p = stop
		}
		answered := do(p) == nil
		active := false
		back := lab.Await(h.ctx, func() bool { return !lab.Alive(pid) }) && lab.Await(h.ctx, func() bool {
			ret, err := rpc.Do(h.ctx, h.c, protocol.NetworkIsActive, &protocol.NetworkIsActiveArgs{Net: n})
			if err == nil {
				active = ret.Active == 1
			}
			return err == nil
		})
		if !back {
			t.Fatalf("the daemon is not back %v behind the begin of a %s", delay, what)
		}
		t.Logf("killed after %v: answered %v, active %v", delay, answered, active)
		if answered && active != (what == "start") {
			t.Errorf("a %s was acknowledged and is lost", what)
		}
		if active {
			h.must(t, do(stop))
		}
		if after := h.traces(t); after != before {
			t.Errorf("cut off %v behind the begin of a %s, traces are left:\n%s\nwere\n%s", delay, what, after, before)
		}
	}
}

// traces is all that a network leaves in the kernel and below the root while it runs.
func (h *host) traces(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, argv := range [][]string{{"ip", "-br", "link"}, {"ip", "route"}, {"nft", "list", "ruleset"}, {"iptables-save"}} {
		r := lab.Finish(h.Box.Command(h.ctx, argv[0], argv[1:]...))
		if r.Exit != 0 {
			t.Fatal(argv, r.Stderr)
		}
		for _, line := range lab.Lines(r.Stdout) {
			if !strings.HasPrefix(line, "#") {
				all.WriteString(line + "\n")
			}
		}
	}
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range cmdlines {
		if text, _ := os.ReadFile(f); strings.Contains(string(text), "dnsmasq") && strings.Contains(string(text), h.Dir) {
			all.WriteString("process " + strings.ReplaceAll(string(text), "\x00", " ") + "\n")
		}
	}
	for _, pattern := range []string{"run/libvirt/network/*.xml", "run/libvirt/network/*.pid", "run/libvirt/network/*.starting", "run/libvirt/network/*/ports", "var/lib/libvirt/dnsmasq/*.macs"} {
		files, _ := filepath.Glob(filepath.Join(h.Dir, pattern))
		for _, f := range files {
			all.WriteString(f + "\n")
		}
	}
	return all.String()
}

// A network whose hook takes its time keeps no other network waiting, and none of its own readers.
func TestSlowNetworkHoldsNobodyUp(t *testing.T) {
	h := open(t, lab.Single)
	slow, fast := h.define(t, nat(1)), h.define(t, nat(2))
	hook := filepath.Join(h.Dir, "etc/libvirt/hooks/network")
	h.must(t, os.MkdirAll(filepath.Dir(hook), 0o755))
	gate := filepath.Join(h.Dir, "gate")
	h.must(t, os.WriteFile(hook, []byte("#!/bin/sh\n[ \"$1\" = net001 ] && [ \"$2\" = start ] || exit 0\nwhile [ ! -e "+gate+" ]; do sleep 0.05; done\n"), 0o755))
	done := make(chan error, 1)
	go func() {
		_, err := rpc.Do(h.ctx, h.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: slow})
		done <- err
	}()
	d := lab.Took(func() {
		for range 5 {
			for _, p := range []*protocol.Procedure{protocol.NetworkCreate.Procedure, protocol.NetworkDestroy.Procedure} {
				h.must(t, h.c.Call(h.ctx, p, &protocol.NetworkCreateArgs{Net: fast}, &protocol.Void{}))
			}
			_, err := rpc.Do(h.ctx, h.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: slow})
			h.must(t, err)
			_, err = rpc.Do(h.ctx, h.c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "net001"})
			h.must(t, err)
		}
	})
	t.Logf("five starts and stops beside a network that does not come up: %v", d)
	select {
	case err := <-done:
		t.Fatal("the slow network did not wait:", err)
	default:
	}
	h.must(t, os.WriteFile(gate, nil, 0o644))
	select {
	case err := <-done:
		h.must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the slow network never came up")
	}
	_, err := rpc.Do(h.ctx, h.c, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{Net: slow})
	h.must(t, err)
}
