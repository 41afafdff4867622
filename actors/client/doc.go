// Package client holds the actors that stand for libvirt's clients: a Server per daemon name and
// program set, and below it one Client per connection.
//
//	socket --ReadPacket--> reader goroutine --packet--> Client --Call--> branch or object
//	                                                    Client <--Reply-- (in any order)
//	socket <----------- rpc.Conn, in place ------------ Client <--Event-- branch
//
// A Client decides by the packet's header alone: is the procedure known to this server, is the client
// authenticated, is the connection open, may a read-only connection do this, has it too many calls in
// flight? Then the call goes to the branch that serves it, with its arguments undecoded. Only what
// belongs to the connection itself is served here: authentication, open and close, features, the
// registration of events, the identity, streams.
//
// A Client never waits. Answers come as messages; keepalive PINGs are answered inside the reader, so
// they are answered when every driver is stuck and the limit of calls in flight is reached. What a
// client sends faster than it is served waits in its own backlog, and when that is full, in its socket.
//
// Messages in: packet and hangup (from the reader), call.Reply, call.SubscribeResult,
// call.StreamResult, call.Event, call.SubscriptionLost, Disconnect. Out: call.Call, call.Subscribe, call.Unsubscribe,
// call.StreamEnded; Closed to the server. When a Client dies its socket is closed, its streams are cut
// and the branches drop its subscriptions; objects that follow a client (autodestroy) watch its PID.
//
// libvirt's counterparts are virnetserver, virnetserverclient and remote_daemon_dispatch.
package client
