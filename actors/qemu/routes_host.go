package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// hostRoutes: the host, as node information calls tell it.
var hostRoutes = []call.Route[*driver]{
	call.Later(protocol.NodeGetInfo, (*driver).nodeInfo),
}
