package qemu

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// deviceRoutes: attaching, detaching and changing devices.
var deviceRoutes = []call.Route[*domain]{
	call.Later(protocol.DomainAttachDevice, (*domain).attachDevice),
	call.Later(protocol.DomainAttachDeviceFlags, (*domain).attachDeviceFlags),
	call.Later(protocol.DomainDetachDevice, (*domain).detachDevice),
	call.Later(protocol.DomainDetachDeviceFlags, (*domain).detachDeviceFlags),
	call.Later(protocol.DomainDetachDeviceAlias, (*domain).detachDeviceAlias),
	call.Later(protocol.DomainUpdateDeviceFlags, (*domain).updateDeviceFlags),
	call.Later(protocol.DomainBlockResize, (*domain).blockResize),
}
