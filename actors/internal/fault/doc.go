// Package fault makes actors fail on purpose, for tests and benchmarks of how the rest of the tree bears it.
//
// It owns what can go wrong (the types of this package) and how it is brought about: Inject puts a fault into the
// actor's own mailbox, and it happens on the actor's goroutine in the place of a message, with the mailbox, the crash
// record, the watchdog and the supervisor treating it as they treat a bug. No driver knows of it.
//
// Who may ask for it is decided by the inspector: only a process that was started with --allow-faults obeys.
package fault
