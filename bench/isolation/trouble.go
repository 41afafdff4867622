package isolation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"virtree/actors"
	"virtree/bench/internal/lab"
	"virtree/supervisors"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/virt"
)

// outside is a fault that needs no help of the daemon's.
type outside string

const (
	outNothing outside = "nothing"
	outSteal   outside = "steal"   // a connection is closed by its number, in the domain's actor
	outFlood   outside = "flood"   // one client keeps Count requests in flight
	outIdle    outside = "idle"    // Count connections are opened and kept
	outDeaf    outside = "deaf"    // Count clients ask and never read
	outFreeze  outside = "freeze"  // the victim's QEMU is stopped, with Count callers waiting for it
	outKill    outside = "kill"    // the victim's QEMU is killed
	outGarble  outside = "garble"  // the victim's monitor says what is no JSON
	outHang    outside = "hang"    // the file system below the pool does not answer, with Count callers
	outDnsmasq outside = "dnsmasq" // the network's dnsmasq is stopped, with Count callers
	outBranch  outside = "branch"  // the branch's process is killed
)

// trouble is a row made ready in one system.
type trouble struct {
	recovers string       // the probe that tells when the faulty object is well again; "" for none
	begin    func() error // makes the fault; returns at once
	lift     func()       // ends what does not end by itself
	clean    []func()     // what is to be removed, last first
	noted    func() string
}

func (t *trouble) then(f func()) { t.clean = append(t.clean, f) }

// addLast is libvirt's VIR_NETWORK_UPDATE_COMMAND_ADD_LAST.
const addLast = 3

// cleanLimit is how long the removal of a victim may take; one that is stuck for ever is left to the end of the box.
const cleanLimit = 2 * time.Second

// prepare makes the victim of a row.
func (w *world) prepare(ctx context.Context, r Row) (t *trouble, err error) {
	w.serial++
	t = &trouble{recovers: probeSick, lift: func() {}, begin: func() error { return nil }}
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	switch {
	case r.Outside == outNothing, r.Outside == outFlood, r.Outside == outIdle, r.Outside == outDeaf:
		t.recovers = ""
	case r.Place == InDomain:
		err = w.sickDomain(ctx, r, t)
	case r.Place == InPool:
		err = w.sickPool(ctx, r, t)
	case r.Place == InNetwork:
		err = w.sickNetwork(ctx, r, t)
	case r.Place == InClient:
		err = w.sickClient(r, t)
	default:
		err = w.sickBranch(r, t)
	}
	if err != nil {
		return t, err
	}
	switch r.Outside {
	case outFlood, outIdle, outDeaf:
		return t, w.loud(r, t)
	}
	return t, nil
}

func (t *trouble) end() {
	for _, f := range slices.Backward(t.clean) {
		f()
	}
}

// order has the inspector make a fault in the actor that path names.
func (w *world) order(t *trouble, path string, o *actors.MakeFault) error {
	p, n, err := w.visitor.Picture().Find(path)
	if err != nil {
		return err
	}
	m := *o
	m.ID = n.ID
	t.begin = func() error { return w.visitor.Fault(p, &m) }
	return nil
}

