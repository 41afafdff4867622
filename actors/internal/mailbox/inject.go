package mailbox

// Fault is a failure made on purpose. Inject runs where the actor's Receive would: it may panic, block, burn the
// processor, or end the process.
type Fault interface{ Inject() }

// Injected carries a fault through the queue like any message, to whatever actor. The actor's own code does not see it.
// That a message is not one costs a comparison of two words.
type Injected struct {
	Fault Fault
	First bool // before the requests that wait
}

// Urgent puts a fault before requests when it is to be First.
func (i *Injected) Urgent() bool { return i.First }

// Discard does nothing: nobody misses a fault that was refused.
func (*Injected) Discard() {}

// plain is what a message is called by whoever reports it.
func plain(msg any) any {
	if i, ok := msg.(*Injected); ok {
		return i.Fault
	}
	return msg
}
