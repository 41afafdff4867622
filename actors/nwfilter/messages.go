package nwfilter

// learned tells the branch what a port's learner has seen: run says which learner.
type learned struct {
	port  string
	run   uint64
	lease lease // of a learner that does not watch DHCP: an address without an end
	ended bool  // the guest gave the address back
}

// Urgent puts what is known before requests.
func (*learned) Urgent() bool { return true }

// learnerEnded tells that a learner cannot go on: err says why; nil when the link is gone.
type learnerEnded struct {
	port string
	run  uint64
	err  error
}

// Urgent keeps it in order with learned.
func (*learnerEnded) Urgent() bool { return true }

// leaseDue is the time at which an address may have come to its end.
type leaseDue struct{ port string }

// Urgent puts it before requests.
func (*leaseDue) Urgent() bool { return true }

// rulesTouched tells that rules of ours may be missing; someone when another program has removed some.
type rulesTouched struct{ someone bool }

// Urgent puts the repair before requests.
func (*rulesTouched) Urgent() bool { return true }
