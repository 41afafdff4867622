package isolation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"virtree/actors"
	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/virt"
)

// world is one system under test: its daemon, what runs in it, and the callers.
type world struct {
	kind    lab.Kind
	target  *lab.Target
	visitor *actors.Visitor // nil for libvirtd
	client  *rpc.Client     // for set-up
	guests  []protocol.Domain
	net     protocol.Network
	pool    protocol.StoragePool
	load    *load
	probes  map[string]*probe
	sick    *line // the faulty object's own callers
	serial  int   // of victims
	dir     string
}

// answerLimit is how long a process may take to describe itself or to take a fault.
const answerLimit = 2 * time.Second

// openWorld starts a daemon with its guests, its network and its pool.
func openWorld(ctx context.Context, kind lab.Kind, guests int) (w *world, err error) {
	w = &world{kind: kind}
	var opt lab.Options
	if kind != lab.Reference {
		opt.Args = []string{"--allow-faults", "-q"}
	}
	if w.target, err = lab.Open(ctx, kind, opt); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", kind, err, w.target.LogTail(10))
			w.close()
		}
	}()
	w.dir = filepath.Join(w.target.Dir, "isolation")
	if err = os.MkdirAll(w.dir, 0o755); err != nil {
		return w, err
	}
	if err = w.dial(ctx); err != nil {
		return w, err
	}
	if err = w.furnish(ctx, guests); err != nil {
		return w, err
	}
	return w, w.callers()
}

func (w *world) socket() string { return w.target.Socket("libvirt-sock") }

// dial opens the connection that victims are made over, and looks for the inspectors.
func (w *world) dial(ctx context.Context) (err error) {
	if w.client, err = dial(ctx, w.socket(), "qemu:///system"); err != nil {
		return err
	}
	if w.kind != lab.Reference {
		w.visitor, err = actors.NewVisitor(w.target.Dir, answerLimit)
	}
	return err
}

