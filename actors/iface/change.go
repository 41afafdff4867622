package iface

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/iface/conf"
	"virtree/actors/iface/def"
	"virtree/actors/iface/live"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// changePatience bounds a change: a rollback stops and starts several interfaces, each with its DHCP client.
const changePatience = 3 * time.Minute

// work is what a change goes by: the host as it is now, and who starts and stops.
type work struct {
	host
	live live.Applier
	log  zerolog.Logger
}

// changing runs a handler as a job, one after another in the order of the calls: two changes of one configuration at the
// same time would lose one of the two. Without a configuration nothing can be changed, and libvirt's answer is that of a
// backend that has no such function.
func changing[A, R any, PA call.Decodable[A], PR call.Encodable[R]](p protocol.Proc[A, R], h func(context.Context, *work, PA) (PR, error)) call.Route[*driver] {
	return call.Later(p, func(d *driver, ctx actor.Context, r *call.Request, a PA) error {
		at, run, log := d.host, d.env.Paths.DriverRun("interface"), d.env.Log
		d.queue(ctx, kit.Job[any]{Name: p.Name, Timeout: changePatience, Run: func(c context.Context, _ *kit.Undo) (any, error) {
			at, err := at.look()
			if err != nil {
				return nil, err
			}
			used := at.store
			if used == nil && at.files != nil { // all files may be gone by what a transaction can bring back
				if used, err = at.files.Pending(); err != nil {
					return nil, err
				}
			}
			if used == nil {
				return nil, call.Unsupported(p.Procedure)
			}
			at.store = used
			ret, err := h(c, &work{at, live.For(used.Kind(), at.files.Root, run), log}, a)
			if err != nil {
				return nil, err
			}
			return ret, nil
		}}, func(out any, err error) {
			if err != nil {
				r.Fail(liberr.From(from, err))
				return
			}
			r.Reply(out.(PR))
		})
		return nil
	})
}

// queue runs a job when those before it are done.
func (d *driver) queue(ctx actor.Context, job kit.Job[any], then func(out any, err error)) {
	d.changes = append(d.changes, func(ctx actor.Context) {
		d.desk.Do(ctx, job, func(ctx actor.Context, out any, err error) {
			then(out, err)
			d.changes[0] = nil
			if d.changes = d.changes[1:]; len(d.changes) > 0 {
				d.changes[0](ctx)
			}
		})
	})
	if len(d.changes) == 1 {
		d.changes[0](ctx)
	}
}

// recover brings the configuration to a good end that a crash of ours, or of the host, has left half changed.
func (d *driver) recover(ctx actor.Context) {
	files := d.host.files
	if files == nil {
		return
	}
	d.queue(ctx, kit.Job[any]{Name: "recover", Timeout: patience, Run: func(context.Context, *kit.Undo) (any, error) {
		return files.Recover()
	}}, func(out any, err error) {
		switch {
		case err != nil:
			d.env.Log.Error().Err(err).Msg("cannot recover the configuration of the host's interfaces")
		case out == true:
			d.env.Log.Warn().Msg("the host went down within a change of its interfaces' configuration: it is rolled back")
		}
	})
}

// failed is an error as libvirt's netcf driver gives it. what says what failed.
func failed(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	text := err.Error()
	var path *fs.PathError
	switch {
	case errors.Is(err, conf.ErrInvalidOperation):
		return liberr.New(from, liberr.OperationInvalid, "%s: %s", what, text)
	case errors.As(err, &path):
		text = "File operation failed - " + text
	}
	return liberr.New(from, liberr.InternalError, "%s: %s", what, text).WithCause(err)
}

func define(_ context.Context, w *work, a *protocol.InterfaceDefineXMLArgs) (*protocol.InterfaceDefineXMLRet, error) {
	if err := call.CheckFlags(a.Flags, virt.InterfaceDefineValidate, from, "netcfInterfaceDefineXML"); err != nil {
		return nil, err
	}
	if a.Flags&virt.InterfaceDefineValidate != 0 {
		if err := def.Validate(a.XML); err != nil {
			return nil, err
		}
	}
	i, err := def.Parse(a.XML)
	if err != nil {
		return nil, err
	}
	// Compat: netcf's driver words a definition that fails as if it had been a question for the document.
	if err := i.Check(); err != nil {
		return nil, liberr.New(from, liberr.XMLError, "could not get interface XML description: XML invalid form - %s", err)
	}
	if err := w.files.Define(w.store, i); err != nil {
		return nil, failed(err, "could not get interface XML description")
	}
	w.log.Info().Str("interface", i.Name).Str("type", i.Type).Str("configuration", w.store.Kind()).Msg("interface defined")
	l, err := w.link(i.Name)
	if err != nil {
		l = link{name: i.Name}
	}
	l.def = i
	return &protocol.InterfaceDefineXMLRet{Iface: l.wire()}, nil
}

