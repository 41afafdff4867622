package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/lease"
	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// driver is the branch actor: the index of all domains, one actor below it for each. It answers lookups
// and lists from the index and forwards what concerns one domain to that domain.
type driver struct {
	shared *shared
	*branch.Index[*entry]
	bus   branch.Bus
	byID  map[int32]*entry
	order []*entry // all of the index by their names, for lists; nil: to be sorted anew
	desk  branch.Desk

	lockd *actor.PID // watched while guests may have leases, else nil
}

// entry is one domain as the index knows it.
type entry struct {
	branch.Object
	Summary
}

// New makes the qemu branch.
func New(env *branch.Env, conf Config) actor.Producer {
	s := newShared(env, conf)
	return func() actor.Actor {
		return &driver{
			shared: s, Index: branch.NewIndex[*entry](env, liberr.FromQemu, "domain"), byID: map[int32]*entry{},
			desk: branch.NewDesk(liberr.FromQemu, "qemu driver"), bus: branch.Bus{Hold: env.Hold},
		}
	}
}

func newShared(env *branch.Env, conf Config) *shared {
	s := &shared{env: env, conf: conf, adopting: newAdoptions()}
	s.locks = newLocks(s)
	s.caps = caps.NewFinder(caps.Options{
		CacheDir: filepath.Join(env.Paths.DriverCache("qemu"), "capabilities"),
		Warn:     func(err error) { env.Log.Warn().Err(err).Msg("capabilities of QEMU") },
	})
	s.vnc = lease.Range{First: conf.PortMin, Last: conf.PortMax, Usable: portFree}
	s.xmlEnv = domxml.Env{
		Arch: caps.HostArch(),
		Caps: func(binary string) (*caps.Caps, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return s.caps.Get(ctx, binary)
		},
		Known:    s.caps.Known,
		Emulator: func(arch, _ string) string { return s.caps.Binary(arch) },
		NVRAMDir: filepath.Join(env.Paths.DriverLib("qemu"), "nvram"),
	}
	return s
}

// Receive is the branch's table of contents.
func (dr *driver) Receive(ctx actor.Context) {
	if dr.Index.Receive(ctx) || dr.desk.Receive(ctx) || dr.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		dr.call(ctx, m)
	case *summaryChanged:
		dr.update(m.Summary)
	case *published:
		dr.bus.Publish(ctx, m.Event)
	case *renamed:
		dr.renamed(m)
	case *forgotten:
		dr.forget(ctx, m.UUID)
	case *sampleDue:
		dr.sampleNow(ctx)
	case *lockWatch:
		dr.watchLocks(ctx)
	case *actor.Terminated: // lockd's, whose leases end with its process
		dr.locksLost(ctx, m.Who)
	case *actor.Started:
		dr.shared.system = ctx.ActorSystem()
		dr.openSampler(ctx)
		dr.load(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

// call serves what the branch answers itself and forwards what is one domain's.
func (dr *driver) call(ctx actor.Context, c *call.Call) {
	if c.Proc != protocol.ConnectOpen.Procedure && dr.desk.Hold(ctx) {
		return
	}
	if domainRoutes.Has(c.Proc) && !driverRoutes.Has(c.Proc) {
		dr.forward(ctx, c)
		return
	}
	branch.Serve(&dr.desk, driverRoutes, dr, ctx, c)
}

// forward passes a call to the domain that its arguments name.
func (dr *driver) forward(ctx actor.Context, c *call.Call) {
	uuid, ok := c.Proc.PeekUUID(c.Args)
	e := dr.Find(uuid)
	var err error
	switch {
	case !ok:
		err = liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload")
	case e == nil:
		name, _ := c.Proc.PeekName(c.Args)
		err = noDomain(uuid, name)
	}
	dr.Forward(ctx, c, e, err)
}

// spawn makes a domain's actor.
func (dr *driver) spawn(ctx actor.Context, name string, uuid protocol.UUID, s *seed) (*entry, error) {
	parent, shared := ctx.Self(), dr.shared
	first := s
	produce := func() actor.Actor {
		given := first
		first = nil // a restarted domain reads its state from disk
		return newDomain(shared, parent, uuid, name, given)
	}
	e := &entry{Summary: Summary{Name: name, UUID: uuid, ID: -1, State: lifeShutoff.State}}
	dr.order = nil
	return e, dr.Manage(ctx, e, name, uuid, produce)
}

// update takes a domain's news into the index.
func (dr *driver) update(s Summary) {
	e := dr.ByUUID[s.UUID]
	if e == nil {
		return
	}
	if e.ID != s.ID {
		if dr.byID[e.ID] == e {
			delete(dr.byID, e.ID)
		}
		if s.ID >= 0 {
			dr.byID[s.ID] = e
		}
	}
	if e.Name != s.Name {
		dr.order = nil
	}
	e.Summary, e.Pending = s, false
}

// forget takes a domain out of the index and ends its actor.
func (dr *driver) forget(ctx actor.Context, uuid protocol.UUID) {
	dr.order = nil
	if e := dr.Forget(ctx, uuid); e != nil && dr.byID[e.ID] == e {
		delete(dr.byID, e.ID)
	}
}

// renamed settles a rename: one of the two names is free.
func (dr *driver) renamed(m *renamed) {
	free := m.New
	if m.OK {
		free = m.Old
	}
	if e := dr.ByUUID[m.UUID]; e != nil && dr.ByName[free] == e {
		delete(dr.ByName, free)
		if m.OK {
			e.Name, dr.order = m.New, nil
		}
	}
}

// job runs blocking work of the branch itself.
func (dr *driver) job(ctx actor.Context, name string, limit time.Duration, run func(context.Context) (any, error), then func(ctx actor.Context, out any, err error)) {
	dr.desk.Do(ctx, kit.Job[any]{Name: name, Timeout: limit, Run: func(jc context.Context, _ *kit.Undo) (any, error) { return run(jc) }}, then)
}

// onDisk is a domain as it was found at the start.
type onDisk struct {
	name string
	uuid protocol.UUID
	seed seed
}

// load finds all domains on disk and starts their actors.
func (dr *driver) load(ctx actor.Context) {
	s := dr.shared
	dr.job(ctx, "load", 0, func(context.Context) (any, error) {
		if err := s.prepare(); err != nil {
			s.env.Log.Error().Err(err).Msg("cannot make the driver's folders")
		}
		s.guest = s.findGuestUser()
		return s.scan()
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			s.env.Log.Error().Err(err).Msg("cannot read the domains' definitions")
		}
		found, _ := out.([]*onDisk)
		for _, f := range found {
			e, err := dr.spawn(ctx, f.name, f.uuid, &f.seed)
			if err != nil {
				s.env.Log.Error().Err(err).Str("domain", f.name).Msg("cannot load a domain")
				continue
			}
			e.Persistent, e.Autostart, e.Saved = f.seed.config != "", f.seed.autostart, f.seed.saved
			e.Snapshot = len(f.seed.snaps.all) > 0
			if id, l, ok := scanStatus(f.seed.status); ok { // what it is until its actor knows better
				e.ID, e.State, e.Reason = id, l.State, l.Reason
				dr.byID[id] = e
			}
		}
		dr.desk.Release(ctx)
		dr.autostart(ctx)
	})
}

// prepare makes the driver's folders, with libvirt's modes.
func (s *shared) prepare() error {
	p := s.env.Paths
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{p.DriverConfig("qemu"), 0o700}, {p.DriverRun("qemu"), 0o755}, {p.DriverLib("qemu"), 0o751}, {p.DriverLog("qemu"), 0o700},
		{p.DriverCache("qemu"), 0o750}, {filepath.Join(p.DriverLib("qemu"), "nvram"), 0o711}, {filepath.Join(p.DriverLib("qemu"), "save"), 0o700},
		{filepath.Join(p.DriverLib("qemu"), "channel", "target"), 0o755}, {filepath.Join(p.DriverLib("qemu"), "ram"), 0o755},
	} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return err
		}
	}
	var err error
	s.tidied.Do(func() { err = errors.Join(disk.Tidy(p.DriverConfig("qemu")), disk.Tidy(p.DriverRun("qemu"))) })
	return err
}

