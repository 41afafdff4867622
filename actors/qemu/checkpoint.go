package qemu

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Checkpoints and backups cannot be made yet, so there are none: what asks for them hears just that.

func (d *domain) listAllCheckpoints(_ actor.Context, _ *call.Request, _ *protocol.DomainListAllCheckpointsArgs) (*protocol.DomainListAllCheckpointsRet, error) {
	return &protocol.DomainListAllCheckpointsRet{}, nil
}

func (d *domain) checkpointByName(_ actor.Context, _ *call.Request, a *protocol.DomainCheckpointLookupByNameArgs) (*protocol.DomainCheckpointLookupByNameRet, error) {
	return nil, liberr.New(liberr.FromDomainCheckpoint, liberr.NoDomainCheckpoint, "no domain checkpoint with matching name '%s'", a.Name)
}

func (d *domain) backupXML(_ actor.Context, _ *call.Request, _ *protocol.DomainBackupGetXMLDescArgs) (*protocol.DomainBackupGetXMLDescRet, error) {
	return nil, liberr.New(liberr.FromQemu, liberr.NoDomainBackup, "no domain backup job present")
}
