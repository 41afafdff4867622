package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/lockd"
	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// launchPlan is what the starting job works from, and fills in. The job owns all of it.
type launchPlan struct {
	drv       *shared
	system    *actor.ActorSystem
	self      *actor.PID
	serial    uint64
	def       *libvirtxml.Domain // a clone, completed while the job goes on
	name      string
	uuid      protocol.UUID
	paused    bool
	from      *restoring // a saved state to start from; nil for a cold start
	discarded bool       // the managed state was thrown away

	// Chosen on the way.
	id    int32
	dir   string
	log   *os.File
	rt    command.Runtime
	caps  *caps.Caps
	user  guestUser
	files []*os.File // to be closed when QEMU has them

	missing []missingDisk // what it was started without
	locked  []lockd.Lease // what it holds while it runs
}

// launch is the start of a guest from beginning to end. Every step adds to undo what takes it back.
func (p *launchPlan) launch(ctx context.Context, undo *kit.Undo) (*launched, error) {
	defer p.closeFiles()
	p.id = p.drv.ids.Next()
	steps := []func(context.Context, *kit.Undo) error{
		p.openState,
		p.findEmulator,
		p.claimPorts,
		p.resolveVolumes,
		p.complete,
		p.checkFiles,
		p.folders,
		p.openLog,
		p.firmware,
		p.hostDevices,
		p.ports,
		p.interfaces,
		p.emulators,
		p.monitorSocket,
		p.secure,
		p.leases,
	}
	for _, step := range steps {
		if err := step(ctx, undo); err != nil {
			return nil, err
		}
	}
	command.AssignNodes(p.def)
	p.drv.tlsRuntime(&p.rt)
	if err := p.secrets(ctx, append(command.SecretsOf(p.def), command.TLSSecrets(p.def, &p.rt)...)); err != nil {
		return nil, err
	}
	if p.from != nil && !p.from.fromSnapshot {
		p.rt.Incoming = "defer"
	}
	cmd, err := command.Build(p.def, p.caps, p.rt)
	if err != nil {
		return nil, err
	}
	if p.from != nil && p.from.point != "" {
		cmd.Args = append(cmd.Args, "-loadvm", p.from.point)
	}
	proc, err := p.exec(cmd, undo)
	if err != nil {
		return nil, err
	}
	p.drv.locks.begin(p.uuid, proc, p.locked)
	mon, err := p.connect(ctx, proc)
	if err != nil {
		return nil, err
	}
	undo.Add("close the monitor", func(context.Context) error { return mon.Close() })
	rt, err := p.setUp(ctx, mon, cmd)
	if err != nil {
		return nil, p.explain(proc, err)
	}
	if err := p.receive(ctx, mon); err != nil {
		return nil, p.explain(proc, err)
	}
	if err := p.tune(ctx, mon, proc.pid, rt.vcpus, undo); err != nil {
		return nil, p.explain(proc, err)
	}
	if !p.paused {
		if err := wakeNICs(p.def.Devices.Interfaces); err != nil {
			return nil, err
		}
		if err := qmp.Cont(ctx, mon); err != nil {
			return nil, p.explain(proc, err)
		}
	}
	return &launched{def: p.def, proc: proc, mon: mon, dir: p.dir, rt: rt}, nil
}

func (p *launchPlan) closeFiles() {
	for _, f := range p.files {
		_ = f.Close()
	}
}

// findEmulator probes the binary, which is known already but for the first start after its update.
func (p *launchPlan) findEmulator(ctx context.Context, _ *kit.Undo) error {
	c, err := p.drv.caps.Get(ctx, p.def.Devices.Emulator)
	if err != nil {
		return err
	}
	if p.def.Type == "kvm" && !c.KVM {
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "Emulator '%s' does not support virt type 'kvm'", p.def.Devices.Emulator)
	}
	p.caps = c
	return nil
}

// complete assigns what only a running domain has.
func (p *launchPlan) complete(context.Context, *kit.Undo) error {
	id := int(p.id)
	p.def.ID = &id
	cpu, err := p.caps.StartCPU(p.def.Type, p.def.OS.Type.Arch, p.def.CPU)
	if err != nil {
		return err
	}
	p.def.CPU = cpu
	p.listenAddresses()
	p.drv.settleTLS(p.def)
	p.drives()
	// Compat: libvirt shows where in the control groups a guest is, and always says so.
	if p.def.Resource == nil && !p.drv.env.Paths.Session {
		p.def.Resource = &libvirtxml.DomainResource{Partition: "/machine"}
	}
	return domxml.AssignAliases(p.def)
}

