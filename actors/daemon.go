package actors

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/client"
	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/metrics"
	"virtree/sockets"
	"virtree/sockets/config"
	"virtree/supervisors"
	"virtree/supervisors/logging"
	"virtree/supervisors/paths"
	"virtree/wire/remoting"
)

// Options say what process to be.
type Options struct {
	Daemon   string // "libvirtd", "virtqemud", ...
	Split    bool   // run every branch of the tree as a process below this one, which then serves nobody itself
	Root     string // prefix of every path and socket
	Config   string // configuration file; "" is the daemon's usual one
	PIDFile  string // "" is the daemon's usual one
	Timeout  time.Duration
	Listen   bool     // also on TCP and TLS as configured
	Foreign  []string // drivers that libvirt's own daemons serve, as in foreign_drivers
	Faults   bool     // obey `virtree fault`
	Verbose  bool     // log at least what an operator wants to know, not warnings only
	Detached bool     // nobody reads what it writes to its terminal
	Metrics  string   // address of TCP scrapes; "" leaves it to the configuration

	MetricsRemote bool // the address may be one that other hosts reach

	Ready func() // told once when all serves; may be nil
}

// daemon is one running process.
type daemon struct {
	opts    Options
	kind    kind
	paths   paths.Paths
	conf    config.Daemon
	logs    *logging.Log
	log     zerolog.Logger
	system  *actor.ActorSystem
	node    *remoting.Node
	tree    *supervisors.Tree
	idle    *supervisors.Idle
	set     *sockets.Set
	tls     *sockets.TLSContext // nil without a TLS listener
	admin   *actor.PID          // who answers virt-admin
	env     *branch.Env
	foreign foreigners
	lock    *os.File
	clients atomic.Pointer[[]*client.Figures] // of the servers, once they are there

	name        string          // of the process among those of the tree: "libvirtd", "root", "qemu"
	sources     metrics.Sources // what there is to scrape
	stuck, back atomic.Uint64   // the watchdog's reports, and actors that came back
	scraper     *scraper        // nil until it serves
}

// Run is a daemon from start to end; its result is the process's exit code.
func Run(opts Options) supervisors.ExitCode {
	d := &daemon{opts: opts, log: zerolog.New(os.Stderr)}
	if err := d.start(); err != nil {
		d.log.Error().Err(err).Msg("cannot start")
		d.close()
		return supervisors.CodeOf(err)
	}
	code := supervisors.Serve(d.tree, supervisors.ServeOptions{
		Log: d.log, Idle: d.idle,
		Serving: d.serving,
		Leaving: func() {
			if d.set != nil {
				_ = d.set.Close()
			}
			d.goodbye()
		},
	})
	d.goodbye()
	d.close()
	return code
}

// start brings the process up in order: identity, paths, sockets, tree.
func (d *daemon) start() error {
	k, ok := kindOf(d.opts.Daemon)
	if !ok {
		return &supervisors.ExitError{Code: supervisors.ExitUsage, Err: fmt.Errorf("there is no daemon %q", d.opts.Daemon)}
	}
	d.kind = k
	d.paths = paths.System(d.opts.Root)
	privileged := os.Geteuid() == 0
	if !privileged {
		d.paths = paths.User(d.opts.Root, os.Geteuid())
	}
	if err := d.paths.Prepare(); err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitRunDir, Err: err}
	}
	if err := d.readConfig(privileged); err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitConfig, Err: err}
	}
	if err := d.startLog(); err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitConfig, Err: err}
	}
	if err := d.lockPIDFile(); err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitPIDFile, Err: err}
	}
	act, err := sockets.ActivationFromEnv()
	if err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitNetwork, Err: err}
	}
	d.idle = supervisors.NewIdle(d.opts.Timeout)
	name := d.kind.daemon
	if d.opts.Split {
		name = supervisors.RootName
	} else if len(d.kind.spec) == 1 {
		name = d.kind.spec[0].Name
	}
	d.name = name
	if err := d.startSystem(name, act); err != nil {
		return err
	}
	if err := d.startTree(); err != nil {
		return err
	}
	if err := d.startInspector(); err != nil {
		return err
	}
	if err := d.scraper.listen(); err != nil {
		return err
	}
	if d.opts.Split {
		return nil
	}
	return d.listen(act)
}

func (d *daemon) readConfig(privileged bool) error {
	file := d.opts.Config
	if file == "" {
		file = d.paths.ConfFile(d.kind.daemon)
	}
	conf, err := config.Load(file, d.kind.daemon, privileged, polkitUsable(d.opts.Root))
	if err != nil {
		return err
	}
	d.conf = conf
	return d.readForeign()
}

// startLog begins to log as the configuration wants.
func (d *daemon) startLog() error {
	logs, err := logging.New(logging.Config{
		Daemon: d.kind.daemon, LogFile: d.paths.LogFile(d.kind.daemon), Background: d.opts.Detached, Verbose: d.opts.Verbose,
		Level: logging.Priority(d.conf.LogLevel), Filters: d.conf.LogFilters, Outputs: d.conf.LogOutputs,
	})
	if err != nil {
		return err
	}
	d.logs, d.log = logs, logs.Logger("daemon")
	return nil
}

