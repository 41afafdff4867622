// Command rpc measures what a client feels: how long a call takes, how many calls a second
// a daemon answers, what connecting, defining and starting cost, and how much memory
// the daemon holds.
//
// The systems are measured in one run, in small slices whose order changes from round
// to round, so that what the machine does beside it hits all alike:
//
//	echo      a bare Go UNIX-socket echo, the least that any daemon in Go can cost
//	libvirtd  Debian's, with the virtlogd beside it, in a box of its own
//	single    virtree in one process
//	direct    virtree split, at virtqemud's own socket
//	proxy     virtree split, at libvirt-sock, through virtproxyd
//
// The client is the same for all: packets encoded once, one call in flight on each
// connection, one thread for all connections, system calls without a runtime between
// (load.go). It costs a few microseconds a call and never more than one core.
//
// It prints a table with ratios to libvirtd, writes results.json and latency.svg,
// throughput.svg, and says of each promise whether it held; -check makes a broken
// promise an exit code.
package main
