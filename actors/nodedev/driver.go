package nodedev

import (
	"context"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const from = liberr.FromNodedev

// patience is how long a look at sysfs may take.
const patience = time.Minute

// driver is the branch actor: who is there, by the last scan, and which mediated devices are defined.
type driver struct {
	env  *branch.Env
	host host

	bus   branch.Bus
	desk  branch.Desk
	watch *watcher     // nil when the kernel gives no news: the first scan stands
	mdevs *mdevWatcher // nil when the folder of definitions cannot be watched

	scanned []*device           // the last scan
	defs    map[string]*mdevDef // definitions by the names of their devices; replaced, never changed
	devices []*device           // both together
	byName  map[string]*device  // nil until the first scan

	scanning  uint64          // serial of the running scan; 0 = none
	again     bool            // there were news since it began
	stale     map[string]bool // folders of devices that the next scan must look at; nil: at all
	changed   map[string]bool // folders of devices that changed
	defsKnown bool            // the definitions were read once
	begun     bool            // calls are served
	tasks     []mdevTask      // for mdevctl, in order; the first one runs

	waiting   []*awaited // calls that wait for a device to appear
	looking   bool       // a timer runs for them
	afterNext []func()   // run after the scan that begins next
	afterThis []func()   // run after the scan that runs
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer { return newOn(env, thisHost) }

func newOn(env *branch.Env, h host) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, host: h, bus: branch.Bus{Hold: env.Hold}, changed: map[string]bool{}, desk: branch.NewDesk(from, "node device driver")}
	}
}

// scanDone is the result of a scan.
type scanDone = kit.Done[[]*device]

// overdue ends the wait of early calls for definitions.
type overdue struct{}

// Urgent puts it before the calls that come meanwhile.
func (*overdue) Urgent() bool { return true }

// firstPass is how long calls wait at most for definitions, which a program must be asked for. What comes later makes events.
const firstPass = 40 * time.Millisecond

// Receive serves calls, and follows the kernel.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.started(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.stop()
	case *news:
		d.heard(ctx, m)
	case *mdevNews:
		d.listMdevs(ctx)
	case *lookAgain:
		d.looking = false
		d.scan(ctx)
	case *overdue:
		d.defsKnown = true
		d.ready(ctx)
	case *scanDone:
		d.apply(ctx, m)
	case *call.Call:
		if !d.desk.Hold(ctx) {
			branch.Serve(&d.desk, routes, d, ctx, m)
		}
	default:
		kit.Unhandled(ctx, m)
	}
}

// started listens before it looks, so that nothing falls between the two.
func (d *driver) started(ctx actor.Context) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	w, err := newWatcher(filepath.Join(filepath.Dir(d.host.udev), "control"), func(n *news) { root.Send(self, n) })
	if err != nil {
		d.env.Log.Error().Err(err).Msg("no news of devices")
	}
	d.watch = w
	if d.mdevs, err = watchMdevs(d.host.mdevs, func() { root.Send(self, &mdevNews{}) }); err != nil {
		d.env.Log.Error().Err(err).Msg("no news of mediated devices' definitions")
	}
	d.scan(ctx)
	if !d.host.hasDefinitions() {
		d.defsKnown = true
		return
	}
	d.listMdevs(ctx)
	time.AfterFunc(firstPass, func() { root.Send(self, &overdue{}) })
}

func (d *driver) stop() {
	if d.watch != nil {
		d.watch.close()
		d.watch = nil
	}
	if d.mdevs != nil {
		d.mdevs.close()
		d.mdevs = nil
	}
}

// ready serves the calls that came early, once there is something to answer from.
func (d *driver) ready(ctx actor.Context) {
	if !d.begun && d.byName != nil && d.defsKnown {
		d.begun = true
		d.desk.Release(ctx)
	}
}

// heard notes what the kernel told, and looks.
func (d *driver) heard(ctx actor.Context, n *news) {
	if n.all {
		d.stale = nil
	} else if d.stale != nil {
		for _, path := range n.paths { // what lies above it too: a host is told apart by a folder in it
			for ; len(path) > 1; path = filepath.Dir(path) {
				d.stale[d.host.sys+path] = true
			}
		}
	}
	for _, path := range n.changed {
		d.changed[d.host.sys+path] = true
	}
	d.scan(ctx)
}

