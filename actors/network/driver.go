package network

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromNetwork

// driver is the branch actor: the index of all networks, one actor below it for each. It answers lookups and lists from
// the index and forwards what concerns one network to it.
type driver struct {
	shared *shared
	*branch.Index[*entry]
	bus     branch.Bus
	desk    branch.Desk
	unwatch func() // ends the watch of the firewall; nil until there is a network of ours to protect
}

// shared is what the branch and its networks have in common. It is constant.
type shared struct {
	env      *branch.Env
	sys      string    // root of sysfs
	firewall firewall  // set when the driver loads, before there is any network
	tidied   sync.Once // not when the actor is restarted: its last life's jobs may be writing
}

// entry is one network as the index knows it.
type entry struct {
	branch.Object
	summary
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer { return newDriver(env, "/sys") }

// newDriver is New with another sysfs, where a test has devices that its machine lacks.
func newDriver(env *branch.Env, sys string) actor.Producer {
	s := &shared{env: env, sys: sys}
	return func() actor.Actor {
		return &driver{
			shared: s, Index: branch.NewIndex[*entry](env, from, "network"),
			desk: branch.NewDesk(from, "network driver"), bus: branch.Bus{Hold: env.Hold},
		}
	}
}

// Receive is the branch's table of contents.
func (d *driver) Receive(ctx actor.Context) {
	if d.Index.Receive(ctx) || d.desk.Receive(ctx) || d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		d.call(ctx, m)
	case *summaryChanged:
		d.update(ctx, m.summary)
	case *published:
		d.bus.Publish(ctx, m.Event)
	case *forgotten:
		d.Forget(ctx, m.UUID)
	case *tableGone:
		d.tableGone(ctx, m.bridge, false)
	case *firewalldReloaded:
		d.tableGone(ctx, "", true)
	case *actor.Started:
		d.load(ctx)
	case *actor.Stopping, *actor.Restarting:
		if d.unwatch != nil {
			d.unwatch()
		}
	default:
		kit.Unhandled(ctx, m)
	}
}

// call serves what the branch answers itself and forwards what is one network's.
func (d *driver) call(ctx actor.Context, c *call.Call) {
	if d.desk.Hold(ctx) {
		return
	}
	if networkRoutes.Has(c.Proc) {
		d.forward(ctx, c)
		return
	}
	branch.Serve(&d.desk, driverRoutes, d, ctx, c)
}

// forward passes a call to the network that its arguments name. Compat: libvirt checks the flags of a call, and the
// address that leases are filtered by, before it looks for the network.
func (d *driver) forward(ctx actor.Context, c *call.Call) {
	n, err := precheck(c)
	e := d.Find(n.UUID)
	if err == nil && e == nil {
		err = missing(n)
	}
	d.Forward(ctx, c, e, err)
}

// missing is the answer to a call on a network that is not there.
func missing(n protocol.Network) error {
	return liberr.New(from, liberr.NoNetwork, "no network with matching uuid '%s' (%s)", n.UUID, n.Name)
}

// spawn makes a network's actor.
func (d *driver) spawn(ctx actor.Context, name string, uuid protocol.UUID, s *seed) (*entry, error) {
	parent, shared := ctx.Self(), d.shared
	first := s
	produce := func() actor.Actor {
		given := first
		first = nil // a restarted network reads its state from disk
		return newNetwork(shared, parent, uuid, name, given)
	}
	e := &entry{summary: summary{Name: name, UUID: uuid}}
	return e, d.Manage(ctx, e, name, uuid, produce)
}

// update takes a network's news into the index.
func (d *driver) update(ctx actor.Context, s summary) {
	e := d.ByUUID[s.UUID]
	if e == nil {
		return
	}
	e.summary, e.Pending = s, false
	if s.Active && s.Bridges[1] != "" && d.unwatch == nil {
		rules := watchRules(ctx.ActorSystem(), ctx.Self(), d.shared.env.Log, d.shared.firewall.name())
		zones := watchFirewalld(ctx.ActorSystem(), ctx.Self())
		d.unwatch = func() { rules(); zones() }
	}
}

