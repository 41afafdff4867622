package qemu

import (
	"virtree/actors/internal/call"
)

// jobRoutes: long jobs: save, dump, migration, block jobs, snapshots, checkpoints, backup.
var jobRoutes = []call.Route[*domain]{}
