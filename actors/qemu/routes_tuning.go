package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// tuningRoutes: parameters of scheduling, memory, block devices, interfaces and NUMA, virtual CPUs and IO
// threads.
var tuningRoutes = []call.Route[*domain]{
	call.Answer(protocol.DomainGetSchedulerType, (*domain).schedulerType),
	call.Later(protocol.DomainGetSchedulerParameters, (*domain).schedulerParameters),
	call.Later(protocol.DomainGetSchedulerParametersFlags, (*domain).schedulerParametersFlags),
	call.Later(protocol.DomainSetSchedulerParameters, (*domain).setSchedulerParameters),
	call.Later(protocol.DomainSetSchedulerParametersFlags, (*domain).setSchedulerParametersFlags),
	call.Later(protocol.DomainGetMemoryParameters, (*domain).memoryParameters),
	call.Later(protocol.DomainSetMemoryParameters, (*domain).setMemoryParameters),
	call.Later(protocol.DomainSetMemory, (*domain).setMemory),
	call.Later(protocol.DomainSetMaxMemory, (*domain).setMaxMemory),
	call.Later(protocol.DomainSetMemoryFlags, (*domain).setMemoryFlags),
	call.Later(protocol.DomainSetMemoryStatsPeriod, (*domain).setMemoryStatsPeriod),
	call.Answer(protocol.DomainGetNUMAParameters, (*domain).numaParameters),
	call.Later(protocol.DomainSetNUMAParameters, (*domain).setNUMAParameters),
	call.Later(protocol.DomainGetBlkioParameters, (*domain).blkioParameters),
	call.Later(protocol.DomainSetBlkioParameters, (*domain).setBlkioParameters),
	call.Later(protocol.DomainGetBlockIOTune, (*domain).blockIOTune),
	call.Later(protocol.DomainSetBlockIOTune, (*domain).setBlockIOTune),
	call.Answer(protocol.DomainGetInterfaceParameters, (*domain).interfaceParameters),
	call.Later(protocol.DomainSetInterfaceParameters, (*domain).setInterfaceParameters),
	call.Later(protocol.DomainSetPerfEvents, (*domain).setPerfEvents),

	// Virtual CPUs and IO threads.
	call.Later(protocol.DomainSetVCPUs, (*domain).setVCPUs),
	call.Later(protocol.DomainSetVCPUsFlags, (*domain).setVCPUsFlags),
	call.Later(protocol.DomainSetVCPU, (*domain).setVCPU),
	call.Later(protocol.DomainPinVCPU, (*domain).pinVCPU),
	call.Later(protocol.DomainPinVCPUFlags, (*domain).pinVCPUFlags),
	call.Later(protocol.DomainPinEmulator, (*domain).pinEmulator),
	call.Later(protocol.DomainAddIOThread, (*domain).addIOThread),
	call.Later(protocol.DomainDelIOThread, (*domain).delIOThread),
	call.Later(protocol.DomainSetIOThreadParams, (*domain).setIOThreadParams),
	call.Later(protocol.DomainPinIOThread, (*domain).pinIOThread),
}