// drives makes of each drive what QEMU will see: an empty one has no format, one that guests share is not cached
// by this host.
func (p *launchPlan) drives() {
	for i := range p.def.Devices.Disks {
		d := &p.def.Devices.Disks[i]
		if d.Driver == nil {
			continue
		}
		if diskEmpty(d) {
			d.Driver.Type = ""
		}
		if d.Shareable != nil && d.ReadOnly == nil && (d.Driver.Cache == "" || d.Driver.Cache == "default") {
			d.Driver.Cache = "none"
		}
	}
}

// channelSockets names the sockets of channels that leave the place to us.
func (p *launchPlan) channelSockets() {
	for i := range p.def.Devices.Channels {
		c := &p.def.Devices.Channels[i]
		if c.Source == nil || c.Source.UNIX == nil || c.Source.UNIX.Path != "" || c.Target == nil || c.Target.VirtIO == nil {
			continue
		}
		name := c.Target.VirtIO.Name
		if name == "" {
			name = c.Alias.Name
		}
		c.Source.UNIX.Mode, c.Source.UNIX.Path = "bind", filepath.Join(p.rt.ChannelDir, name)
	}
}

// listenAddresses fills in what the configuration says where the definition leaves it open.
func (p *launchPlan) listenAddresses() {
	fill := func(listen *string, listeners []libvirtxml.DomainGraphicListener, address string) {
		for i := range listeners {
			if a := listeners[i].Address; a != nil && a.Address == "" {
				a.Address = address
				if i == 0 {
					*listen = address
				}
			}
		}
	}
	for i := range p.def.Devices.Graphics {
		switch g := &p.def.Devices.Graphics[i]; {
		case g.VNC != nil && g.VNC.Socket == "":
			fill(&g.VNC.Listen, g.VNC.Listeners, p.drv.conf.VNCListen)
		case g.Spice != nil:
			fill(&g.Spice.Listen, g.Spice.Listeners, p.drv.conf.SpiceListen)
		}
	}
}

// checkFiles looks whether what the guest is made of is there, since QEMU's own words for it are hard to
// read.
func (p *launchPlan) checkFiles(context.Context, *kit.Undo) error {
	for i := len(p.def.Devices.Disks) - 1; i >= 0; i-- { // Compat: events of missing disks come in this order
		d := &p.def.Devices.Disks[i]
		if d.Source == nil || d.Source.File == nil && d.Source.Block == nil || diskPath(d) == "" {
			continue
		}
		path := diskPath(d)
		if path == "" {
			continue // a drive without a medium
		}
		if _, err := os.Stat(path); err != nil {
			if p.mayBeMissing(d) {
				if err := p.leaveOut(i); err != nil {
					return err
				}
				continue
			}
			return liberr.System(liberr.FromQemu, err, "Cannot access storage file '%s'", path)
		}
		if err := completeChain(d); err != nil {
			return err
		}
	}
	if os_ := p.def.OS; os_ != nil {
		for _, path := range []string{os_.Kernel, os_.Initrd} {
			if path == "" {
				continue
			}
			if _, err := os.Stat(path); err != nil {
				return liberr.System(liberr.FromNone, err, "unable to stat: %s", path)
			}
		}
	}
	return nil
}

// folders makes the domain's own folder and the ones its sockets live in.
func (p *launchPlan) folders(_ context.Context, undo *kit.Undo) error {
	lib := p.drv.env.Paths.DriverLib("qemu")
	short := command.ShortName(int(p.id), p.name)
	p.dir = filepath.Join(lib, "domain-"+short)
	channels := filepath.Join(lib, "channel", "target", "domain-"+short)
	for _, dir := range []string{p.dir, channels} {
		_ = os.RemoveAll(dir) // of a domain that had this name and number before a crash
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return liberr.System(liberr.FromQemu, err, "cannot create directory '%s'", dir)
		}
		undo.Add("remove "+dir, func(context.Context) error { return os.RemoveAll(dir) })
	}
	key, err := masterKey(p.dir)
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to create master key file '%s'", key)
	}
	p.rt = command.Runtime{
		LibDir: p.dir, ChannelDir: channels, RAMDir: filepath.Join(lib, "ram", short),
		Now: time.Now(), Environment: p.environment(),
	}
	p.channelSockets()
	return nil
}

