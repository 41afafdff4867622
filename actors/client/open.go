package client

import (
	"net/url"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/virt"
)

// local names the procedures that belong to the connection itself.
var local map[*protocol.Procedure]func(*client, actor.Context, *rpc.Packet) (protocol.Encoder, error)

func init() {
	local = map[*protocol.Procedure]func(*client, actor.Context, *rpc.Packet) (protocol.Encoder, error){
		protocol.AuthList.Procedure:                                (*client).authList,
		protocol.AuthPolkit.Procedure:                              (*client).authPolkit,
		protocol.AuthSASLInit.Procedure:                            (*client).saslInit,
		protocol.AuthSASLStart.Procedure:                           (*client).saslStart,
		protocol.AuthSASLStep.Procedure:                            (*client).saslContinue,
		protocol.ConnectOpen.Procedure:                             (*client).connectOpen,
		protocol.ConnectClose.Procedure:                            (*client).connectClose,
		protocol.ConnectGetURI.Procedure:                           (*client).connectURI,
		protocol.ConnectSupportsFeature.Procedure:                  (*client).feature,
		protocol.ConnectGetType.Procedure:                          (*client).connectType,
		protocol.ConnectIsSecure.Procedure:                         (*client).isSecure,
		protocol.ConnectRegisterCloseCallback.Procedure:            (*client).registerClose,
		protocol.ConnectUnregisterCloseCallback.Procedure:          (*client).unregisterClose,
		protocol.ConnectSetIdentity.Procedure:                      (*client).setIdentity,
		protocol.ConnectDomainEventRegister.Procedure:              (*client).eventRegister,
		protocol.ConnectDomainEventDeregister.Procedure:            (*client).eventDeregister,
		protocol.ConnectDomainEventRegisterAny.Procedure:           (*client).eventRegisterAny,
		protocol.ConnectDomainEventDeregisterAny.Procedure:         (*client).eventDeregisterAny,
		protocol.ConnectDomainEventCallbackRegisterAny.Procedure:   (*client).domainCallbackRegister,
		protocol.ConnectDomainEventCallbackDeregisterAny.Procedure: (*client).domainCallbackDeregister,
		protocol.ConnectNetworkEventRegisterAny.Procedure:          (*client).networkEventRegister,
		protocol.ConnectNetworkEventDeregisterAny.Procedure:        (*client).networkEventDeregister,
		protocol.ConnectStoragePoolEventRegisterAny.Procedure:      (*client).poolEventRegister,
		protocol.ConnectStoragePoolEventDeregisterAny.Procedure:    (*client).poolEventDeregister,
		protocol.ConnectNodeDeviceEventRegisterAny.Procedure:       (*client).nodeDeviceEventRegister,
		protocol.ConnectNodeDeviceEventDeregisterAny.Procedure:     (*client).nodeDeviceEventDeregister,
		protocol.ConnectSecretEventRegisterAny.Procedure:           (*client).secretEventRegister,
		protocol.ConnectSecretEventDeregisterAny.Procedure:         (*client).secretEventDeregister,
		protocol.QemuConnectDomainMonitorEventRegister.Procedure:   (*client).monitorEventRegister,
		protocol.QemuConnectDomainMonitorEventDeregister.Procedure: (*client).monitorEventDeregister,
		protocol.AdminConnectOpen.Procedure:                        (*client).adminOpen,
		protocol.AdminConnectClose.Procedure:                       (*client).connectClose,
	}
}

func decode(p *rpc.Packet, v protocol.Decodable) error {
	if err := protocol.UnmarshalArgs(p.Payload, v); err != nil {
		return liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload").WithCause(err)
	}
	return nil
}

// connectOpen parses the URI, finds the driver that serves it and asks that driver's branch, so that a
// connection which is open has somebody behind it.
func (c *client) connectOpen(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectOpenArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if c.opened {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "connection already open")
	}
	name := ""
	if a.Name != nil {
		name = *a.Name
	}
	scheme, uri, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	if a.Flags&virt.ConnectRo != 0 && !c.caller.ReadOnly {
		ro := *c.caller
		ro.ReadOnly = true
		c.caller = &ro
	}
	to := c.conf.Branch(c.conf.Drivers[scheme])
	if to == nil {
		return nil, liberr.New(liberr.FromNone, liberr.NoConnect, "%s", name)
	}
	if c.mayHandOver() {
		if server := c.conf.Elsewhere(c.conf.Drivers[scheme]); server != nil {
			c.handOver(server, p)
			return nil, errLater
		}
	}
	c.scheme, c.uri, c.driver = scheme, uri, to
	header := p.Header
	pend := &pending{bytes: len(p.Payload) + overhead}
	pend.then = func(ctx actor.Context, answer any) {
		c.opening = false
		r, _ := answer.(*call.Reply)
		if r != nil && r.Err != nil && r.Err.Code == liberr.NoSupportCode {
			r = &call.Reply{} // the branch is there and has nothing to say about opening
		}
		if r != nil && r.Err == nil {
			c.opened = true
		}
		if r == nil {
			r = &call.Reply{Err: liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)}
		}
		c.reply(ctx, header, protocol.ConnectOpen.Procedure, to, r)
		c.conf.figures.served(header.Program, header.Proc, p.Since, failure(r))
		if r.Err == nil {
			p.Release() // see forward
		}
	}
	serial, _ := c.asks.Add(to, time.Time{}, pend)
	c.watch(ctx, to)
	c.opening = true
	c.inFlight++
	c.conf.calls.Add(1)
	ctx.Request(to, &call.Call{Proc: protocol.ConnectOpen.Procedure, Serial: serial, Args: p.Payload, Caller: c.caller})
	return nil, errLater
}