// callers are n connections that make a call each when the fault begins.
func (w *world) waiting(ctx context.Context, t *trouble, n int, uri string, call func(ctx context.Context, c *rpc.Client, i int) error) (begin func(), err error) {
	var all []*rpc.Client
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	t.then(func() {
		cancel()
		for _, c := range all {
			c.Close()
		}
		wg.Wait()
	})
	for range n {
		c, err := dial(ctx, w.socket(), uri)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return func() {
		for i, c := range all {
			wg.Go(func() { _ = call(ctx, c, i) })
		}
	}, nil
}

// bounded is a context for the removal of something.
func bounded(ctx context.Context, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	f(ctx)
}

func (w *world) sickDomain(ctx context.Context, r Row, t *trouble) error {
	name, emulator := fmt.Sprintf("sick%d", w.serial), ""
	if r.Outside == outGarble {
		var err error
		if emulator, err = garbler(w.dir); err != nil {
			return err
		}
	}
	d, err := w.guest(ctx, name, emulator, true)
	if err != nil {
		return err
	}
	t.then(func() {
		bounded(ctx, func(ctx context.Context) {
			_, _ = rpc.Do(ctx, w.client, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: d})
		})
	})
	w.aim("qemu:///system", protocol.DomainGetXMLDesc.Procedure, &protocol.DomainGetXMLDescArgs{Dom: d}, nil)
	if r.Order != nil {
		return w.order(t, name, r.Order)
	}
	if r.Outside == outSteal {
		h, err := startHelper(helperOrder{Do: "idle", Socket: w.socket(), Count: 1})
		if err != nil {
			return err
		}
		t.then(h.end)
		h.begin()
		if err := h.await(); err != nil {
			return err
		}
		return w.order(t, name, inject("stealfd", 0, h.pid()))
	}
	pid, err := w.target.QEMU(name)
	if err != nil {
		return err
	}
	switch r.Outside {
	case outKill:
		w.aim("qemu:///system", protocol.DomainGetState.Procedure, &protocol.DomainGetStateArgs{Dom: d}, func(status uint32, payload []byte) bool {
			if status != 0 {
				return strings.Contains(lab.PacketError(payload), "not found") // it was transient
			}
			return len(payload) >= 4 && binary.BigEndian.Uint32(payload) == virt.DomainShutoff
		})
		t.begin = func() error { return syscall.Kill(pid, syscall.SIGKILL) }
	case outGarble, outFreeze:
		ask, err := w.waiting(ctx, t, max(1, r.Count), "qemu:///system", func(ctx context.Context, c *rpc.Client, _ int) error {
			_, err := rpc.Do(ctx, c, protocol.QemuDomainMonitorCommand, &protocol.QemuDomainMonitorCommandArgs{Dom: d, Cmd: `{"execute":"query-status"}`})
			return err
		})
		if err != nil {
			return err
		}
		signal := syscall.SIGSTOP
		if r.Outside == outGarble {
			signal = syscall.SIGUSR1
		} else {
			t.lift = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
			t.then(t.lift)
		}
		t.begin = func() error {
			err := syscall.Kill(pid, signal)
			ask()
			return err
		}
	}
	return nil
}

func (w *world) sickPool(ctx context.Context, r Row, t *trouble) error {
	name := fmt.Sprintf("sick%d", w.serial)
	path := filepath.Join(w.dir, name)
	var h *lab.Proc
	if r.Outside == outHang {
		var err error
		if h, err = w.hanging(ctx, path); err != nil {
			return err
		}
		t.then(func() {
			_ = h.Signal(syscall.SIGTERM)
			<-h.Done
		})
	}
	p, err := w.storage(ctx, name, path)
	if err != nil {
		return err
	}
	t.then(func() {
		bounded(ctx, func(ctx context.Context) {
			_, _ = rpc.Do(ctx, w.client, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: p})
		})
	})
	w.aim("storage:///system", protocol.StoragePoolGetXMLDesc.Procedure, &protocol.StoragePoolGetXMLDescArgs{Pool: p}, nil)
	if r.Order != nil {
		return w.order(t, name, r.Order)
	}
	// Storage that is gone ends its pool, in libvirtd too; to hear that at once is service.
	w.aim("storage:///system", protocol.StoragePoolGetXMLDesc.Procedure, &protocol.StoragePoolGetXMLDescArgs{Pool: p}, func(status uint32, _ []byte) bool { return true })
	ask, err := w.waiting(ctx, t, r.Count, "storage:///system", func(ctx context.Context, c *rpc.Client, _ int) error {
		_, err := rpc.Do(ctx, c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p})
		return err
	})
	if err != nil {
		return err
	}
	t.begin = func() error {
		err := h.Signal(syscall.SIGUSR1)
		ask()
		return err
	}
	t.lift = func() { _ = h.Signal(syscall.SIGTERM) } // whoever is held gets an error
	return nil
}