// environment passes on what a guest's process may see of ours.
func (p *launchPlan) environment() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return []string{"PATH=" + path}
}

// firmware chooses the firmware of a guest that leaves it to us, and makes the variable store of one that
// boots by UEFI.
func (p *launchPlan) firmware(_ context.Context, undo *kit.Undo) error {
	if p.def.OS != nil && p.def.OS.Firmware != "" {
		list, err := command.LoadFirmware(command.FirmwareDirs(""))
		if err != nil {
			return err
		}
		if err := list.Select(p.def, p.drv.xmlEnv.NVRAMDir); err != nil {
			return err
		}
	}
	if p.def.OS == nil || p.def.OS.NVRam == nil || p.def.OS.NVRam.NVRam == "" {
		return nil
	}
	path, template := p.def.OS.NVRam.NVRam, p.def.OS.NVRam.Template
	if disk.Exists(path) || template == "" {
		return nil
	}
	data, err := os.ReadFile(template)
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "Failed to open file '%s'", template)
	}
	if err := disk.Write(path, data, 0o600); err != nil {
		return liberr.System(liberr.FromQemu, err, "Failed to create file '%s'", path)
	}
	undo.Add("remove "+path, func(context.Context) error { return os.Remove(path) })
	return nil
}

// monitorSocket makes the socket on which QEMU will be reached, so that nobody has to wait for it.
func (p *launchPlan) monitorSocket(context.Context, *kit.Undo) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.rt.MonitorPath(), Net: "unix"})
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to create monitor socket '%s'", p.rt.MonitorPath())
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	_ = l.Close()
	if err != nil {
		return err
	}
	p.files = append(p.files, f)
	p.rt.Monitor = f
	return nil
}

// exec starts QEMU. It runs in a session of its own, and goes on when we do not.
func (p *launchPlan) exec(cmd *command.Command, undo *kit.Undo) (*process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := []*os.File{null, p.log, p.log}
	for _, f := range cmd.Files {
		files = append(files, f.File)
	}
	argv := append([]string{cmd.Binary}, cmd.Args...)
	p.logStart(argv, cmd.Env)
	proc, err := spawn(cmd.Binary, argv, cmd.Env, files, p.user.credential())
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "cannot execute binary %s", cmd.Binary)
	}
	undo.Add("end the process", func(ctx context.Context) error {
		_ = proc.Signal(unix.SIGKILL)
		err := proc.Wait(ctx)
		proc.Close()
		return err
	})
	pidfile := p.drv.pidPath(p.name)
	if err := disk.WriteVolatile(pidfile, []byte(itoa(proc.pid)+"\n"), 0o644); err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "Failed to write pid file '%s'", pidfile)
	}
	undo.Add("remove the pid file", func(context.Context) error { return os.Remove(pidfile) })
	return proc, nil
}

// connect opens the monitor. QEMU greets when it has made its machine; when it exits instead, its log says
// why.
func (p *launchPlan) connect(ctx context.Context, proc *process) (*qmp.Client, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if proc.Wait(ctx) == nil {
			cancel(errExited)
		}
	}()
	mon, err := qmp.Dial(ctx, p.rt.MonitorPath(), p.handler())
	if err != nil {
		return nil, p.explain(proc, err)
	}
	p.drv.monitors.put(p.uuid, mon)
	return mon, nil
}

var errExited = errors.New("the process exited")

// handler forwards what the monitor says by itself to the domain.
func (p *launchPlan) handler() qmp.Handler {
	h := monitorHandler(p.system, p.self, p.serial)
	h.Running = p.drv.locks.guard(p.uuid)
	if from := p.from; from != nil {
		pass := h.Event
		h.Event = func(ev qmp.Event) {
			from.heard(ev)
			pass(ev)
		}
	}
	return h
}

