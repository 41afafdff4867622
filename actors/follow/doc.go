// Package follow looks at a running tree again and again and says what happens in it: rates, latencies, who is busy, what
// went wrong. `virtree top` and `virtree web` show what it finds.
//
// It owns nothing of the tree. It asks the inspectors of the processes (package actors), each by itself, so that one that
// does not answer holds up neither the others nor whoever looks: its last word is shown until it counts as stuck. A
// process that is started again is a new one; what went wrong in the one before stays on the record here.
//
//	processes --Describe--> Follower --Sample--> top, web
//	                           \--> History (what plots need)
package follow
