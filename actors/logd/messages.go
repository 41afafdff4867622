package logd

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// What jobs return, inside of a kit.Done, and the news of the watcher.

// opened is the result of opening a file for a guest.
type opened struct {
	req  *call.Request
	path string
	fd   int
	pos  protocol.LogLogFilePosition
	err  error
}

// restored is the list of files that were open when an earlier life of the branch ended.
type restored struct{ paths []string }

// touched tells that something happened to watched files since the last one; lost that nobody knows to which.
type touched struct {
	watches []int32
	lost    bool
}

// inspected is how a file is doing.
type inspected struct {
	path   string
	size   int64
	closed bool // nobody can write to it any more, or it is gone
}

// rotated is the result of a rotation.
type rotated struct {
	path string
	err  error
}

// saved is the result of writing the list of open files.
type saved struct{ err error }

// Urgent puts news before calls.
func (*touched) Urgent() bool { return true }