// tableGone lets the networks concerned look after their rules.
func (d *driver) tableGone(ctx actor.Context, bridge string, zones bool) {
	for _, e := range d.ByUUID {
		if e.Active && e.Bridges[1] != "" && (bridge == "" || bridge == e.Bridges[1]) {
			ctx.Send(e.PID, &rulesTouched{zones})
		}
	}
}

// job runs blocking work of the branch itself.
func (d *driver) job(ctx actor.Context, name string, run func(context.Context) (any, error), then func(ctx actor.Context, out any, err error)) {
	d.desk.Do(ctx, kit.Job[any]{Name: name, Timeout: time.Minute, Run: func(jc context.Context, _ *kit.Undo) (any, error) { return run(jc) }}, then)
}

// parsed is a document that passed all checks but those against other networks.
type parsed struct {
	def   *definition
	links map[string]bool // names of the host's links
}

// parse reads a client's document outside of the branch's Receive and finds the network that it is about.
func (d *driver) parse(ctx actor.Context, r *call.Request, doc string, validate, live bool, then func(ctx actor.Context, e *entry, def *definition)) {
	d.job(ctx, "parse", func(context.Context) (any, error) {
		if validate {
			if err := checkSchema(doc); err != nil {
				return nil, err
			}
		}
		def, err := parse(doc)
		if err != nil {
			return nil, err
		}
		if err := def.validate(d.shared.sys); err != nil {
			return nil, err
		}
		return &parsed{def, hostLinks()}, nil
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			r.Fail(liberr.From(from, err))
			return
		}
		p := out.(*parsed)
		if err := d.giveBridge(p); err != nil {
			r.Fail(err)
			return
		}
		e, err := d.target(ctx, p.def, live)
		if err != nil {
			r.Fail(err)
			return
		}
		then(ctx, e, p.def)
	})
}

// hostLinks lists the network interfaces of the host.
func hostLinks() map[string]bool {
	links := map[string]bool{}
	all, err := net.Interfaces()
	if err != nil {
		return links
	}
	for _, i := range all {
		links[i.Name] = true
	}
	return links
}

// giveBridge settles the name of the network's bridge.
func (d *driver) giveBridge(p *parsed) error {
	def := p.def
	if !def.ownBridge() {
		return nil
	}
	used := func(name string) bool {
		for _, e := range d.ByUUID {
			if e.Name != def.name && (e.Bridges[0] == name || e.Bridges[1] == name) {
				return true
			}
		}
		return false
	}
	if def.bridge != "" && !strings.Contains(def.bridge, "%d") && used(def.bridge) {
		return liberr.New(from, liberr.InternalError, "bridge name '%s' already in use.", def.bridge)
	}
	def.complete(func(name string) bool { return used(name) || p.links[name] }, 0)
	return nil
}

// target finds the network that a document is about, or makes one, by libvirt's rules on names and UUIDs.
func (d *driver) target(ctx actor.Context, def *definition, live bool) (*entry, error) {
	e := d.ByUUID[def.uuid]
	if e != nil {
		if e.Name != def.name {
			return nil, liberr.New(from, liberr.OperationFailed, "network '%s' is already defined with uuid %s", e.Name, def.uuid)
		}
		if live && e.Active {
			return nil, liberr.New(from, liberr.OperationInvalid, "network is already active as '%s'", e.Name)
		}
		return e, nil
	}
	if e := d.ByName[def.name]; e != nil {
		return nil, liberr.New(from, liberr.OperationFailed, "network '%s' already exists with uuid %s", def.name, e.UUID)
	}
	e, err := d.spawn(ctx, def.name, def.uuid, &seed{fresh: true})
	if err != nil {
		return nil, err
	}
	e.Pending, e.Bridges[0] = true, ownBridgeName(def)
	return e, nil
}

// ownBridgeName is the name of the bridge that the network makes, "" when it makes none.
func ownBridgeName(def *definition) string {
	if def == nil || !def.ownBridge() {
		return ""
	}
	return def.bridge
}

// onDisk is a network as it was found at the start.
type onDisk struct {
	name string
	uuid protocol.UUID
	seed seed
}

// loaded is what the start of the driver found.
type loaded struct {
	found    []*onDisk
	firewall firewall
}

