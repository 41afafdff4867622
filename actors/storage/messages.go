package storage

import (
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/protocol"
)

// From the branch to a pool.

// define stores a definition; it answers req.
type define struct {
	req *call.Request
	def *def.Pool
}

// create starts a pool from a document, without storing it; it answers req.
type create struct {
	req   *call.Request
	def   *def.Pool
	flags uint32
}

// autostart starts the pool if it does not run, as the host has just started.
type autostart struct{}

// lend asks for a volume as the source of a clone in the pool of borrow, which answers req.
type lend struct {
	volume string
	borrow *borrow
	req    *call.Request
	to     target
}

// From one pool to another.

// borrow makes a volume from another pool's; returned goes to the lender at its end.
type borrow struct {
	req    *call.Request
	args   *protocol.StorageVolCreateXMLFromArgs
	source *def.Volume
	lender target
}

// returned ends the use of a volume as a source.
type returned struct{ volume string }

// From a pool to the branch.

// summaryChanged is the pool as the branch needs to know it.
type summaryChanged struct{ summary }

type summary struct {
	UUID                          protocol.UUID
	Def                           *def.Pool
	Active, Persistent, Autostart bool
}

// volumesChanged tells which volumes came or changed their place, and which went.
type volumesChanged struct {
	Pool protocol.UUID
	All  bool // Set is all there is: the pool's actor knows nothing of what it may have told before
	Set  []*def.Volume
	Gone []*def.Volume
}

// published carries an event to those who subscribed.
type published struct{ *call.Event }

// forgotten tells that the pool is neither defined nor active.
type forgotten struct{ UUID protocol.UUID }

// Urgent lets what is known overtake what is asked, and keeps these in order among each other.
func (*summaryChanged) Urgent() bool { return true }

// Urgent keeps it in order with summaryChanged.
func (*volumesChanged) Urgent() bool { return true }

// Urgent keeps it in order with summaryChanged.
func (*published) Urgent() bool { return true }

// Urgent keeps it in order with summaryChanged.
func (*forgotten) Urgent() bool { return true }

// folderChanged is what a watch has heard; nil names stand for any.
type folderChanged struct{ names []string }

// What carries a call that was let in already is not refused for a full mailbox, and what must arrive is not either.

// Urgent keeps it from being refused.
func (*define) Urgent() bool { return true }

// Urgent keeps it from being refused.
func (*create) Urgent() bool { return true }

// Urgent keeps it from being refused.
func (*lend) Urgent() bool { return true }

// Urgent keeps it from being refused.
func (*borrow) Urgent() bool { return true }

// Urgent keeps it from being refused.
func (*returned) Urgent() bool { return true }

// Urgent keeps it from being refused.
func (*folderChanged) Urgent() bool { return true }

// done ends a job.
type done = kit.Done[any]
