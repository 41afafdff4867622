package nodedev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Devices that are made and removed by hand: mediated ones, and virtual ports of fibre channel hosts.

const (
	eventDefined   = virt.NodeDeviceEventDefined
	eventUndefined = virt.NodeDeviceEventUndefined
)

// newDevicePatience is how long the kernel may take until what was made shows in sysfs.
const newDevicePatience = time.Minute

var errUnsupportedType = liberr.New(from, liberr.ConfigUnsupported, "Unsupported device type")

func (d *driver) createXML(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NodeDeviceCreateXMLValidate, from, "nodeDeviceCreateXML"); err != nil {
		return err
	}
	d.parsed(ctx, r, a.XMLDesc, a.Flags&virt.NodeDeviceCreateXMLValidate != 0, func(ctx actor.Context, w *wanted) error {
		reply := func(name string) {
			r.Reply(&protocol.NodeDeviceCreateXMLRet{Dev: protocol.NodeDevice{Name: name}})
		}
		switch w.kind {
		case kindSCSIHost:
			return d.createVport(ctx, r, w, reply)
		case kindMdev:
			if w.parent == "" {
				return liberr.New(from, liberr.XMLError, "cannot create a mediated device without a parent")
			}
			d.createMdev(ctx, r, w.mdev, reply)
			return nil
		}
		return errUnsupportedType
	})
	return nil
}

func (d *driver) defineXML(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceDefineXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NodeDeviceDefineXMLValidate, from, "nodeDeviceDefineXML"); err != nil {
		return err
	}
	d.parsed(ctx, r, a.XMLDesc, a.Flags&virt.NodeDeviceDefineXMLValidate != 0, func(ctx actor.Context, w *wanted) error {
		switch {
		case w.kind != kindMdev:
			return errUnsupportedType
		case w.parent == "":
			return liberr.New(from, liberr.XMLError, "cannot define a mediated device without a parent")
		}
		d.defineMdev(ctx, r, w.mdev)
		return nil
	})
	return nil
}

// definedArgs are the arguments by which mdevctl gets a definition, whose text goes to its standard input.
func (m *mdevDef) definedArgs(verb string) []string {
	args := []string{verb, "--parent=" + m.parent, "--jsonfile=/dev/stdin"}
	if m.uuid != "" {
		args = append(args, "--uuid="+m.uuid)
	}
	return args
}

// named completes a definition with the UUID that the tool chose.
func (m *mdevDef) named(out string) *mdevDef {
	c := *m
	if c.uuid == "" {
		c.uuid = strings.TrimSpace(out)
	}
	return &c
}

func (d *driver) defineMdev(ctx actor.Context, r *call.Request, m *mdevDef) {
	h := d.host
	d.enqueue(ctx, mdevTask{"define mediated device",
		func(jc context.Context) (any, error) {
			out, complaint, err := h.mdevctl(jc, m.json(), m.definedArgs("define")...)
			if err != nil {
				return nil, failed(err, complaint, "Unable to define mediated device")
			}
			made := m.named(out)
			h.syncMdevs(made.parent)
			return made, nil
		},
		func(ctx actor.Context, out any, err error) {
			made, ok := out.(*mdevDef)
			if err != nil || !ok {
				r.Fail(liberr.From(from, err))
				return
			}
			d.redefine(ctx, with(d.defs, made.name(), made))
			r.Reply(&protocol.NodeDeviceDefineXMLRet{Dev: protocol.NodeDevice{Name: made.name()}})
		}})
}

// syncMdevs puts what the tool wrote on disk: it does not do so itself.
func (h host) syncMdevs(parent string) {
	if h.mdevs == "" {
		return
	}
	dir := filepath.Join(h.mdevs, parent)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		syncPath(filepath.Join(dir, e.Name()))
	}
	syncPath(dir)
	syncPath(h.mdevs)
}

func syncPath(path string) {
	if f, err := os.Open(path); err == nil {
		_ = f.Sync() // the folder of a parent that has no definitions left is gone
		_ = f.Close()
	}
}

func (d *driver) createMdev(ctx actor.Context, r *call.Request, m *mdevDef, reply func(name string)) {
	h := d.host
	d.enqueue(ctx, mdevTask{"create mediated device",
		func(jc context.Context) (any, error) {
			out, complaint, err := h.mdevctl(jc, m.json(), m.definedArgs("start")...)
			if err != nil {
				return nil, failed(err, complaint, "Unable to start mediated device")
			}
			return m.named(out), nil
		},
		func(ctx actor.Context, out any, err error) {
			made, ok := out.(*mdevDef)
			if err != nil || !ok {
				r.Fail(liberr.From(from, err))
				return
			}
			// Compat: libvirt says no more than that.
			d.await(ctx, r, func() string {
				if d.byName[made.name()] != nil {
					return made.name()
				}
				return ""
			}, reply, errNothing())
		}})
}

// errNothing is libvirt's error where it fails without one.
func errNothing() *liberr.Error {
	e := liberr.Raw(liberr.FromNone, liberr.InternalError, "An error occurred, but the cause is unknown")
	e.Str1, e.Str2 = "", ""
	return e
}

// awaited is a call that waits for a device.
type awaited struct {
	find     func() string // its name, "" when it is not there yet
	found    func(name string)
	missing  error
	deadline time.Time
	r        *call.Request
}

// lookAgain asks for a scan for those that wait for a device.
type lookAgain struct{}

// await answers when a device has appeared, or with the error when it does not in time.
func (d *driver) await(ctx actor.Context, r *call.Request, find func() string, found func(string), missing error) {
	if name := find(); name != "" {
		found(name)
		return
	}
	d.waiting = append(d.waiting, &awaited{find, found, missing, time.Now().Add(newDevicePatience), r})
	d.scan(ctx)
}

