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

	call.Later(protocol.DomainSnapshotCreateXML, (*domain).snapshotCreate),
	call.Later(protocol.DomainRevertToSnapshot, (*domain).snapshotRevert),
	call.Later(protocol.DomainSnapshotDelete, (*domain).snapshotDelete),
	call.Later(protocol.DomainSnapshotGetXMLDesc, (*domain).snapshotXML),
	call.Answer(protocol.DomainSnapshotNum, (*domain).snapshotNum),
	call.Answer(protocol.DomainSnapshotListNames, (*domain).snapshotNames),
	call.Answer(protocol.DomainListAllSnapshots, (*domain).listSnapshots),
	call.Answer(protocol.DomainSnapshotNumChildren, (*domain).snapshotNumChildren),
	call.Answer(protocol.DomainSnapshotListChildrenNames, (*domain).snapshotChildrenNames),
	call.Answer(protocol.DomainSnapshotListAllChildren, (*domain).snapshotChildren),
	call.Answer(protocol.DomainSnapshotLookupByName, (*domain).snapshotLookup),
	call.Answer(protocol.DomainHasCurrentSnapshot, (*domain).hasCurrentSnapshot),
	call.Answer(protocol.DomainSnapshotGetParent, (*domain).snapshotParent),
	call.Answer(protocol.DomainSnapshotCurrent, (*domain).snapshotCurrent),
	call.Answer(protocol.DomainSnapshotIsCurrent, (*domain).snapshotIsCurrent),
	call.Answer(protocol.DomainSnapshotHasMetadata, (*domain).snapshotHasMetadata),

	call.Later(protocol.DomainBlockPull, (*domain).blockPull),
	call.Later(protocol.DomainBlockRebase, (*domain).blockRebase),
	call.Later(protocol.DomainBlockCommit, (*domain).blockCommit),
	call.Later(protocol.DomainBlockCopy, (*domain).blockCopy),
	call.Later(protocol.DomainGetBlockJobInfo, (*domain).blockJobInfo),
	call.Later(protocol.DomainBlockJobAbort, (*domain).blockJobAbort),
	call.Later(protocol.DomainBlockJobSetSpeed, (*domain).blockJobSpeed),
}