// startSystem makes the actor system, reachable from the other processes of the tree.
func (d *daemon) startSystem(name string, act *sockets.Activation) error {
	path := d.paths.ActorSocket(name)
	d.system = kit.NewSystem(remoting.Address(path), d.logs.Logger("actor"))
	kit.HoldForJobs(d.system, d.idle.Hold)
	opts := remoting.Options{
		Path: path, Dispatcher: kit.Dispatcher, Logger: d.logs.Logger("remoting"),
		OnUndeliverable: func(sender *actor.PID, msg any, why *remoting.Failure) {
			if answer := call.Undeliverable(msg, why); answer != nil {
				d.system.Root.Send(sender, answer)
			}
		},
	}
	if !d.opts.Split {
		opts.Dial, opts.DialTimeout = d.dialDaemon, wakeTimeout
		opts.Later = true // until there is a branch to speak to
	}
	node, err := remoting.Start(d.system, opts)
	if err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitNetwork, Err: err}
	}
	d.node = node
	return nil
}

// startTree starts the branches: in this process, or each in its own.
func (d *daemon) startTree() error {
	d.env = &branch.Env{Paths: d.paths, Log: d.log, Branch: d.branch, Hold: d.idle.Hold, Figures: &d.sources, Faults: d.opts.Faults}
	o := supervisors.Options{
		Spec: d.kind.spec, Log: d.logs.Logger("supervisor"),
		New: func(b supervisors.Branch) (*actor.Props, error) {
			own := *d.env
			own.Log = d.logs.Logger(b.Name)
			if _, foreign := d.foreign.sockets[b.Name]; foreign {
				return d.newPeer(b.Name), nil
			}
			return newBranch(&own, b)
		},
		Props:    kit.PropsOptions(),
		Observer: kit.Observe(d.system),
		Refuse:   kit.Refuse,
	}
	if d.opts.Split {
		o.Spec, o.New, o.Exec = d.ownHost(), nil, d.command
	}
	tree, err := supervisors.Start(d.system, o)
	if err != nil {
		return err
	}
	d.tree = tree
	go func() {
		<-tree.Ready()
		d.node.Serve()
	}()
	dog := &kit.Watchdog{System: d.system, Log: d.logs.Logger("watchdog"), MaxAbandoned: maxAbandoned}
	dog.OnSlow = func(kit.Stuck) { d.stuck.Add(1) }
	dog.OnBack = func(kit.Stuck) { d.back.Add(1) }
	dog.OnTooMany = func(n int) {
		if len(d.kind.spec) == 1 && !d.opts.Split {
			// A process with one branch is cheap to replace: its guests are adopted by the next one.
			d.tree.Fail(&supervisors.ExitError{Code: supervisors.ExitRecycle, Err: fmt.Errorf("%d actors never came back", n)})
			return
		}
		// One with all branches is not: that costs every client its connection. No object adds more than a few, see
		// supervisors.Config.MaxStuck.
		d.log.Error().Int("abandoned", n).Msg("actors never came back, and keep what they hold until this daemon is restarted")
	}
	go dog.Run(context.Background()) // ends with the process
	return nil
}

// maxAbandoned is how many goroutines that never come back a branch's process may collect.
const maxAbandoned = 3

// command is how a branch runs as a process below this one.
func (d *daemon) command(b supervisors.Branch) supervisors.Command {
	args := []string{b.Daemon, "--root", d.opts.Root}
	if d.opts.Faults {
		args = append(args, "--allow-faults")
	}
	if d.opts.Verbose {
		args = append(args, "--verbose")
	}
	return supervisors.Command{Args: append(args, d.foreignFlags()...)}
}

// branch finds the actor of a branch: in this process, where its own process listens, or the peer of a foreign daemon.
func (d *daemon) branch(name string) *actor.PID {
	if name == "admin" {
		return d.admin
	}
	if d.tree != nil {
		if pid := d.tree.Branch(name); pid != nil {
			return pid
		}
	}
	if _, ok := d.kind.spec.Find(name); ok {
		return nil // ours, and not up
	}
	if _, ok := supervisors.Host.Find(name); !ok {
		return nil
	}
	if d.isForeign(name) {
		return d.peerOf(name)
	}
	return actor.NewPID(remoting.Address(d.paths.ActorSocket(name)), supervisors.RootName+"/"+name)
}

// serving is told when the tree is up: whoever waits for us may go on.
func (d *daemon) serving() {
	if d.opts.Ready != nil {
		d.opts.Ready()
	}
}

// goodbyeLimit bounds how long a daemon that leaves waits until what the others had asked is answered.
const goodbyeLimit = 2 * time.Second

// goodbye tells the other daemons that this one leaves, so that what they ask from now on waits for the next one.
func (d *daemon) goodbye() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeLimit)
	defer cancel()
	d.node.Leave(ctx)
}

// close ends what outlives the tree.
func (d *daemon) close() {
	if d.scraper != nil {
		d.scraper.close()
	}
	if d.set != nil {
		_ = d.set.Close()
	}
	if d.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.node.Close(ctx)
	}
	if d.lock != nil {
		_ = os.Remove(d.lock.Name())
		_ = d.lock.Close()
	}
}
