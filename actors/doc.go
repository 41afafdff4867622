// Package actors puts a daemon together: the branches of the tree that this process runs, the sockets
// its clients come by, the link to the branches of other processes.
//
//	main -> Run -> supervisors.Start -> root -> one actor per branch (New, in branches.go)
//	            -> servers.go: listeners -> client.Server -> one actor per client
//	            -> remoting: the actors of other processes, split mode only
//	            -> inspect.go: `virtree tree`, `virtree fault`
//
// It is the only package that knows all drivers. Which branches a process runs is not decided here but in
// supervisors.Host; what a daemon of a given name is, in kinds.go.
package actors