func (w *world) sickNetwork(ctx context.Context, r Row, t *trouble) error {
	name, xml := fmt.Sprintf("sick%d", w.serial), netXML
	if r.Outside == outDnsmasq {
		xml = dhcpXML
	}
	n, err := w.network(ctx, name, xml)
	if err != nil {
		return err
	}
	t.then(func() {
		bounded(ctx, func(ctx context.Context) {
			_, _ = rpc.Do(ctx, w.client, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{Net: n})
		})
	})
	w.aim("network:///system", protocol.NetworkGetXMLDesc.Procedure, &protocol.NetworkGetXMLDescArgs{Net: n}, nil)
	if r.Order != nil {
		return w.order(t, name, r.Order)
	}
	b, err := os.ReadFile(filepath.Join(w.target.Dir, "run/libvirt/network", name+".pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	subnet := 100 + w.serial%100
	ask, err := w.waiting(ctx, t, r.Count, "network:///system", func(ctx context.Context, c *rpc.Client, i int) error {
		_, err := rpc.Do(ctx, c, protocol.NetworkUpdate, &protocol.NetworkUpdateArgs{Net: n, Command: addLast, Section: virt.NetworkSectionIPDHCPHost,
			ParentIndex: -1, XML: fmt.Sprintf("<host mac='52:54:00:00:01:%02x' ip='192.168.%d.%d'/>", i, subnet, 10+i), Flags: virt.NetworkUpdateAffectLive})
		return err
	})
	if err != nil {
		return err
	}
	t.begin = func() error {
		err := syscall.Kill(pid, syscall.SIGSTOP)
		ask()
		return err
	}
	t.lift = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.then(t.lift)
	return nil
}

// sickClient makes a new connection for the faulty object's callers, and finds its actor: the one that was not there before.
func (w *world) sickClient(r Row, t *trouble) error {
	before := w.clients()
	w.load.do(func() { w.load.lose(w.sick, errClosed) })
	w.aim("qemu:///system", protocol.ConnectGetLibVersion.Procedure, &protocol.Void{}, nil)
	var id string
	var process *actors.Process
	lab.Await(context.Background(), func() bool {
		open := false
		w.load.do(func() { open = w.sick.phase == ready })
		if !open {
			return false
		}
		for at, p := range w.clients() {
			if before[at] == nil {
				id, process = at[strings.IndexByte(at, ':')+1:], p
			}
		}
		return process != nil
	})
	if process == nil {
		return errors.New("the actor of a new client is not in the tree")
	}
	m := *r.Order
	m.ID = id
	t.begin = func() error { return w.visitor.Fault(process, &m) }
	return nil
}

// clients maps the actors of connections to their processes.
func (w *world) clients() map[string]*actors.Process {
	all := map[string]*actors.Process{}
	for _, p := range w.visitor.Processes() {
		for _, server := range p.Servers {
			server.Walk(func(n *supervisors.Node, _ int) {
				if n.Kind == "client" {
					all[p.Name+":"+n.ID] = p
				}
			})
		}
	}
	return all
}

func (w *world) sickBranch(r Row, t *trouble) error {
	branch := branches[r.Place]
	switch r.Place {
	case InQEMU:
		w.aim("qemu:///system", protocol.DomainGetXMLDesc.Procedure, &protocol.DomainGetXMLDescArgs{Dom: w.guests[askedGuest]}, nil)
	case InNet:
		w.aim("network:///system", protocol.NetworkGetXMLDesc.Procedure, &protocol.NetworkGetXMLDescArgs{Net: w.net}, nil)
	case InStorage:
		w.aim("storage:///system", protocol.StoragePoolGetXMLDesc.Procedure, &protocol.StoragePoolGetXMLDescArgs{Pool: w.pool}, nil)
	case InProxy:
		t.recovers = probeOpen
	}
	if r.Order != nil {
		return w.order(t, "root/"+branch, r.Order)
	}
	b, ok := supervisors.Host.Find(branch)
	if !ok {
		return fmt.Errorf("no branch %s", branch)
	}
	t.begin = func() error {
		pid, err := w.target.Branch(b.Daemon)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

// loud starts a process that makes noise.
func (w *world) loud(r Row, t *trouble) error {
	h, err := startHelper(helperOrder{Do: string(r.Outside), Socket: w.socket(), Count: r.Count, Name: w.guests[monitorGuest].Name})
	if err != nil {
		return err
	}
	t.then(h.end)
	t.begin = func() error {
		h.begin()
		return nil
	}
	t.lift = h.end
	t.noted = h.notes
	return nil
}
