package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// statisticsRoutes: what a domain uses: CPU, memory, blocks, interfaces.
var statisticsRoutes = []call.Route[*domain]{
	call.Later(protocol.DomainMemoryStats, (*domain).memoryStats),
	call.Later(protocol.DomainBlockStats, (*domain).blockStats),
	call.Later(protocol.DomainBlockStatsFlags, (*domain).blockStatsFlags),
	call.Later(protocol.DomainGetBlockInfo, (*domain).blockInfo),
	call.Later(protocol.DomainGetDiskErrors, (*domain).diskErrors),
	call.Later(protocol.DomainInterfaceStats, (*domain).interfaceStats),
	call.Later(protocol.DomainInterfaceAddresses, (*domain).interfaceAddresses),
	call.Later(protocol.DomainGetHostname, (*domain).hostname),
	call.Later(protocol.DomainGetCPUStats, (*domain).cpuStats),
	call.Answer(protocol.DomainGetSecurityLabel, (*domain).securityLabel),
	call.Later(protocol.DomainGetSecurityLabelList, (*domain).securityLabelList),
	call.Later(protocol.DomainBlockPeek, (*domain).blockPeek),
	call.Later(protocol.DomainMemoryPeek, (*domain).memoryPeek),
	call.Later(protocol.DomainScreenshot, (*domain).screenshot),
	call.Later(protocol.DomainStartDirtyRateCalc, (*domain).startDirtyRate),

	// Virtual CPUs and threads.
	call.Later(protocol.DomainGetVCPUs, (*domain).vcpus),
	call.Answer(protocol.DomainGetVCPUsFlags, (*domain).vcpusFlags),
	call.Answer(protocol.DomainGetMaxVCPUs, (*domain).maxVCPUsCall),
	call.Later(protocol.DomainGetVCPUPinInfo, (*domain).vcpuPinInfo),
	call.Later(protocol.DomainGetEmulatorPinInfo, (*domain).emulatorPinInfo),
	call.Later(protocol.DomainGetIOThreadInfo, (*domain).ioThreadInfo),
	call.Answer(protocol.DomainGetPerfEvents, (*domain).getPerfEvents),

	// Encrypted guests, and migrations that are not under way.
	call.Later(protocol.DomainGetLaunchSecurityInfo, (*domain).launchSecurityInfo),
	call.Later(protocol.DomainSetLaunchSecurityState, (*domain).setLaunchSecurityState),
	call.Later(protocol.DomainMigrateGetMaxDowntime, (*domain).migrateMaxDowntime),
	call.Later(protocol.DomainMigrateSetMaxDowntime, (*domain).migrateSetMaxDowntime),
	call.Later(protocol.DomainMigrateGetCompressionCache, (*domain).migrateCompressionCache),
	call.Later(protocol.DomainMigrateSetCompressionCache, (*domain).migrateSetCompressionCache),
	call.Later(protocol.DomainMigrateGetMaxSpeed, (*domain).migrateMaxSpeed),
	call.Later(protocol.DomainMigrateSetMaxSpeed, (*domain).migrateSetMaxSpeed),
	call.Answer(protocol.DomainMigrateStartPostCopy, (*domain).migrateStartPostCopy),

	call.Later(protocol.ConnectGetAllDomainStats, (*domain).bulkStats),
}

// bulkRoutes: the same of many domains in one call.
var bulkRoutes = []call.Route[*driver]{
	call.Later(protocol.ConnectGetAllDomainStats, (*driver).allDomainStats),
}
