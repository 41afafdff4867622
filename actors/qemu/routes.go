package qemu

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// driverRoutes is what the branch answers itself.
var driverRoutes = call.NewTable(slices.Concat(connectionRoutes, hostRoutes, bulkRoutes, saveDriverRoutes)...)

// domainRoutes is what each domain answers.
var domainRoutes = call.NewTable(slices.Concat(lifeRoutes, statisticsRoutes, tuningRoutes, deviceRoutes, agentRoutes, jobRoutes)...)

// connectionRoutes: the connection, lookups and lists, and what makes a domain. What the branch answers
// about the host stands in routes_host.go, bulk statistics in routes_statistics.go.
var connectionRoutes = []call.Route[*driver]{
	call.Answer(protocol.ConnectOpen, (*driver).open),
	call.Answer(protocol.ConnectSupportsFeature, (*driver).supportsFeature),
	call.Answer(protocol.ConnectGetType, (*driver).getType),
	call.Later(protocol.ConnectGetVersion, (*driver).getVersion),
	call.Answer(protocol.ConnectGetLibVersion, (*driver).getLibVersion),
	call.Answer(protocol.ConnectGetHostname, (*driver).getHostname),
	call.Answer(protocol.ConnectIsSecure, (*driver).isSecure),
	call.Later(protocol.ConnectGetMaxVCPUs, (*driver).getMaxVCPUs),
	call.Later(protocol.ConnectGetCapabilities, (*driver).getCapabilities),
	call.Later(protocol.ConnectGetDomainCapabilities, (*driver).getDomainCapabilities),

	call.Answer(protocol.DomainLookupByName, (*driver).lookupByName),
	call.Answer(protocol.DomainLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.DomainLookupByID, (*driver).lookupByID),
	call.Answer(protocol.ConnectNumOfDomains, (*driver).numOfDomains),
	call.Answer(protocol.ConnectNumOfDefinedDomains, (*driver).numOfDefinedDomains),
	call.Answer(protocol.ConnectListDomains, (*driver).listDomains),
	call.Answer(protocol.ConnectListDefinedDomains, (*driver).listDefinedDomains),
	call.Answer(protocol.ConnectListAllDomains, (*driver).listAllDomains),

	// Of one domain, and still here: whatever its actor is at, these are answered.
	call.Answer(protocol.DomainGetState, (*driver).state),
	call.Answer(protocol.DomainIsActive, (*driver).isActive),
	call.Answer(protocol.DomainIsPersistent, (*driver).isPersistent),
	call.Answer(protocol.DomainIsUpdated, (*driver).isUpdated),
	call.Answer(protocol.DomainGetAutostart, (*driver).getAutostart),

	call.Later(protocol.DomainDefineXML, (*driver).defineXML),
	call.Later(protocol.DomainDefineXMLFlags, (*driver).defineXMLFlags),
	call.Later(protocol.DomainCreateXML, (*driver).createXML),
	call.Later(protocol.DomainRename, (*driver).rename),
}

// lifeRoutes: the life of a domain, what it is, and the ways to it. The other groups stand in
// routes_statistics.go, routes_tuning.go, routes_devices.go, routes_agent.go and routes_jobs.go.
var lifeRoutes = []call.Route[*domain]{
	// Life.
	call.Later(protocol.DomainCreate, (*domain).createPlain),
	call.Later(protocol.DomainCreateWithFlags, (*domain).createWithFlags),
	call.Later(protocol.DomainDestroy, (*domain).destroyPlain),
	call.Later(protocol.DomainDestroyFlags, (*domain).destroyWithFlags),
	call.Later(protocol.DomainShutdown, (*domain).shutdown),
	call.Later(protocol.DomainShutdownFlags, (*domain).shutdownWithFlags),
	call.Later(protocol.DomainReboot, (*domain).reboot),
	call.Later(protocol.DomainReset, (*domain).reset),
	call.Later(protocol.DomainSuspend, (*domain).suspend),
	call.Later(protocol.DomainResume, (*domain).resume),
	call.Later(protocol.DomainPMWakeup, (*domain).pmWakeup),
	call.Later(protocol.DomainInjectNMI, (*domain).injectNMI),
	call.Later(protocol.DomainSendKey, (*domain).sendKey),
	call.Later(protocol.DomainUndefine, (*domain).undefinePlain),
	call.Later(protocol.DomainUndefineFlags, (*domain).undefineWithFlags),
	call.Later(protocol.DomainSetAutostart, (*domain).setAutostart),

	// What it is.
	call.Later(protocol.DomainGetInfo, (*domain).info),
	call.Answer(protocol.DomainGetXMLDesc, (*domain).xmlDesc),
	call.Answer(protocol.DomainGetOSType, (*domain).osType),
	call.Answer(protocol.DomainGetMaxMemory, (*domain).maxMemory),
	call.Answer(protocol.DomainHasManagedSaveImage, (*domain).hasManagedSave),
	call.Answer(protocol.DomainGetControlInfo, (*domain).controlInfo),
	call.Answer(protocol.DomainGetMessages, (*domain).messages),
	call.Answer(protocol.DomainGetMetadata, (*domain).getMetadata),
	call.Later(protocol.DomainSetMetadata, (*domain).setMetadata),

	call.Answer(protocol.DomainListAllCheckpoints, (*domain).listAllCheckpoints),
	call.Answer(protocol.DomainCheckpointLookupByName, (*domain).checkpointByName),
	call.Answer(protocol.DomainBackupGetXMLDesc, (*domain).backupXML),

	// Ways to it.
	call.Later(protocol.DomainOpenConsole, (*domain).openConsole),
	call.Later(protocol.DomainOpenChannel, (*domain).openChannel),
	call.Later(protocol.QemuDomainMonitorCommand, (*domain).monitorCommand),
}

// The older procedures are the newer ones without flags.

func (d *domain) createPlain(ctx actor.Context, r *call.Request, _ *protocol.DomainCreateArgs) error {
	return d.createCall(ctx, r, 0, nil)
}

func (d *domain) createWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainCreateWithFlagsArgs) error {
	return d.createCall(ctx, r, a.Flags, func() protocol.Encoder { return &protocol.DomainCreateWithFlagsRet{Dom: d.ref()} })
}

func (d *domain) destroyPlain(ctx actor.Context, r *call.Request, _ *protocol.DomainDestroyArgs) error {
	return d.destroyCall(ctx, r, 0)
}

func (d *domain) destroyWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainDestroyFlagsArgs) error {
	return d.destroyCall(ctx, r, a.Flags)
}

func (d *domain) undefinePlain(ctx actor.Context, r *call.Request, _ *protocol.DomainUndefineArgs) error {
	return d.undefine(ctx, r, 0)
}

func (d *domain) undefineWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainUndefineFlagsArgs) error {
	return d.undefine(ctx, r, a.Flags)
}