// scan reads the folders of definitions and of status files.
func (s *shared) scan() ([]*onDisk, error) {
	byUUID := map[protocol.UUID]*onDisk{}
	var order []*onDisk
	read := func(dir string, take func(o *onDisk, text string)) error {
		files, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			return nil
		} else if err != nil {
			return err
		}
		for _, f := range files {
			if f.IsDir() || !strings.HasSuffix(f.Name(), ".xml") || strings.HasPrefix(f.Name(), ".") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				s.env.Log.Error().Err(err).Msg("cannot read a domain's file")
				continue
			}
			name, uuid := scanIdentity(string(b))
			if name+".xml" != f.Name() || uuid == (protocol.UUID{}) {
				s.env.Log.Error().Str("file", filepath.Join(dir, f.Name())).Msg("not a domain's file: name or UUID does not fit")
				continue
			}
			o := byUUID[uuid]
			if o == nil {
				o = &onDisk{name: name, uuid: uuid}
				byUUID[uuid] = o
				order = append(order, o)
			}
			take(o, string(b))
		}
		return nil
	}
	err := read(s.env.Paths.DriverConfig("qemu"), func(o *onDisk, text string) {
		o.seed.config = strings.TrimRight(stripHeader(text), "\n") + "\n"
		o.seed.autostart = disk.Exists(s.autostartPath(o.name))
		o.seed.saved = disk.Exists(s.savePath(o.name))
		o.seed.snaps = s.readSnapshots(o.name)
	})
	if err != nil {
		return order, err
	}
	s.recoverHostdevs()
	return order, read(s.env.Paths.DriverRun("qemu"), func(o *onDisk, text string) { o.seed.status = text })
}

// autostart starts the domains that are marked for it, once per boot of the host.
func (dr *driver) autostart(ctx actor.Context) {
	dr.desk.OncePerBoot(ctx, dr.shared.env, "qemu", func(ctx actor.Context) {
		for _, e := range dr.ByUUID {
			if e.Autostart {
				ctx.Send(e.PID, &autostart{})
			}
		}
	})
}
