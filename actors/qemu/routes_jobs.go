package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// jobRoutes: long jobs: save, dump, migration, block jobs, snapshots, checkpoints, backup.
var jobRoutes = []call.Route[*domain]{
	call.Later(protocol.DomainGetJobInfo, (*domain).jobInfo),
	call.Later(protocol.DomainGetJobStats, (*domain).jobStats),
	call.Later(protocol.DomainAbortJob, (*domain).abortJob),
	call.Later(protocol.DomainAbortJobFlags, (*domain).abortJobFlags),

	call.Later(protocol.DomainSave, (*domain).save),
	call.Later(protocol.DomainSaveFlags, (*domain).saveWithFlags),
	call.Later(protocol.DomainSaveParams, (*domain).saveWithParams),
	call.Later(protocol.DomainManagedSave, (*domain).managedSave),
	call.Later(protocol.DomainManagedSaveRemove, (*domain).managedRemove),
	call.Later(protocol.DomainManagedSaveGetXMLDesc, (*domain).managedXML),
	call.Later(protocol.DomainManagedSaveDefineXML, (*domain).managedDefine),

	call.Later(protocol.DomainCoreDump, (*domain).coreDump),
	call.Later(protocol.DomainCoreDumpWithFormat, (*domain).coreDumpFormat),

	call.Later(protocol.DomainBlockPull, (*domain).blockPull),
	call.Later(protocol.DomainBlockRebase, (*domain).blockRebase),
	call.Later(protocol.DomainBlockCommit, (*domain).blockCommit),
	call.Later(protocol.DomainBlockCopy, (*domain).blockCopy),
	call.Later(protocol.DomainGetBlockJobInfo, (*domain).blockJobInfo),
	call.Later(protocol.DomainBlockJobAbort, (*domain).blockJobAbort),
	call.Later(protocol.DomainBlockJobSetSpeed, (*domain).blockJobSpeed),
}