// dial opens a connection as every client does.
func dial(ctx context.Context, socket, uri string) (*rpc.Client, error) {
	c, err := rpc.Dial(ctx, "unix", socket, nil)
	if err != nil {
		return nil, err
	}
	if _, err := rpc.Do(ctx, c, protocol.AuthList, nil); err != nil {
		c.Close()
		return nil, err
	}
	if _, err := rpc.Do(ctx, c, protocol.ConnectOpen, &protocol.ConnectOpenArgs{Name: &uri}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (w *world) undial() {
	if w.client != nil {
		w.client.Close()
	}
	if w.visitor != nil {
		w.visitor.Close()
	}
	w.client, w.visitor = nil, nil
}

func (w *world) close() {
	if w.load != nil {
		w.load.close()
	}
	w.undial()
	w.target.Close()
}

const (
	netXML  = "<network><name>%[1]s</name><bridge name='%[1]s'/></network>"
	dhcpXML = "<network><name>%[1]s</name><bridge name='%[1]s'/><ip address='192.168.%[2]d.1' netmask='255.255.255.0'>" +
		"<dhcp><range start='192.168.%[2]d.2' end='192.168.%[2]d.200'/></dhcp></ip></network>"
	poolXML = "<pool type='dir'><name>%s</name><target><path>%s</path></target></pool>"
)

// furnish makes the healthy rest: paused guests, one that runs for the events, a network, a pool.
func (w *world) furnish(ctx context.Context, guests int) error {
	w.guests = make([]protocol.Domain, guests)
	var wg sync.WaitGroup
	errs := make(chan error, guests)
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for i := range next {
				var err error
				if w.guests[i], err = w.guest(ctx, fmt.Sprintf("g%03d", i), "", i != eventGuest); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := range w.guests {
		next <- i
	}
	close(next)
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	var err error
	if w.net, err = w.network(ctx, "ok0", netXML); err != nil {
		return err
	}
	w.pool, err = w.storage(ctx, "ok0", filepath.Join(w.dir, "pool"))
	return err
}

func (w *world) guest(ctx context.Context, name, emulator string, paused bool) (protocol.Domain, error) {
	text := lab.BareXML(name, "    <video><model type='none'/></video>\n")
	if emulator != "" {
		text = strings.ReplaceAll(text, "/usr/bin/qemu-system-x86_64", emulator)
	}
	args := &protocol.DomainCreateXMLArgs{XMLDesc: text}
	if paused {
		args.Flags = virt.DomainStartPaused
	}
	r, err := rpc.Do(ctx, w.client, protocol.DomainCreateXML, args)
	if err != nil {
		return protocol.Domain{}, fmt.Errorf("guest %s: %w", name, err)
	}
	return r.Dom, nil
}

func (w *world) network(ctx context.Context, name, xml string) (protocol.Network, error) {
	if strings.Contains(xml, "[2]") {
		xml = fmt.Sprintf(xml, name, 100+w.serial%100)
	} else {
		xml = fmt.Sprintf(xml, name)
	}
	r, err := rpc.Do(ctx, w.client, protocol.NetworkCreateXML, &protocol.NetworkCreateXMLArgs{XML: xml})
	if err != nil {
		return protocol.Network{}, fmt.Errorf("network %s: %w", name, err)
	}
	return r.Net, nil
}

func (w *world) storage(ctx context.Context, name, path string) (protocol.StoragePool, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return protocol.StoragePool{}, err
	}
	r, err := rpc.Do(ctx, w.client, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: fmt.Sprintf(poolXML, name, path)})
	if err != nil {
		return protocol.StoragePool{}, fmt.Errorf("pool %s: %w", name, err)
	}
	return r.Pool, nil
}

// Guests that the probes ask about.
const (
	askedGuest   = 0
	monitorGuest = 1
	eventGuest   = 2
	leastGuests  = 3
)

// Names of probes, which rows refer to, and the groups that the report adds them up to.
const (
	probeDomain  = "domain"
	probeLookup  = "lookup"
	probeNetwork = "network"
	probePool    = "pool"
	probeCross   = "cross"
	probeMonitor = "monitor"
	probeOpen    = "open"
	probeToggle  = "suspend"
	probePing    = "keepalive"
	probePing2   = "keepalive2"
	probeSick    = "sick"

	groupCalls   = "calls"
	groupPing    = "keepalive"
	groupMonitor = "through QEMU"
	groupOpen    = "new connections"
	groupSick    = "faulty object"
)

// callers makes the probes and connects them.
func (w *world) callers() error {
	lineTo := func(uri string) *line { return &line{socket: w.socket(), uri: uri, fd: -1} }
	fixed := func(p *protocol.Procedure, args protocol.Encoder) func() []byte {
		packet := lab.Packet(p, args.AppendXDR(nil))
		return func() []byte { return packet }
	}
	const qemu, network, storage = "qemu:///system", "network:///system", "storage:///system"
	rate := func(perSecond int) time.Duration { return time.Second / time.Duration(perSecond) }
	event := w.guests[eventGuest]
	suspended := false
	toggle := func() []byte {
		if suspended {
			return lab.Packet(protocol.DomainResume.Procedure, event.AppendXDR(nil))
		}
		return lab.Packet(protocol.DomainSuspend.Procedure, event.AppendXDR(nil))
	}
	toggled := func(status uint32, _ []byte) bool {
		if status == 0 {
			suspended = !suspended
		}
		return status == 0
	}
	w.sick = lineTo(qemu)
	all := []*probe{
		{name: probeDomain, group: groupCalls, every: rate(100), line: lineTo(qemu), packet: fixed(protocol.DomainGetInfo.Procedure, &w.guests[askedGuest])},
		{name: probeLookup, group: groupCalls, every: rate(50), line: lineTo(qemu), packet: fixed(protocol.DomainLookupByName.Procedure, &protocol.DomainLookupByNameArgs{Name: w.guests[askedGuest].Name})},
		{name: probeNetwork, group: groupCalls, every: rate(100), line: lineTo(network), packet: fixed(protocol.NetworkGetXMLDesc.Procedure, &protocol.NetworkGetXMLDescArgs{Net: w.net})},
		{name: probePool, group: groupCalls, every: rate(100), line: lineTo(storage), packet: fixed(protocol.StoragePoolGetInfo.Procedure, &protocol.StoragePoolGetInfoArgs{Pool: w.pool})},
		{name: probeCross, group: groupCalls, every: rate(50), line: lineTo(qemu), packet: fixed(protocol.NetworkLookupByName.Procedure, &protocol.NetworkLookupByNameArgs{Name: w.net.Name})},
		{name: probePing, group: groupPing, every: rate(50), line: lineTo(qemu), ping: true},
		{name: probePing2, group: groupPing, every: rate(50), line: lineTo(network), ping: true},
		{name: probeMonitor, group: groupMonitor, every: rate(20), line: lineTo(qemu), packet: fixed(protocol.QemuDomainMonitorCommand.Procedure,
			&protocol.QemuDomainMonitorCommandArgs{Dom: w.guests[monitorGuest], Cmd: `{"execute":"query-status"}`})},
		{name: probeToggle, group: groupMonitor, every: rate(10), line: lineTo(qemu), packet: toggle, accept: toggled, single: true},
		{name: probeOpen, group: groupOpen, every: rate(10), line: lineTo(qemu), opens: true},
		{name: probeSick, group: groupSick, every: rate(50), line: w.sick, packet: fixed(protocol.ConnectGetLibVersion.Procedure, &protocol.Void{})},
	}
	w.probes = map[string]*probe{}
	for _, p := range all {
		w.probes[p.name] = p
	}
	watcher := lineTo(qemu)
	watcher.setup = lab.Packet(protocol.ConnectDomainEventCallbackRegisterAny.Procedure,
		(&protocol.ConnectDomainEventCallbackRegisterAnyArgs{EventID: 0, Dom: &event}).AppendXDR(nil))
	load, err := newLoad(all, watcher)
	if err != nil {
		return err
	}
	w.load = load
	watcher.event = func() { load.events++ }
	return nil
}

// aim points the faulty object's callers at a victim.
func (w *world) aim(uri string, proc *protocol.Procedure, args protocol.Encoder, accept func(uint32, []byte) bool) {
	packet := lab.Packet(proc, args.AppendXDR(nil))
	w.load.do(func() {
		p := w.probes[probeSick]
		p.packet, p.accept = func() []byte { return packet }, accept
		if w.sick.uri != uri {
			w.sick.uri = uri
			w.load.lose(w.sick, errClosed)
		}
	})
}

// qemus maps each guest to the process that it runs in.
func (w *world) qemus() map[string]int {
	files, _ := filepath.Glob(filepath.Join(w.target.Dir, "run/libvirt/qemu/*.pid"))
	all := map[string]int{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".pid")
		if b, err := os.ReadFile(f); err == nil && strings.HasPrefix(name, "g") {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && lab.Alive(pid) {
				all[name] = pid
			}
		}
	}
	return all
}

// resident is what the daemons hold, in KiB. It reads what costs the daemons nothing.
func resident(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			sum += pages * int64(os.Getpagesize()) >> 10
		}
	}
	return sum
}

// revive starts a daemon again that a fault has ended, on the same guests.
func (w *world) revive(ctx context.Context) error {
	for _, pid := range w.target.DaemonPIDs() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-w.target.Main.Done
	lab.Await(ctx, func() bool { return len(w.target.DaemonPIDs()) == 0 })
	w.undial()
	if err := w.target.Start(ctx); err != nil {
		return err
	}
	return w.dial(ctx)
}
