package remoting

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"
)

// Multicast sends one message to many actors, encoded and sent once per peer. All that live in one process receive the
// same value, so it must not be changed, and it must not carry descriptors. Nobody is told of an actor that is gone.
func (n *Node) Multicast(targets []*actor.PID, msg any) {
	remote := map[string][]string{}
	for _, pid := range targets {
		if n.isLocal(pid) {
			n.system.Root.Send(pid, msg)
		} else {
			remote[pid.Address] = append(remote[pid.Address], pid.Id)
		}
	}
	for address, ids := range remote {
		pid := actor.NewPID(address, ids[0])
		process, ok := n.resolve(pid)
		if !ok {
			n.system.EventStream.Publish(&actor.DeadLetterEvent{PID: pid, Message: msg})
			continue
		}
		for part := range slices.Chunk(ids, maxTargets) {
			process.(*endpoint).send(&header{kind: kindMulti, targets: part}, pid, msg, nil)
		}
	}
}
