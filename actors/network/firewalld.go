package network

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/godbus/dbus/v5"

	"virtree/wire/liberr"
)

// firewalld sorts the links of a host into zones, each with its rules. When it runs, a network's bridge belongs in a zone: the
// one that the document names, or libvirt's own, which lets DHCP, DNS and forwarded traffic pass. It is asked over D-Bus.

const (
	firewalldName   = "org.fedoraproject.FirewallD1"
	firewalldPath   = "/org/fedoraproject/FirewallD1"
	zoneInterface   = firewalldName + ".zone"
	policyInterface = firewalldName + ".policy"
	libvirtZone     = "libvirt"
	routedZone      = "libvirt-routed"
	routedPolicy    = "libvirt-routed-out"
	propertyGet     = "org.freedesktop.DBus.Properties.Get"
)

// firewalld is a connection to a running firewalld.
type firewalld struct{ conn *dbus.Conn }

// openFirewalld connects to firewalld; nil when it does not run.
func openFirewalld(ctx context.Context) *firewalld {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil
	}
	owned := false
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, firewalldName).Store(&owned); err != nil || !owned {
		_ = conn.Close()
		return nil
	}
	return &firewalld{conn}
}

func (f *firewalld) close() { _ = f.conn.Close() }

func (f *firewalld) call(ctx context.Context, method string, ret any, args ...any) error {
	call := f.conn.Object(firewalldName, firewalldPath).CallWithContext(ctx, method, 0, args...)
	err := call.Err
	if err == nil && ret != nil {
		err = call.Store(ret)
	}
	var remote dbus.Error
	if errors.As(err, &remote) {
		return liberr.New(liberr.FromDbus, liberr.DbusService, "GDBus.Error:%s: %s", remote.Name, remote.Error()).WithCause(err)
	}
	if err != nil {
		return liberr.New(liberr.FromDbus, liberr.DbusService, "%s", err).WithCause(err)
	}
	return nil
}

// has tells whether a list that a method returns has a name. A firewalld too old for the method has none.
func (f *firewalld) has(ctx context.Context, method, name string) bool {
	var names []string
	if f.call(ctx, method, &names) != nil {
		return false
	}
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// zone chooses the zone of a network, "" for none.
func (f *firewalld) zone(ctx context.Context, def *definition) (string, error) {
	switch {
	case def.zone != "":
		return def.zone, nil
	case def.forward.mode == modeRoute && f.has(ctx, policyInterface+".getPolicies", routedPolicy) && f.has(ctx, zoneInterface+".getZones", routedZone):
		return routedZone, nil
	case f.has(ctx, zoneInterface+".getZones", libvirtZone):
		return libvirtZone, nil
	}
	var backend dbus.Variant
	if err := f.call(ctx, propertyGet, &backend, firewalldName+".config", "FirewallBackend"); err == nil && backend.Value() == backendNFTables {
		return "", liberr.New(liberr.FromNone, liberr.InternalError, "firewalld is set to use the nftables backend, but the required firewalld 'libvirt' zone is missing. Either set the firewalld backend to 'iptables', or ensure that firewalld has a 'libvirt' zone by upgrading firewalld to a version supporting rule priorities (0.7.0+) and/or rebuilding libvirt with --with-firewalld-zone")
	}
	return "", nil
}

// setZone puts the network's bridge into its zone when firewalld runs; a zone that is asked for must be had.
func setZone(ctx context.Context, def *definition) error {
	if def.forward.mode == modeOpen {
		return nil // as little our business as the rules
	}
	f := openFirewalld(ctx)
	if f == nil {
		if def.zone != "" {
			return liberr.New(liberr.FromNone, liberr.InternalError, "zone %s requested for network %s but firewalld is not active", def.zone, def.name)
		}
		return nil
	}
	defer f.close()
	zone, err := f.zone(ctx, def)
	if err != nil || zone == "" {
		return err
	}
	return f.call(ctx, zoneInterface+".changeZoneOfInterface", nil, zone, def.bridge)
}

// unsetZone makes firewalld forget the bridge, which goes.
func unsetZone(ctx context.Context, def *definition) {
	if f := openFirewalld(ctx); f != nil {
		_ = f.call(ctx, zoneInterface+".removeInterface", nil, "", def.bridge) // it may never have been in one
		f.close()
	}
}

// firewalldReloaded tells the branch that firewalld was started or read its configuration again, and forgot what it was told.
type firewalldReloaded struct{}

// Urgent puts the repair before requests.
func (*firewalldReloaded) Urgent() bool { return true }

// watchFirewalld tells the branch of every start and reload of firewalld, until it is stopped. Without a system bus there is
// no firewalld.
func watchFirewalld(system *actor.ActorSystem, branch *actor.PID) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
		if err != nil {
			return
		}
		defer conn.Close()
		news := make(chan *dbus.Signal, 16)
		conn.Signal(news)
		for _, match := range [][]dbus.MatchOption{
			{dbus.WithMatchInterface(firewalldName), dbus.WithMatchMember("Reloaded")},
			{dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, firewalldName)},
		} {
			if conn.AddMatchSignal(match...) != nil {
				return
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case s, ok := <-news:
				if !ok { // the bus has gone
					return
				}
				if owner, is := lastString(s.Body); s.Name == "org.freedesktop.DBus.NameOwnerChanged" && is && owner == "" {
					continue // firewalld has ended
				}
				system.Root.Send(branch, &firewalldReloaded{})
			}
		}
	}()
	return cancel
}

func lastString(body []any) (string, bool) {
	if len(body) == 0 {
		return "", false
	}
	s, ok := body[len(body)-1].(string)
	return s, ok
}
