package backend

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// gentleNice is how much the threads give way that look at many volumes: a call that another process is woken for gets the
// processor at once, and they keep their whole share where nobody else wants it. Far more would let them hold up the
// collector of garbage, which waits for them, on a host that is busy.
const gentleNice = 10

// gently runs f in a thread of its own that gives way to others. The thread ends with it: only a privileged one may take
// its priority back.
func gently(f func()) {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), gentleNice) // without it, it only gives way less
	f()
}
