package qemu

import (
	"virtree/actors/internal/call"
)

// statisticsRoutes: what a domain uses: CPU, memory, blocks, interfaces.
var statisticsRoutes = []call.Route[*domain]{}

// bulkRoutes: the same of many domains in one call.
var bulkRoutes = []call.Route[*driver]{}
