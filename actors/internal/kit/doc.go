// Package kit is what every actor of the tree stands on, so that a driver's files hold nothing but its driver.
//
//	Props      an actor with our mailbox, crash records and busy answers
//	NewSystem  an actor system that logs through zerolog and lists its actors and jobs
//	Unhandled  the default case of every Receive
//	Asks       who waits for which answer until when, without a timer or a future per call
//	Job        blocking work outside of Receive: a context, a deadline, a list of what to undo, one result
//	Queue      which job of an object may run now, which one waits, and until when
//	Watchdog   reports actors that do not come back from a message, with their stack
//
// Who asks gets an answer: a request that is refused, lost by a panic or left behind by a stop is answered in the asker's
// own terms when it is Answerable, else by a Failed. Only a message sent without a sender is merely logged.
//
// Nothing here has a mutex that an actor's Receive could wait on for longer than a map access.
package kit
