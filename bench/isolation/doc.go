// Package isolation measures containment: what everybody else feels when one thing is in trouble.
//
// # The matrix
//
// Rows (matrix.go) are data: a fault, the place it is made in, and the systems it can be made in: virtree in one process,
// virtree split, and Debian's libvirtd wherever the fault comes from outside (a stopped or killed QEMU, a monitor that
// answers garbage, storage that hangs, a stopped dnsmasq, floods of clients). Faults inside our actors are made by the
// inspector of a tree that was started with --allow-faults, which `virtree fault` uses too.
//
// # A visit
//
// Each system runs in a box of its own (bench/internal/lab) with the same guests, network and pool. A visit to one system
// with one row is
//
//	victim made --> quiet window --> fault --> fault window --> fault lifted --> tail --> drained, victim gone
//
// and rounds go through all rows, and through the systems of a row in another order each time, so that the quiet window
// that a fault is compared with was measured seconds before on the same daemon, and a busy minute of the machine hits all
// systems alike.
//
// # The callers
//
// One thread (load.go) drives all probe connections without a runtime between: raw sockets, one epoll, a timer. Calls are
// due at a fixed rate whatever happened to those before, and each is timed from when it was due, not from when it could
// be sent: a stall of one second is felt by every call that was due in that second, as it would be by as many
// independent users, and not by the one that a closed loop would have had in flight. What is not answered when the drain ends
// counts as failed, with the time until then. The thread runs before all others (SCHED_FIFO), and how late it was is reported, so that
// its own hunger is not taken for the daemon's. At about 500 calls a second it costs a twentieth of a core.
//
// What is loud on purpose (floods, readers that never read) runs in processes of its own, as do the stand-in emulator and the
// file system that hangs.
//
// # The verdict
//
// A fault is contained when no call outside the faulty object failed, no event was lost, no other guest ended, and the 99th
// percentile of the others' calls and of keepalive is within Limits.Ratio times that of the quiet windows just before, or of all
// quiet windows of that system in the run where those were worse, or below a floor that is noise. The first row makes no fault
// at all, and shows what the machine does by itself. A row whose fault takes a branch with it measures the other branches; see Row.inside.
package isolation
