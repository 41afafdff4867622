package qemu

import (
	"slices"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// hostRoutes: the host, as node information calls tell it, and its devices as guests may have them.
var hostRoutes = slices.Concat([]call.Route[*driver]{
	call.Later(protocol.NodeGetInfo, (*driver).nodeInfo),
	call.Later(protocol.NodeGetCPUStats, (*driver).nodeCPUStats),
	call.Later(protocol.NodeGetMemoryStats, (*driver).nodeMemoryStats),
	call.Later(protocol.NodeGetCellsFreeMemory, (*driver).nodeCellsFreeMemory),
	call.Later(protocol.NodeGetFreeMemory, (*driver).nodeFreeMemory),
	call.Later(protocol.NodeGetCPUMap, (*driver).nodeCPUMap),
	call.Later(protocol.NodeGetMemoryParameters, (*driver).nodeMemoryParameters),
	call.Later(protocol.NodeSetMemoryParameters, (*driver).nodeSetMemoryParameters),
	call.Later(protocol.NodeGetFreePages, (*driver).nodeFreePages),
	call.Later(protocol.NodeAllocPages, (*driver).nodeAllocPages),
	call.Later(protocol.NodeSuspendForDuration, (*driver).nodeSuspend),
	call.Answer(protocol.NodeGetSecurityModel, (*driver).nodeSecurityModel),
	call.Later(protocol.ConnectGetSysinfo, (*driver).sysinfo),
	call.Later(protocol.NodeGetSEVInfo, (*driver).nodeSEVInfo),
	call.Later(protocol.ConnectDomainXMLToNative, (*driver).xmlToNative),
	call.Later(protocol.NodeDeviceDettach, (*driver).deviceDettach),
	call.Later(protocol.NodeDeviceDetachFlags, (*driver).deviceDetachFlags),
	call.Later(protocol.NodeDeviceReAttach, (*driver).deviceReattach),
	call.Later(protocol.NodeDeviceReset, (*driver).deviceReset),
}, hostCPURoutes)