// defined returns the definition of a name; netcf knows no interface without one.
func (w *work) defined(name string) (*def.Interface, error) {
	if i := w.defs[name]; i != nil {
		return i, nil
	}
	return nil, missing(name)
}

func undefine(_ context.Context, w *work, a *protocol.InterfaceUndefineArgs) (*protocol.Void, error) {
	i, err := w.defined(a.Iface.Name)
	if err != nil {
		return nil, err
	}
	if err := w.files.Undefine(w.store, i.Name); err != nil {
		return nil, failed(err, "failed to undefine interface %s", i.Name)
	}
	w.log.Info().Str("interface", i.Name).Msg("interface undefined")
	return &protocol.Void{}, nil
}

func (w *work) active(name string) bool {
	l, err := w.link(name)
	return err == nil && l.state() == "up"
}

func create(ctx context.Context, w *work, a *protocol.InterfaceCreateArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "netcfInterfaceCreate"); err != nil {
		return nil, err
	}
	i, err := w.defined(a.Iface.Name)
	switch {
	case err != nil:
		return nil, err
	case w.active(i.Name):
		return nil, liberr.New(from, liberr.OperationInvalid, "interface is already running")
	}
	if err := w.live.Up(ctx, i); err != nil {
		return nil, failed(err, "failed to create (start) interface %s", i.Name)
	}
	w.log.Info().Str("interface", i.Name).Msg("interface started")
	return &protocol.Void{}, nil
}

func destroy(ctx context.Context, w *work, a *protocol.InterfaceDestroyArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "netcfInterfaceDestroy"); err != nil {
		return nil, err
	}
	i, err := w.defined(a.Iface.Name)
	switch {
	case err != nil:
		return nil, err
	case !w.active(i.Name):
		return nil, liberr.New(from, liberr.OperationInvalid, "interface is not running")
	}
	if err := w.live.Down(ctx, i); err != nil {
		return nil, failed(err, "failed to destroy (stop) interface %s", i.Name)
	}
	w.log.Info().Str("interface", i.Name).Msg("interface stopped")
	return &protocol.Void{}, nil
}

func begin(_ context.Context, w *work, a *protocol.InterfaceChangeBeginArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "netcfInterfaceChangeBegin"); err != nil {
		return nil, err
	}
	var active []string
	for name := range w.defs {
		if w.active(name) {
			active = append(active, name)
		}
	}
	if err := w.files.Begin(active); err != nil {
		return nil, failed(err, "failed to begin transaction")
	}
	return &protocol.Void{}, nil
}

func commit(_ context.Context, w *work, a *protocol.InterfaceChangeCommitArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "netcfInterfaceChangeCommit"); err != nil {
		return nil, err
	}
	if err := w.files.Commit(); err != nil {
		return nil, failed(err, "failed to commit transaction")
	}
	return &protocol.Void{}, nil
}

func rollback(ctx context.Context, w *work, a *protocol.InterfaceChangeRollbackArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "netcfInterfaceChangeRollback"); err != nil {
		return nil, err
	}
	stop := func(i *def.Interface) error {
		if !w.active(i.Name) {
			return nil
		}
		return w.live.Down(ctx, i)
	}
	start := func(i *def.Interface) error { return w.live.Up(ctx, i) }
	warn := func(name string, err error) {
		w.log.Error().Err(err).Str("interface", name).Msg("rollback of the interfaces' configuration")
	}
	if err := w.files.Rollback(stop, start, warn); err != nil {
		return nil, failed(err, "failed to rollback transaction")
	}
	w.log.Info().Msg("the interfaces' configuration is rolled back")
	return &protocol.Void{}, nil
}
