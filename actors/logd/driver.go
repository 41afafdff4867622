package logd

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromLogging

// driver is the branch actor: the files that are open and what is being done to them.
type driver struct {
	env *branch.Env
	cfg Config

	bus     branch.Bus // virtlogd has no events; who subscribes hears nothing
	watch   *watcher   // nil where inotify is used up: files are then not rotated while they are open
	files   map[string]*file
	watches map[int32]string // watch number -> path
	release func()           // ends the hold on the process; nil when no file is open
	saving  bool             // a job writes the list
	dirty   bool             // the list has changed since

	desk branch.Desk
}

// file is a log that a guest may write to.
type file struct {
	watch      int32
	inspecting bool // a job looks at it
	again      bool // it was touched meanwhile
	rotating   bool // a job rotates it
}

// New makes the branch actor.
func New(env *branch.Env, cfg Config) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, cfg: cfg, files: map[string]*file{}, watches: map[int32]string{}, desk: branch.NewDesk(from, "log driver")}
	}
}

// Receive serves calls and applies what jobs and the watcher report.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.started(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.stop()
	case *call.Call:
		branch.Serve(&d.desk, routes, d, ctx, m)
	case *touched:
		d.touched(ctx, m)
	default:
		kit.Unhandled(ctx, m)
	}
}

// routes is the driver's table of contents.
var routes = call.NewTable(
	call.Later(protocol.LogOpenLogFile, (*driver).open),
	call.Later(protocol.LogGetLogFilePosition, (*driver).position),
	call.Later(protocol.LogReadLogFile, (*driver).read),
	call.Later(protocol.LogAppendLogFile, (*driver).append),
)

func (d *driver) started(ctx actor.Context) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	w, err := newWatcher(func(t *touched) { root.Send(self, t) })
	if err != nil {
		d.env.Log.Error().Err(err).Msg("log files are not watched, so not rotated")
	}
	d.watch = w
	list := d.listFile()
	d.job(ctx, "restore", func() any { return &restored{readList(list)} }, d.logged("the list of open log files was not read"))
}

func (d *driver) stop() {
	if d.watch != nil {
		d.watch.close()
		d.watch = nil
	}
	if d.release != nil {
		d.release()
		d.release = nil
	}
}

// logged is what to do about a failed job that nobody waits for.
func (d *driver) logged(what string) func(error) {
	return func(err error) { d.env.Log.Error().Err(err).Msg(what) }
}

// open ignores flags it does not know, as virtlogd does.
func (d *driver) open(ctx actor.Context, r *call.Request, a *protocol.LogDomainOpenLogFileArgs) error {
	truncate := a.Flags&uint32(protocol.LogManagerProtocolDomainOpenLogFileTruncate) != 0
	path := a.Path
	d.job(ctx, "open "+path, func() any {
		fd, pos, err := openForGuest(path, truncate)
		return &opened{r, path, fd, pos, err}
	}, r.Fail)
	return nil
}

func (d *driver) opened(ctx actor.Context, m *opened) {
	if m.err != nil {
		m.req.Fail(m.err)
		return
	}
	d.track(ctx, m.path)
	m.req.ReplyRaw(&call.Reply{Ret: (&protocol.LogDomainOpenLogFileRet{Pos: m.pos}).AppendXDR(nil), FDs: []int{m.fd}})
}

func (d *driver) position(ctx actor.Context, r *call.Request, a *protocol.LogDomainGetLogFilePositionArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "virLogHandlerDomainGetLogFilePosition"); err != nil {
		return err
	}
	if d.files[a.Path] == nil {
		return liberr.New(from, liberr.InternalError, "No open log file %s", a.Path)
	}
	d.answer(ctx, r, func() (protocol.Encoder, error) {
		pos, err := end(a.Path)
		return &protocol.LogDomainGetLogFilePositionRet{Pos: pos}, err
	})
	return nil
}

