package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// seed is what the branch knows of a domain when it makes its actor: for one that is new nothing but that,
// for one from disk the texts it read. A restarted actor reads them again.
type seed struct {
	fresh     bool // there is nothing on disk
	config    string
	status    string
	autostart bool
	saved     bool
	snaps     snapshotList
}

// load finds the domain's state: from the seed the first time, from disk after a restart, and from the
// kernel whether its process still runs.
func (d *domain) load(ctx actor.Context) {
	s := d.seed
	d.seed = nil
	if s != nil && s.fresh {
		d.stash.Release(ctx)
		return
	}
	drv, name, uuid := d.drv, d.name, d.uuid
	self, system, serial := ctx.Self(), ctx.ActorSystem(), uint64(drv.runs.Next())
	if s != nil && s.status == "" {
		d.config = storedDocument(s.config, &drv.xmlEnv)
		d.autostart, d.saved, d.snaps = s.autostart, s.saved, s.snaps
		d.describe(ctx)
		d.meetEmulator(ctx, s.config)
		return
	}
	d.run = &instance{serial: serial, id: -1, release: drv.env.Hold("domain " + name)}
	hurry := make(chan struct{})
	d.hurry = hurry
	d.aside(ctx, &task{
		name: "adopt", limit: adoptTimeout,
		run: func(jc context.Context, undo *kit.Undo) (any, error) {
			defer drv.adopting.take(jc, hurry)()
			if s == nil {
				var err error
				if s, err = readSeed(drv, name, uuid); err != nil {
					return nil, err
				}
			}
			return adopt(jc, drv, s, monitorHandler(system, self, serial))
		},
		discard: func(out any) { out.(*adopted).drop() },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			d.adopted(ctx, out.(*adopted))
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot load the domain")
			d.adopted(ctx, &adopted{})
			return err
		},
	})
}

// meetEmulator makes the domain ready when its emulator is known: to read the definition takes what QEMU says of itself,
// and the first to ask waits while it is probed, which no Receive must.
func (d *domain) meetEmulator(ctx actor.Context, config string) {
	drv, emulator := d.drv, emulatorOf(config)
	if emulator == "" || drv.caps.Known(emulator) {
		d.stash.Release(ctx)
		return
	}
	d.aside(ctx, &task{
		name: "meet the emulator",
		run:  func(jc context.Context, _ *kit.Undo) (any, error) { return drv.caps.Get(jc, emulator) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.stash.Release(ctx)
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, _ error) error {
			d.stash.Release(ctx) // who needs the emulator hears what is wrong with it
			return nil
		},
	})
}

// adoptTimeout bounds the wait for a QEMU that is asked who it is after our restart. One that does not
// answer stays adopted: it is stuck, not gone.
const adoptTimeout = time.Minute

// adoptPatience is how long a QEMU may take to greet us again before its domain is managed without it: calls
// on the domain wait that long.
const adoptPatience = 2 * time.Second

// adopted is what was found of a domain.
type adopted struct {
	config    *document
	autostart bool
	saved     bool
	snaps     snapshotList

	// Of a running guest.
	live      *document
	id        int32
	life      life
	proc      *process
	mon       *qmp.Client // nil while QEMU does not answer
	dir       string
	vcpus     []int
	agentWait *int32
	blockJobs map[string]*blockJob
	newest    uint // number of the newest image
	died      bool // it was running when we went, and is not now
}

func (a *adopted) drop() {
	if a.mon != nil {
		_ = a.mon.Close()
	}
	if a.proc != nil {
		a.proc.Close()
	}
}