// resolve finds the driver for a URI: its scheme, and the URI as CONNECT_GET_URI will show it.
func (c *client) resolve(name string) (scheme, uri string, err error) {
	mode := "system"
	if c.conf.Session {
		mode = "session"
	}
	if name == "" {
		if c.conf.Primary == "" {
			return "", "", liberr.New(liberr.FromNone, liberr.NoConnect, "%s", name)
		}
		return c.conf.Primary, c.conf.Primary + ":///" + mode, nil
	}
	scheme, rest, found := strings.Cut(name, ":")
	u, perr := url.Parse(name)
	switch {
	case perr != nil:
		return "", "", liberr.New(liberr.FromURI, liberr.InternalError, "Unable to parse URI %s", name)
	case !found:
		return "", "", liberr.New(liberr.FromNone, liberr.NoConnect, "URI '%s' does not include a driver name", name)
	case c.conf.Drivers[scheme] == "", u.Host != "", !strings.HasPrefix(rest, "//"):
		// Compat: a URI with a transport or a host is for the client's library; it never comes this far.
		return "", "", liberr.New(liberr.FromNone, liberr.NoConnect, "%s", name)
	case u.Path == "/"+mode:
	case u.Path == "/session" && scheme == "qemu":
		// Compat: libvirt's QEMU driver has always let root say so.
	default:
		from := liberr.FromNone
		if scheme == "nwfilter" {
			from = liberr.FromNwfilter
		}
		return "", "", liberr.New(from, liberr.InternalError, "unexpected %s URI path '%s', try %s:///%s", scheme, u.Path, scheme, mode)
	}
	return scheme, name, nil
}

// connectClose answers and closes once the answer has left.
func (c *client) connectClose(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	c.respond(p, nil)
	c.conn.CloseAfterFlush() // the reader then ends, and with it this actor
	return nil, errLater
}

func (c *client) connectURI(_ actor.Context, _ *rpc.Packet) (protocol.Encoder, error) {
	if !c.opened {
		return nil, notOpen(protocol.ConnectGetURI.Procedure)
	}
	return &protocol.ConnectGetURIRet{URI: c.uri}, nil
}

// feature answers what the daemon itself can do; driver features go to the driver. It works before the
// connection is open for keepalive alone, which switches the server's own pings on.
func (c *client) feature(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectSupportsFeatureArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	yes := &protocol.ConnectSupportsFeatureRet{Supported: 1}
	switch a.Feature {
	case featureProgramKeepalive:
		c.startKeepalive(ctx)
		return yes, nil
	}
	to, err := c.route(protocol.ConnectSupportsFeature.Procedure)
	if err != nil {
		return nil, err
	}
	switch a.Feature {
	case featureFDPassing:
		if c.kind.Unix() {
			return yes, nil
		}
		return &protocol.ConnectSupportsFeatureRet{}, nil
	case featureStringParameters, featureEventCallback, featureCloseCallback, featureUpdateOrder:
		return yes, nil
	}
	if !hypervisors[c.scheme] {
		ret := &protocol.ConnectSupportsFeatureRet{}
		if c.scheme == "network" && a.Feature == featureNetworkUpdateOrder {
			ret.Supported = 1
		}
		return ret, nil
	}
	c.forward(ctx, p, protocol.ConnectSupportsFeature.Procedure, to)
	return nil, errLater
}

// connectType: a connection to a secondary driver is of that driver's type.
func (c *client) connectType(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	to, err := c.route(protocol.ConnectGetType.Procedure)
	if err != nil {
		return nil, err
	}
	if !hypervisors[c.scheme] {
		return &protocol.ConnectGetTypeRet{Type: c.scheme}, nil
	}
	c.forward(ctx, p, protocol.ConnectGetType.Procedure, to)
	return nil, errLater
}

