package call

import (
	"hash/maphash"

	"virtree/actors/internal/mailbox"
)

// Flow says whose the call is, for lanes in which callers take turns: the user, as far as the transport tells, and below
// him the program. Connections of one program share its turn.
func (c *Call) Flow() mailbox.Flow {
	who := c.Caller
	if who == nil {
		return mailbox.Flow{}
	}
	f := mailbox.Flow{Group: uint64(who.UID) + 1, Member: uint64(who.PID)}
	if who.Transport != "unix" {
		// The UID says nothing of who is at the other end, and a program there has no number.
		switch {
		case who.SASLUser != "":
			f.Group = maphash.String(seed, who.SASLUser)
		case who.X509Name != "":
			f.Group = maphash.String(seed, who.X509Name)
		default:
			f.Group = maphash.String(seed, host(who.Remote))
		}
		f.Member = maphash.String(seed, host(who.Remote))
	}
	if f.Member == 0 {
		f.Member = who.Client
	}
	return f
}

var seed = maphash.MakeSeed()

// host is an address without its port: each connection has another one.
func host(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if c := address[i]; c == ';' || c == ':' {
			return address[:i]
		}
	}
	return address
}
