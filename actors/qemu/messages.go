package qemu

import (
	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
)

// Messages between the driver's branch actor and its domains. Beside these a domain receives the
// call.Call messages that the branch forwards to it.

// Summary is what the branch must know of a domain to answer lookups and lists. It is a value.
type Summary struct {
	Name       string
	UUID       protocol.UUID
	ID         int32 // -1 while inactive
	State      int32
	Reason     int32
	Updated    bool // the persistent definition was changed while the guest runs
	Persistent bool
	Autostart  bool
	Saved      bool // has a managed save image
	Snapshot   bool
	Checkpoint bool
	CPUs       int32 // most vCPUs it may have
}

// Active tells whether the domain runs.
func (s *Summary) Active() bool { return s.ID >= 0 }

// summaryChanged tells the branch what is new; it precedes every answer that reveals it.
type summaryChanged struct{ Summary }

// Urgent lets what is known overtake what is asked.
func (*summaryChanged) Urgent() bool { return true }

// forgotten tells the branch that the domain is neither defined nor active any more: its actor may go.
type forgotten struct{ UUID protocol.UUID }

// Urgent keeps it in order with summaryChanged.
func (*forgotten) Urgent() bool { return true }

// published carries an event to the branch, which has the subscribers.
type published struct{ *call.Event }

// Urgent keeps events in order with summaryChanged.
func (*published) Urgent() bool { return true }

// define gives the domain a new persistent definition. It is how a new domain begins, and how one that
// exists is redefined.
type define struct {
	req *call.Request
	doc *document
}

// create gives the domain a transient definition, or a new one for this run, and starts it.
type create struct {
	req   *call.Request
	doc   *document
	flags uint32
	from  *restoring // a saved state to start from; nil for a cold start
}

// rename asks the domain to take a name that the branch has reserved; renamed tells how it went.
type rename struct {
	req  *call.Request
	name string
}

// renamed frees the name that is not used any more.
type renamed struct {
	UUID     protocol.UUID
	Old, New string
	OK       bool
}

// Urgent keeps it in order with summaryChanged.
func (*renamed) Urgent() bool { return true }

// autostart asks a domain to start because the host did.
type autostart struct{}

// monitorEvent is one event of the domain's QEMU. run tells of which start.
type monitorEvent struct {
	run   uint64
	event qmp.Event
}

// Urgent keeps events in order with the results of jobs.
func (*monitorEvent) Urgent() bool { return true }

// monitorLost tells that QEMU closed its monitor, and why.
type monitorLost struct {
	run uint64
	err error
}

// Urgent keeps it behind the last event.
func (*monitorLost) Urgent() bool { return true }
