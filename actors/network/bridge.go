package network

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
)

// bringUp starts a network: its hook, and where it has a bridge of its own that, its firewall, addresses, routes and
// dnsmasq. Whatever was done is undone when a later step fails.
func (s *shared) bringUp(ctx context.Context, undo *kit.Undo, def *definition) (*started, error) {
	live := def.clone()
	if f := &live.forward; f.mode == modeNAT && f.ports[1] == 0 {
		f.ports = defaultPorts // shown by the running network
	}
	up := &started{status: newStatus(live)}
	up.status.backend = s.firewall.name()
	if tainted, err := s.hook(ctx, def, hookStart, ""); err != nil {
		return nil, err
	} else if tainted {
		up.status.taints = []string{"hook-script"}
	}
	mark, err := s.markStart(ctx, up.status)
	if err != nil {
		return nil, err
	}
	undo.Add("remove the marker of the start", func(context.Context) error { mark.remove(); return nil })
	if live.ownBridge() {
		proc, err := s.bringUpBridge(ctx, undo, live)
		if err != nil {
			return nil, err
		}
		up.proc = proc
	} else if err := expandPool(live, s.sys); err != nil {
		return nil, err
	}
	if !live.ownBridge() && live.bandwidth != nil && live.bridge != "" {
		if err := shape(live.bridge, append(clearSteps(), shapeSteps(live.bandwidth)...)); err != nil {
			return nil, err
		}
		undo.Add("remove the bandwidth of "+live.bridge, func(context.Context) error { return shape(live.bridge, clearSteps()) })
	}
	if _, err := s.hook(ctx, def, hookStarted, ""); err != nil {
		return nil, err
	}
	undo.Add("remove the status", func(context.Context) error { return disk.Remove(s.statusPath(def.name)) })
	if err := s.storeStatus(up.status); err != nil {
		return nil, err
	}
	mark.remove()
	return up, nil
}

func (s *shared) bringUpBridge(ctx context.Context, undo *kit.Undo, def *definition) (*process, error) {
	if err := checkRoutes(def); err != nil {
		return nil, err
	}
	if err := createBridge(def); err != nil {
		return nil, err
	}
	undo.Add("delete bridge "+def.bridge, func(context.Context) error { return deleteBridge(def.bridge) })
	if err := prepareIPv6(def); err != nil {
		return nil, err
	}
	if err := setZone(ctx, def); err != nil {
		return nil, err
	}
	undo.Add("take "+def.bridge+" out of its zone", func(ctx context.Context) error { unsetZone(ctx, def); return nil })
	if err := s.firewall.apply(ctx, nil, def); err != nil {
		return nil, err
	}
	undo.Add("remove the firewall of "+def.bridge, func(ctx context.Context) error { return s.firewall.remove(ctx, def) })
	for i := range def.ips {
		if err := addAddress(def.bridge, &def.ips[i]); err != nil {
			return nil, err
		}
	}
	if err := linkUp(def.bridge); err != nil {
		return nil, err
	}
	for i := range def.routes {
		if err := addRoute(def.bridge, &def.routes[i]); err != nil {
			return nil, err
		}
	}
	if def.forward.mode != modeNone {
		if err := enableForwarding(def); err != nil {
			return nil, err
		}
	}
	var proc *process
	if needsDnsmasq(def) {
		var err error
		if proc, err = s.startDnsmasq(ctx, def); err != nil {
			return nil, err
		}
		undo.Add("stop dnsmasq", func(ctx context.Context) error {
			err := proc.kill(ctx)
			proc.close()
			return errors.Join(err, os.Remove(s.runPath(def.name, ".pid")))
		})
	}
	if def.bandwidth != nil {
		if err := shape(def.bridge, append(clearSteps(), shapeSteps(def.bandwidth)...)); err != nil {
			return nil, err
		}
	}
	return proc, nil
}

// takeDown stops a network. It goes on over errors: what is gone cannot be stopped, and what cannot is logged.
func (s *shared) takeDown(ctx context.Context, def *definition, proc *process) {
	note := func(what string, err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.env.Log.Error().Err(err).Str("network", def.name).Msg("cannot " + what)
		}
	}
	if proc != nil {
		note("stop dnsmasq", proc.kill(ctx))
		proc.close()
	}
	switch {
	case def.ownBridge():
		note("remove firewall rules", s.firewall.remove(ctx, def))
		unsetZone(ctx, def)
		note("delete the bridge", deleteBridge(def.bridge))
		note("remove the list of MAC addresses", os.Remove(s.dnsmasqPath(def.bridge, ".macs")))
	case def.bandwidth != nil && def.bridge != "":
		note("remove the bandwidth", shape(def.bridge, clearSteps()))
	}
	_, err := s.hook(ctx, def, hookStopped, "")
	note("run the hook", err)
	note("remove the ports", os.RemoveAll(s.runPath(def.name, "")))
	note("remove the pid file", os.Remove(s.runPath(def.name, ".pid")))
	note("remove the status", os.Remove(s.statusPath(def.name)))
	if !disk.Exists(s.configPath(def.name)) {
		s.dropFiles(def)
	}
}

// dropFiles removes what dnsmasq had of a network that is no more. A persistent one keeps its leases.
func (s *shared) dropFiles(def *definition) {
	for _, path := range []string{
		s.dnsmasqPath(def.name, ".conf"), s.dnsmasqPath(def.name, ".hostsfile"), s.dnsmasqPath(def.name, ".addnhosts"),
	} {
		_ = disk.Remove(path)
	}
	if def.bridge != "" {
		_ = disk.Remove(s.dnsmasqPath(def.bridge, ".status"))
		_ = disk.Remove(s.dnsmasqPath(def.bridge, ".macs"))
	}
}

// conflict is libvirt's refusal of a network that the host can already reach some other way.
func conflict(def *definition, dst netip.Prefix, link string) error {
	for i := range def.ips {
		if ip := &def.ips[i]; ip.address.Is4() && ip.net() == dst {
			return liberr.New(from, liberr.InternalError, "Network is already in use by interface %s", link)
		}
	}
	for i := range def.routes {
		if r := &def.routes[i]; r.address.Is4() && netip.PrefixFrom(r.address, r.bits()).Masked() == dst {
			return liberr.New(from, liberr.InternalError, "Route address '%s' conflicts with IP address for '%s'", r.address, link)
		}
	}
	return nil
}
