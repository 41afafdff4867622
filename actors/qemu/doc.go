// Package qemu is the QEMU driver: the branch actor, and below it one actor per domain.
//
//	driver   index of all domains; lookups, lists, states, the host          driver.go lookup.go create.go connect.go
//	  domain   definitions, life, job queue, process, monitor                domain.go
//	    jobs     plain sequential code in goroutines that report back        launch.go, everything's `run`
//
// What a call does is found from routes.go: connectionRoutes are the branch's, the other tables a domain's, by
// subject. A domain decides in its Receive, does in a job and applies the job's outcome in Receive again:
//
//	Call --> handler --task--> queue (job.go) --> run (a goroutine) --Done--> apply --> Reply
//	                             | full, or 30 s without a turn: libvirt's error
//
// Messages in: call.Call (from the branch, undecoded), define, create, rename, autostart (from the branch, with
// what it has parsed or reserved), monitorEvent and monitorLost (from the monitor's reader), kit.Done (from
// jobs). Messages out, to the branch: summaryChanged, published, renamed, forgotten. All of these are urgent and
// so keep their order: the branch knows of a change before the client gets the answer that reveals it, and
// a client hears of an event before the answer to a call that came after it.
//
// A guest is a process in a session of its own, run as a user of its own (security_linux.go), with its log
// in a file of its own. It does not end with the daemon. What a restarted daemon or a restarted domain needs is
// on disk: the definition (persist.go) and the status file (status.go); load.go finds the guest again,
// opens its monitor and asks how it is. Documents at rest are text (document.go).
//
// Interfaces are the files nic*.go. What a network makes of one of its own, its actual kind, comes from a port that the
// network driver is asked for before anything else is done (nic_port.go). Then the host's end is made and the filter driver
// is told of it by a binding (nic_connect_linux.go, nic_filter.go), all before the guest runs; macvtaps go up last. What a
// NIC had is taken back in one place (nic_release_linux.go), whether the guest ends, the device goes or a start fails.
// An adopted guest keeps its links; ports, bridges and bindings that others lost are restored beside everything else, again
// and again until the other drivers are back (nic_adopt.go).
//
// Leases on disks are the files locks*.go. They are had while the guest's CPUs run: the monitor's handler acquires them before
// `cont` and releases them after `stop` (locks.go), which images they are on stands in locks_wanted.go, and where else they
// come and go in locks_domain.go. Without a lock manager in qemu.conf none of it does anything.
//
// When a domain's actor panics, its supervisor restarts it and it adopts its own guest. When it does not come
// back from a message it is abandoned; its successor closes the monitor that it holds (monitors.go). When QEMU does
// not answer, jobs on that domain wait or fail; reads are answered from the last known state, and destroy
// is never behind anything.
//
// libvirt's counterparts are src/qemu and src/conf/domain_conf.c.
package qemu