// load finds all networks on disk and starts their actors.
func (d *driver) load(ctx actor.Context) {
	s := d.shared
	d.job(ctx, "load", func(jc context.Context) (any, error) {
		if err := s.prepare(); err != nil {
			s.env.Log.Error().Err(err).Msg("cannot make the driver's folders")
		}
		return &loaded{s.scan(jc), s.configuredFirewall()}, nil
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			s.env.Log.Error().Err(err).Msg("cannot read the networks' definitions")
		}
		l, ok := out.(*loaded)
		if !ok {
			l = &loaded{nil, nftablesBackend{}}
		}
		s.firewall = l.firewall
		for _, f := range l.found {
			e, err := d.spawn(ctx, f.name, f.uuid, &f.seed)
			if err != nil {
				s.env.Log.Error().Err(err).Str("network", f.name).Msg("cannot load a network")
				continue
			}
			e.Persistent, e.Autostart = f.seed.config != nil, f.seed.autostart
			e.Bridges = [2]string{ownBridgeName(f.seed.config), ""}
			if f.seed.status != nil {
				e.Active, e.Bridges[1] = true, ownBridgeName(f.seed.status.def)
			}
		}
		d.desk.Release(ctx)
		d.autostart(ctx)
	})
}

// autostart starts the networks that are marked for it, once per boot of the host.
func (d *driver) autostart(ctx actor.Context) {
	d.desk.OncePerBoot(ctx, d.shared.env, "network", func(ctx actor.Context) {
		for _, e := range d.ByUUID {
			if e.Autostart && !e.Active {
				ctx.Send(e.PID, &autostart{})
			}
		}
	})
}

// prepare makes the driver's folders, with libvirt's modes, and the link by which dnsmasq finds the lease helper.
func (s *shared) prepare() error {
	p := s.env.Paths
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{p.DriverConfig("network"), 0o755}, {p.Autostart("network"), 0o755}, {p.DriverRun("network"), 0o755}, {s.dnsmasqDir(), 0o755}} {
		if err := os.MkdirAll(dir.path, dir.mode); err != nil {
			return err
		}
	}
	var err error
	s.tidied.Do(func() { err = errors.Join(disk.Tidy(p.DriverConfig("network")), disk.Tidy(p.DriverRun("network"))) })
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if now, err := os.Readlink(s.helperPath()); err == nil && now == exe {
		return nil
	}
	tmp := s.helperPath() + ".new"
	_ = os.Remove(tmp)
	if err := os.Symlink(exe, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, s.helperPath())
}

// scan undoes what was begun and reads the folders of definitions and of status files.
func (s *shared) scan(ctx context.Context) []*onDisk {
	s.recoverStarts(ctx)
	byUUID, names := map[protocol.UUID]*onDisk{}, map[string]bool{}
	var order []*onDisk
	read := func(dir string, take func(file, text string) (*definition, func(*onDisk), error)) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.xml"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			var def *definition
			var apply func(*onDisk)
			if err == nil {
				def, apply, err = take(f, string(b))
			}
			if err == nil && def.name+".xml" != filepath.Base(f) {
				err = liberr.New(from, liberr.InternalError, "Network config filename '%s' does not match network name '%s'", f, def.name)
			}
			if err != nil {
				s.env.Log.Error().Err(err).Str("file", f).Msg("not a network's file")
				continue
			}
			o := byUUID[def.uuid]
			if o == nil && names[def.name] || o != nil && o.name != def.name {
				s.env.Log.Error().Str("file", f).Msg("not loaded: another network has its name or UUID")
				continue
			}
			if o == nil {
				o = &onDisk{name: def.name, uuid: def.uuid}
				byUUID[def.uuid], names[def.name] = o, true
				order = append(order, o)
			}
			apply(o)
		}
	}
	read(s.env.Paths.DriverConfig("network"), func(_, text string) (*definition, func(*onDisk), error) {
		def, err := parse(text)
		if err != nil {
			return nil, nil, err
		}
		return def, func(o *onDisk) { o.seed.config, o.seed.autostart = def, disk.Exists(s.autostartPath(def.name)) }, nil
	})
	read(s.env.Paths.DriverRun("network"), func(_, text string) (*definition, func(*onDisk), error) {
		st, err := parseStatus(text)
		if err != nil {
			return nil, nil, err
		}
		return st.def, func(o *onDisk) { o.seed.status = st }, nil
	})
	return order
}
