// Package remoting carries protoactor-go messages between processes over UNIX sockets, so that an
// actor cannot tell whether the PID it sends to lives in its own process or in another one.
//
// # What it owns
//
// A [Node] is one actor system's place among the others: its listening socket, the table of its peers,
// and one heartbeat goroutine. An endpoint is one peer's address: the actor.Process that every PID
// of that address resolves to. It outlives connections, because protoactor caches it inside PIDs. A link
// is one established connection of an endpoint; there is never more than one.
//
//	actor --Send/Request--> endpoint --encode--> queue --sendmsg--> socket
//	                          | not up: dial (the first send), or fail at once (while backing off)
//	socket --recvmsg--> link reader --decode--> ProcessRegistry.GetLocal(id) --> mailbox
//
// # States of an endpoint
//
//	        send            handshake done
//	down ----------> dialing --------------> up
//	 ^  ^               |                     |
//	 |  '---------------'                     |
//	 |    dial failed: back off               |
//	 '----------------------------------------'
//	   EOF, protocol error, missed heartbeats
//
// There are heartbeats only while somebody waits for the peer: the kernel tells when it dies, and that it was stopped
// matters to nobody else. An idle link wakes neither side.
//
// Two nodes that dial each other at the same moment keep the connection which the smaller address
// dialled. A node that dials again has lost its old connection, whether or not the other side has
// noticed: the epoch in its hello says so, and the other side drops the old one first.
//
// A peer whose link was lost is expected back for Options.Patience: until then messages to it wait and are sent on the next
// link. One that leaves on purpose says goodbye first (goodbye.go), and then no request fails.
//
// # On the wire
//
// Each frame is a 32 bit big-endian length and a MessagePack array (envelope.go). Descriptors travel as
// SCM_RIGHTS with, or before, the first byte of the frame that counts them. Message types are registered by
// name and version ([Register]); the hello lists a node's types, and from then on the position
// in that list stands for the type.
//
// A reader runs, where Options.Dispatcher allows it, the actor that it has delivered to (package dispatch); an actor
// that sends writes to the socket itself if that is idle. So a message can cross two processes without
// a goroutine being started for it.
//
// # What is promised
//
//   - Messages from one actor to another arrive in order, at most once. Across pairs there is no order.
//   - A send never blocks. Over the queue limits the message is undeliverable with [Busy].
//   - An undeliverable message is answered: Options.OnUndeliverable is called with its sender, or
//     else the sender gets a [*Failure]. A message without a sender becomes a dead letter.
//   - A message with RequestSerial is remembered until a message with the equal ReplySerial comes
//     back for its sender, and so is every message sent by a future. When the link is lost they
//     all fail at once, with [Lost]: unlike every other code, that one leaves open whether the peer
//     acted. The peer may also answer late through a third process, so askers match replies by serial and
//     ignore one they no longer wait for.
//   - A watcher of a remote actor gets Terminated: the peer's own, NotFound for a name that does not exist,
//     or AddressTerminated when the link is lost or cannot be made. When a link is lost, the watches
//     that came over it are taken back from the local actors.
//   - Nothing that a peer sends makes this process crash: what cannot be understood is answered with an
//     error frame where the envelope is sound, else the link is closed.
//   - Descriptors ([DescriptorCarrier]) belong to remoting from the moment of the send and to the receiving
//     actor from the moment of delivery. In between, and whenever the message cannot be delivered,
//     remoting closes them.
//
// # Who may connect
//
// Both sides check the other's uid (SO_PEERCRED) before a byte is parsed. The check is all the trust
// there is: peers of the right uid may claim any address and may stop any actor, as the same uid could anyway.
//
// libvirt has no counterpart: its daemons reach one another as RPC clients.
package remoting