// scan looks again, or notes that it must when the running scan is over.
func (d *driver) scan(ctx actor.Context) {
	if d.scanning != 0 {
		d.again = true
		return
	}
	d.again = false
	d.afterThis, d.afterNext = d.afterNext, nil
	h, known, stale := d.host, d.scanned, d.stale
	h.quick = d.byName == nil
	if stale == nil {
		known = nil
	}
	d.stale = map[string]bool{}
	d.scanning = kit.Job[[]*device]{Name: "scan devices", Timeout: patience, Run: func(context.Context, *kit.Undo) ([]*device, error) {
		return h.scan(known, stale), nil
	}}.Start(ctx).Serial
}

// index joins the scan and the definitions.
func (d *driver) index() {
	d.devices = merge(d.scanned, d.defs)
	d.byName = make(map[string]*device, len(d.devices))
	for _, dev := range d.devices {
		d.byName[dev.name] = dev
	}
}

// apply takes the new list and tells what is new, gone or changed in it.
func (d *driver) apply(ctx actor.Context, m *scanDone) {
	if m.Serial != d.scanning { // of an earlier life of this actor
		return
	}
	d.scanning = 0
	if m.Err != nil {
		panic(m.Err) // the supervisor starts the branch again
	}
	first, before := d.byName == nil, d.scanned
	d.scanned = m.Value
	d.index()
	if first {
		d.ready(ctx)
	} else {
		d.tell(ctx, before)
	}
	d.lookForAwaited(ctx)
	for _, f := range d.afterThis {
		f()
	}
	d.afterThis = nil
	for _, dev := range d.scanned {
		if dev.unread {
			d.stale[dev.dir], d.again = true, true
		}
	}
	if d.again {
		d.scan(ctx)
	}
}

// tell compares two scans. A folder that another device of the same name lies in now is news too.
func (d *driver) tell(ctx actor.Context, before []*device) {
	was := make(map[string]bool, len(before))
	for _, dev := range before {
		was[dev.name] = true
	}
	is := make(map[string]bool, len(d.scanned))
	for _, dev := range d.scanned {
		is[dev.name] = true
	}
	for _, dev := range before {
		if !is[dev.name] {
			d.lifecycle(ctx, dev.name, virt.NodeDeviceEventDeleted)
		}
	}
	for _, dev := range d.scanned {
		switch {
		case !was[dev.name]:
			d.lifecycle(ctx, dev.name, virt.NodeDeviceEventCreated)
		case d.changed[dev.dir]:
			d.updated(ctx, dev.name)
		}
	}
	clear(d.changed)
}

var eventNames = map[int32]string{virt.NodeDeviceEventCreated: "created", virt.NodeDeviceEventDeleted: "deleted", eventDefined: "defined", eventUndefined: "undefined"}

func (d *driver) lifecycle(ctx actor.Context, name string, event int32) {
	d.env.Log.Debug().Str("device", name).Str("event", eventNames[event]).Msg("node device")
	d.publish(ctx, name, virt.NodeDeviceEventIDLifecycle, &protocol.NodeDeviceEventLifecycleMsg{Dev: protocol.NodeDevice{Name: name}, Event: event})
}

func (d *driver) updated(ctx actor.Context, name string) {
	d.publish(ctx, name, virt.NodeDeviceEventIDUpdate, &protocol.NodeDeviceEventUpdateMsg{Dev: protocol.NodeDevice{Name: name}})
}

// callbackID is the size of the id that the client's actor puts before an event.
const callbackID = 4

func (d *driver) publish(ctx actor.Context, name string, id int32, m protocol.Encoder) {
	if d.bus.Subscribers() > 0 {
		d.bus.Publish(ctx, &call.Event{Object: "node_device", ID: id, Name: name, Payload: m.AppendXDR(nil)[callbackID:]})
	}
}
