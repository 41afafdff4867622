package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// system is one daemon, or tree of daemons, that is measured.
type system struct {
	*lab.Target
	name    string
	domains []protocol.Domain // defined so far
}

// openAll starts what was asked for. What cannot be started here is left out with its reason.
func openAll(ctx context.Context, names []string) (all []*system, skipped []string) {
	for _, name := range names {
		t, err := lab.Open(ctx, lab.Kind(name), lab.Options{})
		if err != nil {
			skipped = append(skipped, err.Error())
			progress("left out: %v", err)
			continue
		}
		all = append(all, &system{Target: t, name: name})
	}
	return all, skipped
}

func closeAll(all []*system) {
	for _, s := range all {
		_ = s.Close()
	}
}

// process is one of a system's processes.
type process struct {
	Name string // "split virtqemud"
	pid  int
}

// processes of the system in the order in which they were started.
func (s *system) processes() []process {
	var all []process
	for _, pid := range s.DaemonPIDs() {
		args := lab.CommandLine(pid)
		name := filepath.Base(args[0])
		if len(args) > 1 && args[1] == "run" {
			name = "run" // the tree's own process, whatever its file is called
		}
		all = append(all, process{s.name + " " + name, pid})
	}
	slices.SortFunc(all, func(a, b process) int { return a.pid - b.pid })
	return all
}

// socket is where the connections go that are counted: the QEMU driver's own, which is where the proxy gives them to.
func (s *system) socket() string {
	if s.Kind == lab.Split {
		return s.Socket("virtqemud-sock")
	}
	return s.Socket("libvirt-sock")
}

// dial opens the QEMU driver. It speaks no keepalive, which would be the client's wake-ups and not the daemon's.
func (s *system) dial(ctx context.Context) (*rpc.Client, error) {
	c, err := rpc.Dial(ctx, "unix", s.socket(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := c.Connect(ctx, "qemu:///system", false); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return c, nil
}

// with runs f with a connection that is closed after it.
func (s *system) with(ctx context.Context, f func(context.Context, *rpc.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := f(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// define makes domains until there are n.
func (s *system) define(ctx context.Context, n int) error {
	return s.with(ctx, func(ctx context.Context, c *rpc.Client) error {
		for i := len(s.domains); i < n; i++ {
			var ret protocol.DomainDefineXMLRet
			args := protocol.DomainDefineXMLArgs{XML: lab.BareXML(fmt.Sprintf("cost-%04d", i), "")}
			if err := c.Call(ctx, protocol.DomainDefineXML.Procedure, &args, &ret); err != nil {
				return err
			}
			s.domains = append(s.domains, ret.Dom)
		}
		return nil
	})
}

// start and destroy the first n domains.
func (s *system) start(ctx context.Context, n int) error {
	return s.with(ctx, func(ctx context.Context, c *rpc.Client) error {
		for _, d := range s.domains[:n] {
			if err := c.Call(ctx, protocol.DomainCreate.Procedure, &protocol.DomainCreateArgs{Dom: d}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *system) destroy(ctx context.Context, n int) error {
	return s.with(ctx, func(ctx context.Context, c *rpc.Client) error {
		for _, d := range s.domains[:n] {
			if err := c.Call(ctx, protocol.DomainDestroy.Procedure, &protocol.DomainDestroyArgs{Dom: d}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// network starts a network with addresses to give away: a bridge, a dnsmasq, firewall rules.
func (s *system) network(ctx context.Context) error {
	return s.with(ctx, func(ctx context.Context, c *rpc.Client) error {
		xml := "<network><name>cost</name><bridge name='virbr77'/><forward mode='nat'/>" +
			"<ip address='192.168.77.1' netmask='255.255.255.0'><dhcp><range start='192.168.77.2' end='192.168.77.99'/></dhcp></ip></network>"
		var ret protocol.NetworkCreateXMLRet
		return c.Call(ctx, protocol.NetworkCreateXML.Procedure, &protocol.NetworkCreateXMLArgs{XML: xml}, &ret)
	})
}