// readSeed reads a domain's files again.
func readSeed(drv *shared, name string, uuid protocol.UUID) (*seed, error) {
	s := &seed{}
	b, err := os.ReadFile(drv.configPath(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if n, u := scanIdentity(string(b)); n == name && u == uuid {
		s.config = stripHeader(string(b))
	}
	if b, err := os.ReadFile(drv.statusPath(name)); err == nil {
		s.status = string(b)
	}
	s.autostart = disk.Exists(drv.autostartPath(name))
	s.saved = disk.Exists(drv.savePath(name))
	s.snaps = drv.readSnapshots(name)
	return s, nil
}

// adopt looks for the guest's process and opens its monitor.
func adopt(ctx context.Context, drv *shared, s *seed, h qmp.Handler) (*adopted, error) {
	a := &adopted{autostart: s.autostart, saved: s.saved, snaps: s.snaps, id: -1}
	if s.config != "" {
		a.config = storedDocument(s.config, &drv.xmlEnv)
	}
	if s.status == "" {
		return a, nil
	}
	st, err := parseStatus(s.status)
	if err != nil {
		return nil, err
	}
	def, err := domxml.Parse([]byte(domainText(s.status)), drv.xmlEnv, domxml.ParseTrusted|domxml.ParseLive)
	if err != nil {
		return nil, err
	}
	a.live = newDocument(def, &drv.xmlEnv)
	a.life = lifeOf(st.State, st.Reason)
	a.dir, a.agentWait = st.LibDir.Path, st.AgentTimeout
	a.blockJobs, a.newest = notedBlockJobs(st.BlockJobs, def), st.Nodes.Index
	if a.dir == "" {
		a.dir = filepath.Dir(st.Monitor.Path)
	}
	if def.ID != nil {
		a.id = int32(*def.ID)
		drv.ids.Seen(a.id)
	}
	for _, v := range st.VCPUs {
		a.vcpus = append(a.vcpus, v.PID)
	}
	for i := range def.Devices.Interfaces {
		drv.seenLink(hostLink(&def.Devices.Interfaces[i]))
	}
	for _, n := range displayPorts(def) {
		drv.vnc.Take(n, def.UUID)
	}
	if a.proc, err = openProcess(st.PID, st.Since); err != nil || !a.proc.Alive() {
		a.died = true
		return a, nil
	}
	short, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	drv.adoptLocks(ctx, def, a.proc)
	h.Running = drv.locks.guard(parseUUID(def.UUID))
	drv.monitors.take(parseUUID(def.UUID))
	if a.mon, err = qmp.Dial(short, st.Monitor.Path, h); err != nil {
		// Refused or gone: nobody holds the other end. Silent: it is stuck, and stays ours.
		a.mon = nil
		if !errors.Is(err, context.DeadlineExceeded) {
			a.died = !a.proc.Alive()
		}
		return a, nil
	}
	drv.monitors.put(parseUUID(def.UUID), a.mon)
	if now, err := qmp.QueryStatus(short, a.mon); err == nil {
		before := a.life
		a.life = reconcile(a.life, now)
		a.recoverJob(short, st.Job.Async, before)
	}
	return a, nil
}

// monitorTimeout bounds monitor commands that no guest can delay.
const monitorTimeout = 30 * time.Second

// reconcile corrects what the status file said by what QEMU says: the guest went on while nobody looked.
func reconcile(l life, now qmp.Status) life {
	switch now.Status {
	case "running":
		if l.State != virt.DomainRunning {
			return life{virt.DomainRunning, virt.DomainRunningUnpaused}
		}
	case "paused", "prelaunch":
		if l.State != virt.DomainPaused {
			return life{virt.DomainPaused, virt.DomainPausedUnknown}
		}
	case "io-error":
		return life{virt.DomainPaused, virt.DomainPausedIoerror}
	case "watchdog":
		return life{virt.DomainPaused, virt.DomainPausedWatchdog}
	case "shutdown":
		return life{virt.DomainShutdown, virt.DomainShutdownUnknown}
	case "suspended":
		return life{virt.DomainPmsuspended, virt.DomainPmsuspendedUnknown}
	case "guest-panicked":
		return life{virt.DomainCrashed, virt.DomainCrashedPanicked}
	}
	return l
}

// adopted puts what was found in place.
func (d *domain) adopted(ctx actor.Context, a *adopted) {
	run := d.run
	d.config, d.autostart, d.saved, d.snaps = a.config, a.autostart, a.saved, a.snaps
	if a.live == nil {
		run.release()
		d.run = nil
		if d.config == nil {
			d.forget(ctx)
		} else {
			d.tell(ctx)
		}
		d.stash.Release(ctx)
		return
	}
	d.live, d.life, d.agentWait = a.live, a.life, a.agentWait
	run.id, run.proc, run.mon, run.dir, run.started, run.noted = a.id, a.proc, a.mon, a.dir, true, true
	d.rt.vcpus, d.blockJobs = a.vcpus, a.blockJobs
	if a.newest > 0 {
		run.devices.nextNode = a.newest + 1
	}
	d.tell(ctx)
	if a.died {
		d.log.Warn().Int32("id", a.id).Msg("the guest ended while the daemon was away")
		d.diedAway(ctx)
		d.stash.Release(ctx)
		return
	}
	d.log.Info().Int32("id", a.id).Int("pid", a.proc.pid).Bool("answers", a.mon != nil).Msg("domain adopted")
	d.watchProcess(ctx)
	d.guardGroup(ctx)
	d.rejoinNetworks(ctx)
	d.reclaimLocks(ctx)
	early := run.early
	run.early = nil
	for _, ev := range early {
		d.qemuEvent(ctx, ev)
	}
	if d.life.State == virt.DomainShutdown && !run.ending {
		d.end(ctx, nil, true, virt.DomainShutoffShutdown, false)
	}
	if a.mon == nil {
		d.reconnect(ctx, 0)
	} else {
		d.reviewDevices(ctx)
		d.reviewBlockJobs(ctx)
	}
	d.saveStatus(ctx)
	d.stash.Release(ctx)
}

// reconnect keeps trying to reach the monitor of a QEMU that does not answer.
func (d *domain) reconnect(ctx actor.Context, wait time.Duration) {
	run := d.run
	path, h := run.dir+"/monitor.sock", monitorHandler(ctx.ActorSystem(), ctx.Self(), run.serial)
	h.Running = d.drv.locks.guard(d.uuid)
	d.aside(ctx, &task{
		name: "reconnect the monitor",
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			for {
				select {
				case <-jc.Done():
					return nil, jc.Err()
				case <-time.After(wait): // no event tells that a socket is listened on again
				}
				wait = reconnectPause
				short, cancel := context.WithTimeout(jc, monitorTimeout)
				out, err := tryMonitor(short, path, h)
				cancel()
				if err == nil {
					return out, nil
				}
				if !run.proc.Alive() || jc.Err() != nil {
					return nil, err
				}
			}
		},
		discard: func(out any) { _ = out.(*reconnected).mon.Close() },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			mon := out.(*reconnected).mon
			if d.run != run || run.ending {
				_ = mon.Close()
				return nil, nil
			}
			run.mon = mon
			d.drv.monitors.put(d.uuid, mon)
			d.log.Info().Msg("QEMU answers again")
			d.heardAgain(ctx, out.(*reconnected).status)
			d.reviewDevices(ctx)
			d.reviewBlockJobs(ctx)
			return nil, nil
		},
	})
}

