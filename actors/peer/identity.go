package peer

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// identity is what makes two callers the same to the daemon.
type identity struct {
	own, readOnly     bool // own: a driver of this process, not a client's call
	unix              bool
	uid, gid          uint32
	pid               int32
	start             uint64
	user, group       string
	sasl, x509, label string
}

func identityOf(c *call.Caller) identity {
	if c == nil || c.Transport == "unix" && c.PID == 0 {
		return identity{own: true}
	}
	id := identity{readOnly: c.ReadOnly, sasl: c.SASLUser, x509: c.X509Name, label: c.SELinux}
	if c.Transport == "unix" {
		id.unix, id.uid, id.gid, id.pid, id.start, id.user, id.group = true, c.UID, c.GID, c.PID, c.PIDStart, c.User, c.Group
	}
	return id
}

// params is the identity as CONNECT_SET_IDENTITY takes it.
func (id identity) params() []protocol.TypedParam {
	var list []protocol.TypedParam
	add := func(field string, v protocol.TypedParamValue) {
		list = append(list, protocol.TypedParam{Field: field, Value: v})
	}
	text := func(field, s string) {
		if s != "" {
			add(field, protocol.TypedParamValue{Type: virt.TypedParamString, S: s})
		}
	}
	number := func(field string, n uint64) {
		add(field, protocol.TypedParamValue{Type: virt.TypedParamUllong, Ul: n})
	}
	if id.unix {
		text(virt.ConnectIdentityUserName, id.user)
		number(virt.ConnectIdentityUnixUserID, uint64(id.uid))
		text(virt.ConnectIdentityGroupName, id.group)
		number(virt.ConnectIdentityUnixGroupID, uint64(id.gid))
		add(virt.ConnectIdentityProcessID, protocol.TypedParamValue{Type: virt.TypedParamLlong, L: int64(id.pid)})
		number(virt.ConnectIdentityProcessTime, id.start)
	}
	text(virt.ConnectIdentitySASLUserName, id.sasl)
	text(virt.ConnectIdentityX509DistinguishedName, id.x509)
	text(virt.ConnectIdentitySelinuxContext, id.label)
	return list
}
