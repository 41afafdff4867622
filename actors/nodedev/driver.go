package nodedev

import (
	"context"
	"strings"
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

// driver is the branch actor: who is there, by the last scan.
type driver struct {
	env  *branch.Env
	host host

	bus      branch.Bus
	watch    *watcher // nil when the kernel gives no news: the first scan stands
	devices  []*device
	byName   map[string]*device // nil until the first scan
	scanning uint64             // serial of the running scan; 0 = none
	again    bool               // there were news since it began
	changed  map[string]bool    // folders below /sys of devices that changed
	desk     branch.Desk
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
		for _, path := range m.changed {
			d.changed[path] = true
		}
		d.scan(ctx)
	case *scanDone:
		d.scanned(ctx, m)
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
	w, err := newWatcher(func(n *news) { root.Send(self, n) })
	if err != nil {
		d.env.Log.Error().Err(err).Msg("no news of devices")
	}
	d.watch = w
	d.scan(ctx)
}

func (d *driver) stop() {
	if d.watch != nil {
		d.watch.close()
		d.watch = nil
	}
}

// scan looks again, or notes that it must when the running scan is over.
func (d *driver) scan(ctx actor.Context) {
	if d.scanning != 0 {
		d.again = true
		return
	}
	d.again = false
	h := d.host
	d.scanning = kit.Job[[]*device]{Name: "scan devices", Timeout: patience, Run: func(context.Context, *kit.Undo) ([]*device, error) {
		return h.scan(nil, nil), nil
	}}.Start(ctx).Serial
}

// scanned takes the new list and tells what is new, gone or changed in it.
func (d *driver) scanned(ctx actor.Context, m *scanDone) {
	if m.Serial != d.scanning { // of an earlier life of this actor
		return
	}
	d.scanning = 0
	if m.Err != nil {
		panic(m.Err) // the supervisor starts the branch again
	}
	before := d.byName
	d.devices, d.byName = m.Value, make(map[string]*device, len(m.Value))
	for _, dev := range m.Value {
		d.byName[dev.name] = dev
	}
	if before == nil {
		d.desk.Release(ctx)
	} else {
		d.tell(ctx, before)
	}
	clear(d.changed)
	if d.again {
		d.scan(ctx)
	}
}

func (d *driver) tell(ctx actor.Context, before map[string]*device) {
	for name := range before {
		if d.byName[name] == nil {
			d.lifecycle(ctx, name, virt.NodeDeviceEventDeleted)
		}
	}
	for _, dev := range d.devices {
		switch {
		case before[dev.name] == nil:
			d.lifecycle(ctx, dev.name, virt.NodeDeviceEventCreated)
		case d.changed[strings.TrimPrefix(dev.dir, d.host.sys)]:
			d.publish(ctx, dev.name, virt.NodeDeviceEventIDUpdate, &protocol.NodeDeviceEventUpdateMsg{Dev: protocol.NodeDevice{Name: dev.name}})
		}
	}
}

func (d *driver) lifecycle(ctx actor.Context, name string, event int32) {
	d.env.Log.Debug().Str("device", name).Bool("created", event == virt.NodeDeviceEventCreated).Msg("node device")
	d.publish(ctx, name, virt.NodeDeviceEventIDLifecycle, &protocol.NodeDeviceEventLifecycleMsg{Dev: protocol.NodeDevice{Name: name}, Event: event})
}

// callbackID is the size of the id that the client's actor puts before an event.
const callbackID = 4

func (d *driver) publish(ctx actor.Context, name string, id int32, m protocol.Encoder) {
	if d.bus.Subscribers() > 0 {
		d.bus.Publish(ctx, &call.Event{Object: "node_device", ID: id, Name: name, Payload: m.AppendXDR(nil)[callbackID:]})
	}
}