// isSecure: a connection to a secondary driver ends in this host's daemons; a hypervisor answers for itself.
func (c *client) isSecure(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	to, err := c.route(protocol.ConnectIsSecure.Procedure)
	if err != nil {
		return nil, err
	}
	if !hypervisors[c.scheme] {
		return &protocol.ConnectIsSecureRet{Secure: 1}, nil
	}
	c.forward(ctx, p, protocol.ConnectIsSecure.Procedure, to)
	return nil, errLater
}

// Feature numbers that the daemon answers, whatever the driver.
const (
	featureFDPassing        = 8
	featureStringParameters = 9
	featureProgramKeepalive = 10
	featureEventCallback    = 14
	featureCloseCallback    = 15

	featureNetworkUpdateOrder = 16 // net-update takes its arguments in the documented order
	featureUpdateOrder        = 16 // networks are updated in the order of the arguments
)

func (c *client) registerClose(actor.Context, *rpc.Packet) (protocol.Encoder, error) {
	if !c.opened {
		return nil, notOpen(protocol.ConnectRegisterCloseCallback.Procedure)
	}
	c.closeWatch = true
	return nil, nil
}

func (c *client) unregisterClose(actor.Context, *rpc.Packet) (protocol.Encoder, error) {
	if !c.opened {
		return nil, notOpen(protocol.ConnectUnregisterCloseCallback.Procedure)
	}
	c.closeWatch = false
	return nil, nil
}

// adminOpen opens an admin connection; the socket let in only who may.
func (c *client) adminOpen(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.AdminConnectOpenArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if err := call.CheckFlags(a.Flags, 0, liberr.FromAdmin, "adminDispatchConnectOpen"); err != nil {
		return nil, err
	}
	c.opened = true
	return nil, nil
}

// setIdentity replaces the caller's identity by that of the client a proxy speaks for. Only root may: it
// could be anybody anyway.
func (c *client) setIdentity(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectSetIdentityArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if !c.opened {
		return nil, notOpen(protocol.ConnectSetIdentity.Procedure)
	}
	if c.caller.UID != 0 || !c.kind.Unix() {
		return nil, liberr.New(liberr.FromAccess, liberr.AccessDenied, "only root may set the identity of a connection")
	}
	id := *c.caller
	for _, par := range a.Params {
		v := par.Value
		if err := identityType(par.Field, v.Type); err != nil {
			return nil, err
		}
		switch par.Field {
		case virt.ConnectIdentityUserName:
			id.User = v.S
		case virt.ConnectIdentityUnixUserID:
			id.UID = uint32(v.Ul)
		case virt.ConnectIdentityGroupName:
			id.Group = v.S
		case virt.ConnectIdentityUnixGroupID:
			id.GID = uint32(v.Ul)
		case virt.ConnectIdentityProcessID:
			id.PID = int32(v.L)
		case virt.ConnectIdentityProcessTime:
			id.PIDStart = v.Ul
		case virt.ConnectIdentitySASLUserName:
			id.SASLUser = v.S
		case virt.ConnectIdentityX509DistinguishedName:
			id.X509Name = v.S
		case virt.ConnectIdentitySelinuxContext:
			id.SELinux = v.S
		}
	}
	c.caller = &id
	return nil, nil
}

// identityType checks the type of a field of the identity.
func identityType(field string, is int32) error {
	var want int32
	switch field {
	case virt.ConnectIdentityUnixUserID, virt.ConnectIdentityUnixGroupID, virt.ConnectIdentityProcessTime:
		want = virt.TypedParamUllong
	case virt.ConnectIdentityProcessID:
		want = virt.TypedParamLlong
	case virt.ConnectIdentityUserName, virt.ConnectIdentityGroupName, virt.ConnectIdentitySASLUserName,
		virt.ConnectIdentityX509DistinguishedName, virt.ConnectIdentitySelinuxContext:
		want = virt.TypedParamString
	default:
		return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "parameter '%s' not supported", field)
	}
	if is != want {
		names := [...]string{virt.TypedParamInt: "int", virt.TypedParamUint: "uint", virt.TypedParamLlong: "llong", virt.TypedParamUllong: "ullong",
			virt.TypedParamDouble: "double", virt.TypedParamBoolean: "boolean", virt.TypedParamString: "string"}
		name := "unknown"
		if is > 0 && int(is) < len(names) {
			name = names[is]
		}
		return liberr.New(liberr.FromNone, liberr.InvalidArg, "invalid type '%s' for parameter '%s', expected '%s'", name, field, names[want])
	}
	return nil
}
