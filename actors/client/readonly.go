package client

import (
	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// readOnlyError is the refusal of a procedure on a read-only connection. Its domain is that of the public
// function, which in libvirt checks this. What is refused for its flags alone is refused in other words.
func readOnlyError(p *protocol.Procedure) error {
	from := call.DomainOf(p)
	if p.ReadOnly == protocol.ReadOnlyConditional {
		for _, r := range p.ACL {
			if r.Perm == "read_secure" {
				return liberr.New(from, liberr.OperationDenied, "%s with secure flag", p.API)
			}
		}
	}
	return liberr.New(from, liberr.OperationDenied, "read only access prevents %s", p.API)
}
