package fault

import (
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

// What no supervisor in the same process survives: only a process of its own contains it.

// Exit ends the whole process as a wrong call of os.Exit would: nothing is stopped, nothing is saved.
type Exit struct{}

// exitCode is none of those that have a meaning for a service manager.
const exitCode = 99

// Inject implements mailbox.Fault.
func (*Exit) Inject() { os.Exit(exitCode) }

// Fatal is an error that Go's runtime does not let anybody recover from, as concurrent writes to a map.
type Fatal struct{}

// Inject implements mailbox.Fault.
func (*Fatal) Inject() {
	var m sync.Mutex
	m.Unlock() //nolint:staticcheck // the error is the purpose
}

// Overflow calls itself until the stack is used up. The limit is lowered first: Go's own is a gigabyte, which would be a
// second fault.
type Overflow struct{}

// Inject implements mailbox.Fault.
func (*Overflow) Inject() {
	debug.SetMaxStack(16 << 20)
	panic(deeper(1)) // not reached
}

//go:noinline
func deeper(n int) int {
	//lint:ignore SA5007 the error is the purpose
	return deeper(n+1) + n
}

// MapWrite writes to one map from several goroutines until the runtime sees it. The key is long, and each writer has it in
// memory of his own: to compare them takes most of the time of a write, so that the writers meet at once.
type MapWrite struct{}

// Inject implements mailbox.Fault.
func (*MapWrite) Inject() {
	m := map[string]int{}
	for i := range 4 {
		key := strings.Repeat("x", 8<<20)
		go func() {
			for {
				m[key] = i // and not ++, which reads the map apart where races are detected
			}
		}()
	}
	select {}
}
