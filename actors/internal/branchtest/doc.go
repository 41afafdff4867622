// Package branchtest runs one branch in an actor system of its own and talks to it as client actors do: with calls whose
// arguments and results are raw XDR, and with subscriptions. Only tests import it.
package branchtest