// diedAway ends a domain whose process went while nobody watched.
func (d *domain) diedAway(ctx actor.Context) {
	run := d.run
	run.ending = true
	leftovers := d.leftovers()
	d.aside(ctx, &task{name: "clean up", run: func(context.Context, *kit.Undo) (any, error) {
		leftovers.forget()
		leftovers.clean(false)
		return nil, nil
	}, apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
		reason := int32(virt.DomainShutoffCrashed)
		if d.life.State == virt.DomainShutdown {
			reason = virt.DomainShutoffShutdown
		}
		d.ended(ctx, run, reason)
		return nil, nil
	}})
}

// scanIdentity finds name and UUID in a stored definition without parsing it: files of ours and of
// libvirt's have both near the top, each on a line of its own.
func scanIdentity(text string) (string, protocol.UUID) {
	text = stripHeader(text)
	name := between(text, "<name>", "</name>")
	return unescape(name), parseUUID(between(text, "<uuid>", "</uuid>"))
}

// scanStatus finds id, state and reason in a status file in the same way.
func scanStatus(text string) (id int32, l life, ok bool) {
	if text == "" {
		return 0, life{}, false
	}
	status := between(text, "<domstatus ", ">")
	l = lifeOf(between(status, "state='", "'"), between(status, "reason='", "'"))
	head := between(text, "<domain ", ">")
	n, err := strconv.ParseInt(between(head, " id='", "'"), 10, 32)
	return int32(n), l, err == nil && l.State != 0
}

func between(s, open, end string) string {
	i := strings.Index(s, open)
	if i < 0 {
		return ""
	}
	s = s[i+len(open):]
	if i = strings.Index(s, end); i < 0 {
		return ""
	}
	return s[:i]
}

// emulatorOf finds the path of QEMU in a stored definition.
func emulatorOf(text string) string { return unescape(between(text, "<emulator>", "</emulator>")) }

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&").Replace(s)
}

// displayPorts lists the TCP ports of a running domain's displays.
func displayPorts(def *libvirtxml.Domain) []int {
	var out []int
	for _, g := range def.Devices.Graphics {
		switch {
		case g.VNC != nil:
			if g.VNC.Port > 0 {
				out = append(out, g.VNC.Port)
			}
			if g.VNC.WebSocket > 0 {
				out = append(out, g.VNC.WebSocket)
			}
		case g.Spice != nil && g.Spice.Port > 0:
			out = append(out, g.Spice.Port)
		}
	}
	return out
}
