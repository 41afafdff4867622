// Command cost measures what supervision costs: what each piece of a call's way takes, how often each process wakes up
// when nobody wants anything of it, and what memory a domain and a connection hold, process by process, beside libvirtd.
//
//	pieces   benchmarks of the packages themselves, BenchmarkCost*, one line each (pieces.go)
//	idle     wake-ups a second: with no client, with defined domains, with running guests (idle.go)
//	memory   KiB per defined domain, running guest and connection: the slope over their number (memory.go)
//
// A wake-up is a voluntary context switch of any thread of the process, as the kernel counts them in
// /proc/PID/task/TID/status: a thread that waits gives up the processor once per wait. It is the count that keeps a laptop or
// a host of sleeping guests from resting, and it is the same for a Go and for a C program.
//
// The three systems (libvirtd, virtree in one process, virtree split) run at the same time, in boxes of their own, through the
// same states. Counts of wake-ups do not depend on what else the machine does; times do.
//
// It prints tables, writes cost.json and cost.txt, and ends within five minutes.
package main
