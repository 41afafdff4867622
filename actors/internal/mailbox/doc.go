// Package mailbox is the queue under every actor: protoactor's Mailbox interface with what the stock ones lack.
//
// It owns the messages between the moment they are sent and the moment the actor's Receive is called with them.
//
//	senders --Post*--> [ system | urgent | normal in turns ] --one at a time--> actor
//	                                       |limit
//	                                       +--> Answerer(Busy)
//
// Lanes. System messages (framework: stop, restart, watch) come first, then urgent ones, then the rest. Urgent is what
// has a method Urgent() that says so, looked up in the message inside the envelope: replies, results of jobs, cancels, lifecycle.
// Within one lane the order is the order of sending; across lanes there is none. The normal lane has flows: requests that
// say whose they are (Flowing) keep their order among each other, and users, below them their programs, take turns.
//
// Limit. The normal lane is bounded, for whoever fills it; others find room for their share. A message over the limit is
// handed to the Answerer at once, in the sender's goroutine, which tells the asker "busy". Nobody is ever blocked, no sender
// spins, nothing is dropped without a word.
//
// Birth. Nothing runs before Start, so a message sent in the gap between the registration of a name and the end of its
// spawn waits its turn instead of wedging the actor.
//
// Death. When the actor has stopped, what is still queued, and what comes later through an old reference, goes to the
// Answerer with Gone. Watchers that come too late get their Terminated. A stop cannot be turned into a restart.
//
// Abandoning. An actor that never comes back from Receive cannot be killed. Abandon takes its messages away from it,
// answers them and the one in hand, and tells its watchers and its parent that it is gone, so that the parent can go on and
// can itself stop. Should the actor come back after all, it is stopped properly.
//
// Watching. Stats reads depth, age, what is being handled and since when, and never waits for the actor. The Registry of
// an actor system lists its live mailboxes. Burst goroutines carry the pprof label "actor", so that a stack can be found.
//
// Compared with the stock mailboxes: no spinning, no drop in silence, a drained burst gives its memory back.
package mailbox