func (d *driver) read(ctx actor.Context, r *call.Request, a *protocol.LogDomainReadLogFileArgs) error {
	if a.Maxlen > protocol.LogManagerProtocolStringMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "Requested data len %d is larger than maximum %d", a.Maxlen, protocol.LogManagerProtocolStringMax)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "virLogHandlerDomainReadLogFile"); err != nil {
		return err
	}
	backups := d.cfg.MaxBackups
	d.answer(ctx, r, func() (protocol.Encoder, error) {
		data, err := readFrom(a.Path, backups, a.Pos, int(a.Maxlen))
		return &protocol.LogDomainReadLogFileRet{Data: string(data)}, err
	})
	return nil
}

// append need not look at the size: what is open is watched, and a file that nobody has open is of one boot's few lines.
func (d *driver) append(ctx actor.Context, r *call.Request, a *protocol.LogDomainAppendLogFileArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "virLogHandlerDomainAppendLogFile"); err != nil {
		return err
	}
	d.answer(ctx, r, func() (protocol.Encoder, error) {
		return &protocol.LogDomainAppendLogFileRet{}, appendTo(a.Path, a.Message)
	})
	return nil
}

// track remembers that somebody may write to the file.
func (d *driver) track(ctx actor.Context, path string) {
	f := d.files[path]
	if f == nil {
		f = &file{}
		d.files[path] = f
		d.save(ctx)
	}
	f.again = f.again || f.inspecting // what is being found out may be from before this open
	if d.watch != nil {
		// Watching costs one system call on a local file, and must be in place before the guest has its descriptor. A file
		// that was replaced since has a new watch.
		n, err := d.watch.add(path)
		if err != nil {
			d.env.Log.Warn().Err(err).Str("path", path).Msg("log file is not watched, so not rotated")
		} else {
			f.watch = n
			d.watches[n] = path
		}
	}
	if d.release == nil {
		d.release = d.env.Hold("log files are open")
	}
}

// forget drops a file that nobody can write to any more.
func (d *driver) forget(ctx actor.Context, path string) {
	f := d.files[path]
	if f.watch != 0 && d.watch != nil {
		d.watch.remove(f.watch)
		delete(d.watches, f.watch)
	}
	delete(d.files, path)
	if len(d.files) == 0 && d.release != nil {
		d.release()
		d.release = nil
	}
	d.save(ctx)
}

func (d *driver) touched(ctx actor.Context, m *touched) {
	if m.lost {
		for path := range d.files {
			d.inspect(ctx, path)
		}
		return
	}
	for _, n := range m.watches {
		if path, ok := d.watches[n]; ok {
			d.inspect(ctx, path)
		}
	}
}

func (d *driver) inspect(ctx actor.Context, path string) {
	f := d.files[path]
	if f == nil {
		return
	}
	if f.inspecting || f.rotating {
		f.again = true
		return
	}
	f.inspecting = true
	d.job(ctx, "inspect "+path, func() any { r := inspect(path); return &r }, func(err error) {
		f.inspecting = false
		d.logged("log file was not looked at")(err)
	})
}

func (d *driver) inspected(ctx actor.Context, m *inspected) {
	f := d.files[m.path]
	if f == nil {
		return
	}
	f.inspecting = false
	if d.cfg.MaxSize > 0 && m.size > d.cfg.MaxSize {
		f.rotating, f.again = true, f.again || m.closed
		path, cfg := m.path, d.cfg
		d.job(ctx, "rotate "+path, func() any {
			return &rotated{path, rotate(path, cfg.MaxBackups, time.Now(), cfg.MaxAge)}
		}, func(err error) {
			f.rotating = false
			d.logged("log file was not rotated")(err)
		})
		return
	}
	if f.again { // an open that came meanwhile touches nothing, but its close does
		f.again = false
		d.inspect(ctx, m.path)
		return
	}
	if m.closed {
		d.forget(ctx, m.path)
	}
}

func (d *driver) rotated(ctx actor.Context, m *rotated) {
	if m.err != nil {
		d.env.Log.Error().Err(m.err).Str("path", m.path).Msg("log file was not rotated")
	} else {
		d.env.Log.Info().Str("path", m.path).Msg("log file rotated")
	}
	f := d.files[m.path]
	if f == nil {
		return
	}
	f.rotating = false
	if f.again {
		f.again = false
		if m.err == nil { // else at the next write: no endless attempts on a full disk
			d.inspect(ctx, m.path)
		}
	}
}
