package secret

import (
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Ask asks for the value of a secret, also of a private one: for the branches that use secrets (disks, TLS keys). No
// client can send it. It names the secret by UUID, or by usage when ByUsage is set. One that is named by UUID must be of
// UsageType, unless that is 0 (none): InvalidArg.
type Ask struct {
	Serial    uint64
	UUID      protocol.UUID
	ByUsage   bool
	UsageType int32
	UsageID   string
}

// RequestSerial pairs it with Value.
func (a *Ask) RequestSerial() uint64 { return a.Serial }

// Value answers Ask. The receiver owns Value and wipes it after use.
type Value struct {
	Serial uint64
	Value  []byte
	Err    *liberr.Error
}

// ReplySerial pairs it with Ask.
func (v *Value) ReplySerial() uint64 { return v.Serial }

// loaded is what the job found that read the folder.
type loaded struct {
	secrets []*object
	sealer  *sealer
	broken  error // names what was left out
}

// written is what became of a change's job.
type written struct {
	change *change
	err    error
}

// Results of jobs.
type (
	loadDone  = kit.Done[*loaded]
	writeDone = kit.Done[*written]
)
