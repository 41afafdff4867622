// Package logd is the log program: virtlogd, which gives hypervisor drivers the log files of their guests.
//
// In: call.Call for the four procedures of the log program, from clients of virtlogd's socket and from the drivers of the
// tree alike. Out: call.Reply; that of an open carries one descriptor.
//
//	open ----> [file] ----written to----> over max_size: rotate
//	              |
//	              +------closed by all--> forgotten
//
// Compat: the descriptor handed out is the log file itself, opened for appending. virtlogd hands out a pipe and copies
// what comes out of it, so a guest whose virtlogd has died blocks or gets SIGPIPE when it writes, and virtlogd must not
// be stopped while guests run. Here a guest never loses its log, whatever happens to this process. The price: a file
// is rotated by copying it to its first backup and truncating it; what is written between the end of the copy and the
// truncation, some microseconds, is lost; and a file may grow past its limit for the moment it takes to notice.
//
// Nothing polls. inotify tells that a file was written or closed, batches of it at most [pace] apart. Whether somebody
// still has the file open for writing is asked of the kernel: a read lease is granted exactly when nobody has. An idle
// guest costs no wake-up.
//
// A position (inode and offset) stays good across a rotation: the inode is the same, and an offset past the end reads from
// the start. Rotated files are found by their inode, as virtlogd's are.
//
// The open files are also listed in logd.json beside the actor sockets, so that a restarted branch goes on rotating them.
// File work is done in jobs. Two calls on one file may be served in any order; who cares waits for the first answer.
//
// Counterpart: src/logging/log_handler.c, src/util/virrotatingfile.c.
package logd
