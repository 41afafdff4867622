// Package rpc is libvirt's packet layer: bytes of a connection to packets and
// back. It knows nothing of actors and nothing of what a procedure means.
//
// # What it owns
//
// A [Conn] owns one connection: UNIX (with file descriptors), TCP, TLS, or anything
// else that is a net.Conn. ReadPacket cuts the stream into packets; Send
// queues packets and writes them, in the order of the calls. Keepalive packets are
// answered inside ReadPacket and are never seen outside.
//
//	socket --recvmsg--> 8 KiB buffer --> Packet (pooled) --> ReadPacket
//	Send --> queue --sendmsg--> socket        many packets per system call, both ways
//
// A [Client] is the other end of the protocol, for tests, tools, benchmarks and for
// talking to a C daemon: calls in flight, events, streams, descriptors.
//
// # Order
//
// Packets arrive in the order in which the peer sent them. Send calls of one goroutine
// leave in their order; between goroutines there is no order, but packets never mix.
// Descriptors leave directly behind their packet.
//
// # Back-pressure
//
// Send never waits for the peer. When much is queued, Congested becomes true,
// and who produces the output is expected to stop accepting work until OnDrain or
// WaitDrained; past the hard limit Send refuses. Input is slowed by not calling
// ReadPacket.
//
// # When it dies
//
// Any violation of the framing (length word, descriptors) is a [FrameError] and
// ends the connection without an answer. A write error closes the connection,
// so that ReadPacket fails too. The decoder of payloads is elsewhere (wire/protocol):
// a payload that does not decode is an error reply, not the end of a connection.
//
// The libvirt counterparts are virnetmessage, virnetsocket, virkeepalive and
// virnetclient in its src/rpc.
package rpc
