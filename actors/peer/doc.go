// Package peer stands in the tree where a branch of ours would, for a driver that libvirt's own daemon serves: the
// network driver of virtnetworkd, say, below a virtqemud of ours. It speaks libvirt's RPC to that daemon's socket, so
// that a host can change over one driver at a time, in either direction.
//
// In: call.Call for the procedures of the one driver (and CONNECT_OPEN, which tells whether the daemon is there),
// call.Subscribe, call.Unsubscribe, call.StreamEnded. Out: call.Reply, call.SubscribeResult, call.Event,
// call.StreamResult. Arguments and results pass as they are; nothing is decoded but the head of an event.
//
//	client, qemu --call.Call--> [peer] --> link of that caller --packet--> virtnetworkd-sock
//	      ^                       | ^                                            |
//	      +--- Reply, Event ------+ +------- Done, heard (reader goroutines) ----+
//
// A link is one connection, open for one caller: the daemon is told for whom it is (CONNECT_SET_IDENTITY) and applies its
// own access rules to that identity; a caller on a read-only connection gets a read-only one. Links that nobody uses are
// closed after a while. Events have a connection of their own, the feed, which exists while somebody is subscribed: its
// registrations are for all objects, and the subscribers filter.
//
// Order: replies come as the daemon answers, events of one connection in the daemon's order.
//
// When the daemon goes: calls in flight are answered with the error that libvirt's client has for a lost connection, and
// not repeated, since they may have been done. The next call connects again; while the daemon is being restarted it waits
// a little (restartPatience), then answers that the socket cannot be reached. The feed is opened again for as long
// as there are subscribers; what happened meanwhile is not reported, as with libvirt's own clients. When the peer itself
// is restarted it has nothing to find again: connections are made as they are needed.
//
// Streams (volumes up and down) go through a socket pair whose one end is handed out like any stream's descriptor.
// Compat: holes of sparse volumes do not travel: a sparse download is asked for plain, a sparse upload is refused.
//
// Counterpart: virGetConnectNetwork and its like in src/driver.c, and the remote driver in src/remote.
package peer
