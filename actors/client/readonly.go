package client

import (
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// readOnlyError is the refusal of a procedure on a read-only connection. Its domain is that of the public
// function, which in libvirt checks this.
func readOnlyError(p *protocol.Procedure) error {
	from := liberr.FromDom
	switch p.Object {
	case protocol.ObjectDomain:
		from = liberr.FromDomain
	case protocol.ObjectDomainSnapshot:
		from = liberr.FromDomainSnapshot
	case protocol.ObjectDomainCheckpoint:
		from = liberr.FromDomainCheckpoint
	default:
		switch p.Driver {
		case "network":
			from = liberr.FromNetwork
		case "storage":
			from = liberr.FromStorage
		case "nodedev":
			from = liberr.FromNodedev
		case "secret":
			from = liberr.FromSecret
		case "nwfilter":
			from = liberr.FromNwfilter
		case "interface":
			from = liberr.FromInterface
		case "hypervisor":
			from = liberr.FromDomain
		}
	}
	return liberr.New(from, liberr.OperationDenied, "read only access prevents %s", p.API)
}
