// Package supervisors is the tree itself: what runs, in which order, what happens when something fails, and how it ends.
//
// # Map
//
//	tree.go      the whole tree as data, on one screen
//	spec.go      what a branch is; order of start
//	policy.go    restart intensity, backoff, giving up: a pure record per child
//	children.go  supervision inside an actor: the root uses it for branches, a driver for its objects
//	child.go     the state machine of one child
//	quarantine.go, stuck.go, stop.go   its three hard cases
//	root.go      the root actor: branches by need
//	process.go   a branch as a process; keeper.go is one life of it
//	run.go       Tree: what main holds. Start, Ready, Branch, Shutdown, Err
//	serve.go     a daemon from READY to its exit code
//	notify.go    sd_notify; idle.go the idle exit; exit.go the exit codes
//	node.go      the picture of the running tree; look.go hands it out; facts.go what is published for it
//
// # For main
//
//	system := kit.NewSystem(address, log)
//	tree, err := supervisors.Start(system, supervisors.Options{Spec: supervisors.Monolith, New: ..., // or Exec: ...
//		Log: log, Props: kit.PropsOptions(), Observer: kit.Observe(system), Refuse: kit.Refuse})
//	os.Exit(int(supervisors.Serve(tree, supervisors.ServeOptions{Idle: idle, Log: log})))
//
// One process: Spec is Monolith and New makes each branch's actor. Split: Spec is Host and Exec gives each branch's
// command; the process started that way runs Host.Only(branch) with New, so its actor has the same id (root/qemu) in
// another address. Nothing else differs.
//
// # For a driver
//
// The branch actor embeds *Children (made in its producer), so that HandleFailure is its own, and begins its Receive with
//
//	if d.Handle(ctx) { return }
//
// Start and Stop its objects through it; Config.Changed keeps the driver's index right: a child's PID changes when it was
// stuck and replaced, and is its stand-in's while it is quarantined.
//
// # Messages
//
// In: Shutdown (answered by ShutdownDone), Release, ChildStuck (from the watchdog), Ready (from children that announce it),
// Reload. Out: ShutdownDone, Shutdown to children that supervise, Reload to branches.
//
// # What is promised
//
//   - A failed child is restarted under its PID with its queue kept, after a delay that doubles. The asker of the message
//     that was lost has its answer from the mailbox.
//   - A child that fails too often is quarantined alone: its name answers each request with the reason. A vital branch ends
//     the process instead, with ExitFailed.
//   - A child that does not come back, or whose restart or stop does not end, is abandoned and counted; a successor takes
//     its place under a new name. It never holds up its supervisor, its siblings, or the end of the process.
//   - Stopping goes in reverse order of starting, each child within its limit, told by messages. The framework's own stop
//     comes after that and has nothing left to wait for.
//   - A branch's process dies with its parent, is back within a fraction of a second when it dies itself, and is killed when
//     it is not ready, not alive or not gone in time.
//
// When the root itself fails nothing is repaired: Tree.Done is closed, main exits non-zero, the service manager starts a
// new process, which adopts what runs. That is also what libvirt's daemons do about a crash, and all they can do.
package supervisors
