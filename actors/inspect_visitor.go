package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/fault"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/metrics"
	"virtree/supervisors"
	"virtree/supervisors/paths"
	"virtree/wire/remoting"
)

// Visitor asks the processes of a tree from outside, as a peer that nobody can connect to. It finds them by their
// sockets, so it needs no process to know the others.
type Visitor struct {
	paths  paths.Paths
	limit  time.Duration
	system *actor.ActorSystem
	node   *remoting.Node
}

// The states of a process that did not describe itself.
const (
	ProcessStuck   = "stuck"   // it has the socket open and says nothing
	ProcessDead    = "dead"    // it left its socket behind
	ProcessRefused = "refused" // it is another user's
)

// NewVisitor gets ready to visit the tree below root. limit is how long a process may take to answer.
func NewVisitor(root string, limit time.Duration) (*Visitor, error) {
	v := &Visitor{paths: paths.System(root), limit: limit, system: kit.NewSystem("", zerolog.Nop())}
	if uid := os.Geteuid(); uid != 0 {
		v.paths = paths.User(root, uid)
	}
	node, err := remoting.Start(v.system, remoting.Options{
		Logger: zerolog.Nop(), DialTimeout: limit, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
	})
	v.node = node
	return v, err
}

// Close ends the visit.
func (v *Visitor) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v.node.Close(ctx)
}

// Dir is where the sockets are.
func (v *Visitor) Dir() string { return v.paths.ActorDir() }

// Sockets lists the actor sockets of the tree; the names of the processes are theirs.
func (v *Visitor) Sockets() []string {
	sockets, _ := filepath.Glob(filepath.Join(v.paths.ActorDir(), "*.sock")) // the pattern is sound
	slices.Sort(sockets)
	return sockets
}

func processName(socket string) string { return strings.TrimSuffix(filepath.Base(socket), ".sock") }

// ask sends a message to the inspector behind a socket and waits for the answer.
func (v *Visitor) ask(socket string, msg any) (any, error) {
	pid := actor.NewPID(remoting.Address(socket), InspectorName)
	answer, err := v.system.Root.RequestFuture(pid, msg, v.limit).Result()
	if err != nil {
		return nil, err
	}
	switch a := answer.(type) {
	case *remoting.Failure:
		return nil, a
	case *kit.Failed:
		return nil, a.Err
	case *Outcome:
		switch {
		case a.Refused:
			return nil, &FaultsRefused{a.Error}
		case a.Error != "":
			return nil, errors.New(a.Error)
		}
	}
	return answer, nil
}

// FaultsRefused is the answer of a process that does not allow faults.
type FaultsRefused struct{ Message string }

func (e *FaultsRefused) Error() string { return e.Message }

// all asks every process at once; take is called in as many goroutines.
func (v *Visitor) all(sockets []string, msg func() any, take func(i int, answer any, err error)) {
	var wg sync.WaitGroup
	for i, socket := range sockets {
		wg.Go(func() {
			answer, err := v.ask(socket, msg())
			take(i, answer, err)
		})
	}
	wg.Wait()
}

// Processes describes every process, the silent ones as far as can be seen from here.
func (v *Visitor) Processes() []*Process {
	sockets := v.Sockets()
	processes := make([]*Process, len(sockets))
	v.all(sockets, func() any { return &Describe{} }, func(i int, answer any, err error) {
		processes[i] = v.described(sockets[i], answer, err)
	})
	return processes
}

// Process describes the process behind one socket.
func (v *Visitor) Process(socket string) *Process {
	answer, err := v.ask(socket, &Describe{})
	return v.described(socket, answer, err)
}

func (v *Visitor) described(socket string, answer any, err error) *Process {
	p := &Process{}
	if d, ok := answer.(*Described); ok && err == nil {
		err = json.Unmarshal(d.Process, p)
	} else if err == nil {
		err = fmt.Errorf("unexpected answer %T", answer)
	}
	if err != nil {
		p = v.silent(socket, err)
	}
	p.Name, p.Socket = processName(socket), socket
	return p
}

// Troubles are the records of what went wrong lately in the process behind a socket, oldest first.
func (v *Visitor) Troubles(socket string) (all []supervisors.Trouble, err error) {
	answer, err := v.ask(socket, &Troubles{})
	if err != nil {
		return nil, err
	}
	list, ok := answer.(*TroubleList)
	if !ok {
		return nil, fmt.Errorf("unexpected answer %T", answer)
	}
	return all, json.Unmarshal(list.Troubles, &all)
}

// silent is what is known of a process that did not answer.
func (v *Visitor) silent(socket string, err error) *Process {
	p := &Process{State: ProcessStuck, Error: err.Error(), Daemon: daemonOf(processName(socket))}
	switch {
	case errors.Is(err, &remoting.Failure{Code: remoting.Refused}):
		p.State = ProcessRefused
	case !listens(socket):
		p.State, p.Error = ProcessDead, "nobody listens on "+socket
	default:
		p.Error = fmt.Sprintf("no answer within %v: %v", v.limit, err)
	}
	p.PID = v.pidOf(p.Daemon)
	return p
}

// daemonOf is the daemon whose process has the actor socket of a name.
func daemonOf(name string) string {
	if b, ok := supervisors.Host.Find(name); ok {
		return b.Daemon
	}
	if name == supervisors.RootName {
		return "virtree"
	}
	return name
}

// pidOf reads the pid file of a daemon; 0 when there is none, or it names nobody.
func (v *Visitor) pidOf(daemon string) int {
	b, err := os.ReadFile(v.paths.PIDFile(daemon))
	if err != nil {
		return 0
	}
	pid := int(number(string(b)))
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return 0
	}
	return pid
}

// Metrics is the page of all processes that answer. Those that do not are named in the error.
func (v *Visitor) Metrics() ([]byte, error) {
	sockets := v.Sockets()
	pages, silent := make([][]byte, len(sockets)), make([]error, len(sockets))
	v.all(sockets, func() any { return &Metrics{} }, func(i int, answer any, err error) {
		if m, ok := answer.(*MetricsText); ok && err == nil {
			pages[i] = m.Text
			return
		}
		silent[i] = fmt.Errorf("%s: %w", processName(sockets[i]), err)
	})
	return metrics.Merge(pages), errors.Join(silent...)
}

// Fault makes trouble in an actor of a process. An end of the process, when that was the order, is success.
func (v *Visitor) Fault(p *Process, m *MakeFault) error {
	_, err := v.ask(p.Socket, m)
	if f := (*remoting.Failure)(nil); fault.Ends(m.Kind) && errors.As(err, &f) && f.Code == remoting.Lost {
		return nil
	}
	return err
}

// Release ends the quarantine of an actor of a process.
func (v *Visitor) Release(p *Process, id string) error {
	_, err := v.ask(p.Socket, &Release{ID: id})
	return err
}
