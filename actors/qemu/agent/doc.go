// Package agent speaks with the QEMU guest agent of one guest, over the UNIX socket that QEMU holds for its
// channel.
//
//	New       no connection yet: the first command opens it
//	Command   one command with a typed answer
//	Raw       a client's own JSON, and the agent's whole answer
//	Event     what QEMU tells ends commands that the agent does not live to answer (shutdown, suspend)
//
// The other side is a guest, which may say anything, or nothing. So one command goes at a time, and before each
// both sides are brought into step (guest-sync-delimited): whatever comes before the number that was sent is left over
// from earlier and thrown away. What is read is bounded.
//
// Errors are libvirt's: AgentUnresponsive for an agent that is not in step, AgentCommandTimeout for one that does not
// answer a command, InternalError with the agent's words for one that refuses it.
//
// The libvirt counterpart is src/qemu/qemu_agent.c.
package agent
