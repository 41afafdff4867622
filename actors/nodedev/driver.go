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
	waiting  []*actor.MessageEnvelope
	scanning uint64          // serial of the running scan; 0 = none
	again    bool            // there were news since it began
	changed  map[string]bool // folders below /sys of devices that changed
	pending  map[uint64]*call.Request
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer { return newOn(env, thisHost) }

func newOn(env *branch.Env, h host) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, host: h, changed: map[string]bool{}, pending: map[uint64]*call.Request{}}
	}
}

// Results of jobs.
type (
	scanDone = kit.Done[[]*device]
	answer   = kit.Done[protocol.Encoder]
)

// Receive serves calls, and follows the kernel.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.started(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.stop(ctx)
	case *news:
		for _, path := range m.changed {
			d.changed[path] = true
		}
		d.scan(ctx)
	case *scanDone:
		d.scanned(ctx, m)
	case *answer:
		if r := d.pending[m.Serial]; r != nil {
			delete(d.pending, m.Serial)
			r.Finish(m.Value, m.Err)
		}
	case *call.Call:
		if d.byName == nil {
			d.waiting = append(d.waiting, &actor.MessageEnvelope{Message: m, Sender: ctx.Sender()})
			return
		}
		routes.Serve(d, ctx, m, from)
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

func (d *driver) stop(ctx actor.Context) {
	if d.watch != nil {
		d.watch.close()
		d.watch = nil
	}
	gone := liberr.New(from, liberr.InternalError, "the node device driver is gone")
	for _, w := range d.waiting {
		kit.Refuse(ctx.ActorSystem(), w.Sender, w.Message, gone)
	}
	for _, r := range d.pending {
		r.Fail(gone)
	}
	d.waiting = nil
	kit.CancelJobs(ctx)
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
		return h.scan(), nil
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
		d.serveWaiting(ctx)
	} else {
		d.tell(ctx, before)
	}
	clear(d.changed)
	if d.again {
		d.scan(ctx)
	}
}

func (d *driver) serveWaiting(ctx actor.Context) {
	for _, w := range d.waiting {
		ctx.RequestWithCustomSender(ctx.Self(), w.Message, w.Sender)
	}
	d.waiting = nil
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
