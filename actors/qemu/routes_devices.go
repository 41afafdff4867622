package qemu

import (
	"virtree/actors/internal/call"
)

// deviceRoutes: attaching, detaching and changing devices, vCPUs and memory.
var deviceRoutes = []call.Route[*domain]{}
