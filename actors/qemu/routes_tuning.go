package qemu

import (
	"virtree/actors/internal/call"
)

// tuningRoutes: parameters of scheduling, memory, block devices, interfaces and NUMA.
var tuningRoutes = []call.Route[*domain]{}
