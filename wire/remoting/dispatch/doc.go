// Package dispatch lets the goroutine that read a message from a socket run the actor which the message is for.
//
// protoactor starts a goroutine for each burst of an actor's mailbox. When the process is otherwise idle, starting one
// wakes another thread, which spins, finds nothing and sleeps again; on a small machine that costs more than the
// whole rest of a message's way between two processes (BenchmarkRoundTrip in package remoting has both).
// A reader is about to wait for its socket anyway, so it can do the work itself.
//
// All actors of a system share one [Dispatcher]. A reader makes itself a [Host]; between Open and Run, which it
// calls when it has delivered all that it had read, what actors are scheduled falls to it: Run runs the first
// of them and starts goroutines for the others. It does not matter who scheduled them.
//
//	read ... Open, deliver, deliver, Run ... read
//
// A Receive that takes long must not hold up the socket: if Run has not ended after one to two
// periods of the dispatcher's clock, the host's takeover function is called on a goroutine of its own, to go on reading,
// and Run will return false, which tells its caller to leave. The clock stands still while nothing runs.
package dispatch
