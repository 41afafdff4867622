package protocol

import "virtree/wire/xdr"

// Key is what a call's first argument tells of the object it is for. Which fields count depends on the
// procedure's Object.
type Key struct {
	Name string // the pool's name for volumes, the port device for bindings
	UUID UUID
}

// PeekUUID reads the UUID of the domain, network, pool, nwfilter or secret that args begin with,
// without allocating. It reports false where the procedure has none or the bytes end early.
func (p *Procedure) PeekUUID(args []byte) (u UUID, ok bool) {
	d := xdr.NewDecoder(args)
	switch p.Object {
	case ObjectDomain, ObjectNetwork, ObjectNetworkPort, ObjectNwfilter, ObjectStoragePool:
		d.SkipString(RemoteStringMax)
	case ObjectDomainCheckpoint, ObjectDomainSnapshot:
		d.SkipString(RemoteStringMax)
		d.SkipString(RemoteStringMax)
	case ObjectSecret:
	default:
		return u, false
	}
	d.FixedOpaque(u[:])
	return u, d.Err() == nil
}

// PeekName reads the name that args begin with: of the object itself, of a volume's pool, of a
// binding's port device. For checkpoints and snapshots it is the domain's.
func (p *Procedure) PeekName(args []byte) (string, bool) {
	d := xdr.NewDecoder(args)
	switch p.Object {
	case ObjectNone, ObjectSecret:
		return "", false
	case ObjectDomainCheckpoint, ObjectDomainSnapshot:
		d.SkipString(RemoteStringMax)
	}
	s := d.String(RemoteStringMax)
	return s, d.Err() == nil
}
