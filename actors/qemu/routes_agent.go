package qemu

import (
	"virtree/actors/internal/call"
)

// agentRoutes: what the guest agent answers.
var agentRoutes = []call.Route[*domain]{}