func monitorHandler(system *actor.ActorSystem, self *actor.PID, serial uint64) qmp.Handler {
	root := system.Root
	return qmp.Handler{
		Event:  func(ev qmp.Event) { root.Send(self, &monitorEvent{serial, ev}) },
		Closed: func(err error) { root.Send(self, &monitorLost{serial, err}) },
	}
}

// explain turns the end of a start into libvirt's error, with the last words of QEMU.
func (p *launchPlan) explain(proc *process, err error) error {
	var qe *qmp.Error
	var own *liberr.Error
	if errors.As(err, &qe) || errors.As(err, &own) {
		return err
	}
	// The monitor often closes a moment before the process is gone.
	short, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if proc.Wait(short) != nil {
		return err
	}
	return liberr.New(liberr.FromQemu, liberr.InternalError, "qemu unexpectedly closed the monitor: %s", p.lastWords()).WithCause(err)
}

// lastWords is what QEMU wrote to its log since the start, without our own lines.
func (p *launchPlan) lastWords() string {
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		return ""
	}
	s := string(b)
	if i := strings.LastIndex(s, logMark); i >= 0 {
		s = s[i:]
		if _, rest, ok := strings.Cut(s, "\n"); ok {
			s = rest
		}
	}
	const most = 4096
	if len(s) > most {
		s = s[len(s)-most:]
	}
	return strings.TrimRight(s, "\n")
}

// setUp does on the monitor what the command line cannot, and learns what QEMU chose.
func (p *launchPlan) setUp(ctx context.Context, mon *qmp.Client, cmd *command.Command) (runtimeState, error) {
	var rt runtimeState
	chardevs, err := qmp.QueryChardev(ctx, mon)
	if err != nil {
		return rt, err
	}
	ptys, open := map[string]string{}, map[string]bool{}
	for _, c := range chardevs {
		open[strings.TrimPrefix(c.Label, "char")] = c.FrontendOpen
		if path, ok := strings.CutPrefix(c.Filename, "pty:"); ok {
			ptys[strings.TrimPrefix(c.Label, "char")] = path
		}
	}
	fillPtys(p.def, ptys)
	fillStates(p.def, open)
	cpus, err := qmp.QueryCPUsFast(ctx, mon)
	if err != nil {
		return rt, err
	}
	for _, c := range cpus {
		rt.vcpus = append(rt.vcpus, c.ThreadID)
	}
	if len(cpus) > 0 {
		guest, err := caps.ReadGuestCPU(ctx, mon, cpus[0].QOMPath)
		if err != nil {
			return rt, err
		}
		if p.def.CPU, err = p.caps.LiveCPU(p.def.CPU, guest); err != nil {
			return rt, err
		}
	}
	for _, c := range append(command.Setup(p.def), cmd.After...) {
		if err := mon.Execute(ctx, c.Execute, c.Arguments, nil); err != nil {
			return rt, err
		}
	}
	if hasBalloon(p.def) {
		// A guest that does not play along has all of its memory, whatever was asked for.
		if actual, err := qmp.QueryBalloon(ctx, mon); err == nil {
			p.def.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(actual >> 10), Unit: "KiB"}
		}
	}
	return rt, nil
}

// logMark begins the line after which QEMU's own words stand.
const logMark = "virtree: QEMU starts\n"

func (p *launchPlan) logPath() string {
	return filepath.Join(p.drv.env.Paths.DriverLog("qemu"), p.name+".log")
}

// logStart writes the command into the guest's log, in a form that can be pasted into a shell.
func (p *launchPlan) logStart(argv, env []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: starting up virtree, qemu version: %s%s, kernel: %s, hostname: %s\n",
		time.Now().UTC().Format("2006-01-02 15:04:05.000+0000"), versionString(p.caps.Version), p.caps.Package, kernelRelease(), hostname())
	for _, e := range env {
		b.WriteString(shellQuote(e) + " \\\n")
	}
	for i, a := range argv {
		b.WriteString(shellQuote(a))
		switch {
		case i == len(argv)-1:
		case strings.HasPrefix(a, "-") && i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "-"):
			b.WriteByte(' ')
		default:
			b.WriteString(" \\\n")
		}
	}
	b.WriteString("\n" + logMark)
	_, _ = p.log.WriteString(b.String())
}
