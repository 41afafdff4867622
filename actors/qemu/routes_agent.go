package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// agentRoutes: what the guest agent answers.
var agentRoutes = []call.Route[*domain]{
	call.Later(protocol.QemuDomainAgentCommand, (*domain).agentCommand),
	call.Answer(protocol.DomainAgentSetResponseTimeout, (*domain).agentSetTimeout),
	call.Later(protocol.DomainFsfreeze, (*domain).fsFreeze),
	call.Later(protocol.DomainFsthaw, (*domain).fsThaw),
	call.Later(protocol.DomainFstrim, (*domain).fsTrim),
	call.Later(protocol.DomainGetFSInfo, (*domain).fsInfo),
	call.Later(protocol.DomainSetUserPassword, (*domain).setUserPassword),
	call.Later(protocol.DomainGetTime, (*domain).getTime),
	call.Later(protocol.DomainSetTime, (*domain).setTime),
	call.Later(protocol.DomainPMSuspendForDuration, (*domain).pmSuspend),
	call.Later(protocol.DomainGetGuestVCPUs, (*domain).guestVCPUs),
	call.Later(protocol.DomainSetGuestVCPUs, (*domain).setGuestVCPUs),
	call.Later(protocol.DomainAuthorizedSSHKeysGet, (*domain).sshKeys),
	call.Later(protocol.DomainAuthorizedSSHKeysSet, (*domain).setSSHKeys),
	call.Later(protocol.DomainGetGuestInfo, (*domain).guestInfo),
}