// lookForAwaited runs after each scan.
func (d *driver) lookForAwaited(ctx actor.Context) {
	rest := d.waiting[:0]
	for _, w := range d.waiting {
		switch name := w.find(); {
		case name != "":
			w.found(name)
		case time.Now().After(w.deadline):
			w.r.Fail(w.missing)
		default:
			rest = append(rest, w)
		}
	}
	clear(d.waiting[len(rest):])
	d.waiting = rest
	if len(rest) > 0 && !d.looking {
		d.looking = true
		self, root := ctx.Self(), ctx.ActorSystem().Root
		time.AfterFunc(200*time.Millisecond, func() { root.Send(self, &lookAgain{}) })
	}
}

// afterScan runs f when sysfs has been looked at once more, from now on.
func (d *driver) afterScan(ctx actor.Context, f func()) {
	d.afterNext = append(d.afterNext, f)
	d.scan(ctx)
}

func (d *driver) create(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceCreateArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceCreate"); err != nil {
		return err
	}
	dev, err := d.find(a.Name)
	switch {
	case err != nil:
		return err
	case dev.active():
		return liberr.New(from, liberr.OperationInvalid, "Device is already active")
	}
	h, id := d.host, dev.def.uuid
	d.use(ctx, r, mdevTask{name: "start mediated device", run: func(jc context.Context) (any, error) {
		if _, complaint, err := h.mdevctl(jc, "", "start", "--uuid="+id); err != nil {
			return nil, failed(err, complaint, "Unable to create mediated device")
		}
		return nil, nil
	}}, func(ctx actor.Context) { d.afterScan(ctx, func() { r.Reply(nil) }) })
	return nil
}

// use runs the tool; done answers the call when that went well.
func (d *driver) use(ctx actor.Context, r *call.Request, t mdevTask, done func(actor.Context)) {
	t.then = func(ctx actor.Context, _ any, err error) {
		if err != nil {
			r.Fail(liberr.From(from, err))
			return
		}
		done(ctx)
	}
	d.enqueue(ctx, t)
}

func (d *driver) destroy(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceDestroyArgs) error {
	dev, err := d.find(a.Name)
	switch {
	case err != nil:
		return err
	case dev.kind == kindSCSIHost:
		return d.destroyVport(ctx, r, dev)
	case dev.kind != kindMdev:
		return errUnsupportedType
	case !dev.active():
		return liberr.New(from, liberr.OperationInvalid, "Device '%s' is not active", dev.name)
	}
	h := d.host
	d.use(ctx, r, mdevTask{name: "stop mediated device", run: func(jc context.Context) (any, error) {
		if h.inUse(dev) {
			return nil, liberr.New(from, liberr.InternalError, "Unable to destroy '%s': device in use", dev.name)
		}
		if _, complaint, err := h.mdevctl(jc, "", "stop", "--uuid="+filepath.Base(dev.dir)); err != nil {
			return nil, failed(err, complaint, "Unable to destroy '%s'", dev.name)
		}
		return nil, nil
	}}, func(ctx actor.Context) { d.afterScan(ctx, func() { r.Reply(nil) }) })
	return nil
}

// inUse tells whether a guest has the device: the kernel opens a group for one at a time.
func (h host) inUse(dev *device) bool {
	group := linkName(dev.dir, "iommu_group")
	if group == "" {
		return false
	}
	f, err := os.Open(filepath.Join(h.dev, "vfio", group))
	if err == nil {
		_ = f.Close()
	}
	return errors.Is(err, unix.EBUSY)
}

func (d *driver) undefine(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceUndefineArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceUndefine"); err != nil {
		return err
	}
	dev, err := d.find(a.Name)
	switch {
	case err != nil:
		return err
	case dev.kind == kindSystem:
		return errUnsupportedType
	case dev.def == nil:
		return liberr.New(from, liberr.OperationInvalid, "Node device '%s' is not defined", a.Name)
	}
	h, def := d.host, dev.def
	d.use(ctx, r, mdevTask{name: "undefine mediated device", run: func(jc context.Context) (any, error) {
		if _, complaint, err := h.mdevctl(jc, "", "undefine", "--uuid="+def.uuid); err != nil {
			return nil, failed(err, complaint, "Unable to undefine mediated device")
		}
		h.syncMdevs(def.parent)
		return nil, nil
	}}, func(ctx actor.Context) {
		d.redefine(ctx, with(d.defs, def.name(), nil))
		r.Reply(nil)
	})
	return nil
}

func (d *driver) setAutostart(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceSetAutostartArgs) error {
	dev, err := d.find(a.Name)
	switch {
	case err != nil:
		return err
	case dev.kind != kindMdev:
		return liberr.New(from, liberr.OperationUnsupported, "Unsupported device type")
	case dev.def == nil:
		return liberr.New(from, liberr.OperationInvalid, "cannot set autostart for transient device")
	case dev.def.auto == (a.Autostart != 0):
		r.Reply(nil)
		return nil
	}
	h, def, how := d.host, *dev.def, "--manual"
	if def.auto = a.Autostart != 0; def.auto {
		how = "--auto"
	}
	d.use(ctx, r, mdevTask{name: "autostart of mediated device", run: func(jc context.Context) (any, error) {
		if _, complaint, err := h.mdevctl(jc, "", "modify", "--uuid", def.uuid, how); err != nil {
			return nil, failed(err, complaint, "Unable to set autostart on '%s'", def.name())
		}
		h.syncMdevs(def.parent)
		return nil, nil
	}}, func(ctx actor.Context) {
		d.redefine(ctx, with(d.defs, def.name(), &def))
		r.Reply(nil)
	})
	return nil
}
