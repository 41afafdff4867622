package client

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/sockets"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// probe is one packet and the answer that libvirt gives to it.
type probe struct {
	what    string
	header  rpc.Header
	payload []byte
	from    liberr.Domain
	code    liberr.Code // 0: success
	message string
}

func header(p *protocol.Procedure) rpc.Header {
	return rpc.Header{Program: p.Program, Version: p.Version, Proc: p.Number, Type: rpc.Call}
}

func encoded(e protocol.Encoder) []byte {
	if e == nil {
		return nil
	}
	return e.AppendXDR(nil)
}

func openArgs(uri string) []byte {
	return encoded(&protocol.ConnectOpenArgs{Name: &uri})
}

// run sends the probe and compares.
func (p probe) run(t *testing.T, c *rpc.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.CallRaw(ctx, p.header, p.payload)
	if p.code == 0 {
		if err != nil {
			t.Errorf("%s: %v", p.what, err)
		}
		return
	}
	want(t, p.what, err, p.from, p.code, p.message)
}

const (
	notOpenText    = "internal error: hypervisor connection not open"
	secondNotOpen  = "internal error: connection not open"
	rpcDecode      = "Unable to decode message payload"
	unknownProgram = "Cannot find program 305419896 version 1"
)

// unopened are probes of a connection that is authenticated and not open, each on one of its own.
var unopened = []probe{
	{"URI before open", header(protocol.ConnectGetURI.Procedure), nil, liberr.FromRPC, liberr.InternalError, notOpenText},
	{"domains before open", header(protocol.ConnectListAllDomains.Procedure), encoded(&protocol.ConnectListAllDomainsArgs{}), liberr.FromRPC, liberr.InternalError, notOpenText},
	{"networks before open", header(protocol.ConnectListAllNetworks.Procedure), encoded(&protocol.ConnectListAllNetworksArgs{}), liberr.FromRPC, liberr.InternalError, secondNotOpen},
	{"keepalive before open", header(protocol.ConnectSupportsFeature.Procedure), encoded(&protocol.ConnectSupportsFeatureArgs{Feature: featureProgramKeepalive}), 0, 0, ""},
	{"descriptors before open", header(protocol.ConnectSupportsFeature.Procedure), encoded(&protocol.ConnectSupportsFeatureArgs{Feature: featureFDPassing}), liberr.FromRPC, liberr.InternalError, notOpenText},
	{"close callback before open", header(protocol.ConnectUnregisterCloseCallback.Procedure), nil, liberr.FromRPC, liberr.InternalError, notOpenText},
	{"domain events before open", header(protocol.ConnectDomainEventRegister.Procedure), nil, liberr.FromRPC, liberr.InternalError, notOpenText},
	{"network events before open", header(protocol.ConnectNetworkEventRegisterAny.Procedure), encoded(&protocol.ConnectNetworkEventRegisterAnyArgs{}), liberr.FromRPC, liberr.InternalError, secondNotOpen},
	{"no network callback before open", header(protocol.ConnectNetworkEventDeregisterAny.Procedure), encoded(&protocol.ConnectNetworkEventDeregisterAnyArgs{}), liberr.FromRPC, liberr.InternalError, secondNotOpen},
	{"identity before open", header(protocol.ConnectSetIdentity.Procedure), encoded(&protocol.ConnectSetIdentityArgs{}), liberr.FromRPC, liberr.InternalError, notOpenText},
	{"SASL where none is asked", header(protocol.AuthSASLInit.Procedure), nil, liberr.FromRPC, liberr.AuthFailed, "authentication failed: authentication failed"},
	{"SASL step where none is asked", header(protocol.AuthSASLStep.Procedure), encoded(&protocol.AuthSASLStepArgs{}), liberr.FromRPC, liberr.AuthFailed, "authentication failed: authentication failed"},
	{"unknown program", rpc.Header{Program: 0x12345678, Version: 1, Proc: 1}, nil, liberr.FromRPC, liberr.RPC, unknownProgram},
	{"unknown version", rpc.Header{Program: protocol.RemoteProgram, Version: 2, Proc: 1}, nil, liberr.FromRPC, liberr.RPC, "Cannot find program 536903814 version 2"},
	{"unknown procedure", rpc.Header{Program: protocol.RemoteProgram, Version: 1, Proc: 9999}, nil, liberr.FromRPC, liberr.RPC, "unknown procedure: 9999"},
	{"procedure 0", rpc.Header{Program: protocol.RemoteProgram, Version: 1}, nil, liberr.FromRPC, liberr.RPC, "unknown procedure: 0"},
	{"procedure below 0", rpc.Header{Program: protocol.RemoteProgram, Version: 1, Proc: -5}, nil, liberr.FromRPC, liberr.RPC, "unknown procedure: -5"},
	{"unknown procedure of the qemu program", rpc.Header{Program: protocol.QemuProgram, Version: 1, Proc: 99}, nil, liberr.FromRPC, liberr.RPC, "unknown procedure: 99"},
	{"another daemon's program", rpc.Header{Program: protocol.AdminProgram, Version: 1, Proc: 1}, nil, liberr.FromRPC, liberr.RPC, "Cannot find program 110102160 version 1"},
	{"a call of an event", header(protocol.DomainEventLifecycle.Procedure), nil, liberr.FromRPC, liberr.RPC, "unknown procedure: 107"},
	{"status error", rpc.Header{Program: protocol.RemoteProgram, Version: 1, Proc: 1, Status: rpc.Error}, nil, liberr.FromRPC, liberr.RPC, "Unexpected message status 1"},
	{"status continue", rpc.Header{Program: protocol.RemoteProgram, Version: 1, Proc: 66, Status: rpc.Continue}, nil, liberr.FromRPC, liberr.RPC, "Unexpected message status 2"},
	{"open without arguments", header(protocol.ConnectOpen.Procedure), nil, liberr.FromRPC, liberr.RPC, rpcDecode},
	{"open cut off", header(protocol.ConnectOpen.Procedure), []byte{0, 0, 0, 1}, liberr.FromRPC, liberr.RPC, rpcDecode},
	{"open with trailing bytes", header(protocol.ConnectOpen.Procedure), append(openArgs("qemu:///system"), 1, 2, 3, 4), 0, 0, ""},
	{"open an unknown scheme", header(protocol.ConnectOpen.Procedure), openArgs("foo:///system"), liberr.FromNone, liberr.NoConnect, "no connection driver available for foo:///system"},
	{"open without a scheme", header(protocol.ConnectOpen.Procedure), openArgs("foo"), liberr.FromNone, liberr.NoConnect, "no connection driver available for URI 'foo' does not include a driver name"},
	{"open with a transport", header(protocol.ConnectOpen.Procedure), openArgs("qemu+unix:///system"), liberr.FromNone, liberr.NoConnect, "no connection driver available for qemu+unix:///system"},
	{"open in capitals", header(protocol.ConnectOpen.Procedure), openArgs("QEMU:///system"), liberr.FromNone, liberr.NoConnect, "no connection driver available for QEMU:///system"},
	{"open what is no URI", header(protocol.ConnectOpen.Procedure), openArgs("qemu://[/x"), liberr.FromURI, liberr.InternalError, "internal error: Unable to parse URI qemu://[/x"},
	{"open another path", header(protocol.ConnectOpen.Procedure), openArgs("qemu:///foo"), liberr.FromNone, liberr.InternalError, "internal error: unexpected qemu URI path '/foo', try qemu:///system"},
	{"open no path", header(protocol.ConnectOpen.Procedure), openArgs("qemu://"), liberr.FromNone, liberr.InternalError, "internal error: unexpected qemu URI path '', try qemu:///system"},
	{"open the session as root", header(protocol.ConnectOpen.Procedure), openArgs("qemu:///session"), 0, 0, ""},
	{"open another path of networks", header(protocol.ConnectOpen.Procedure), openArgs("network:///session"), liberr.FromNone, liberr.InternalError, "internal error: unexpected network URI path '/session', try network:///system"},
	{"open networks", header(protocol.ConnectOpen.Procedure), openArgs("network:///system"), 0, 0, ""},
}

// opened are probes of one open connection, in this order.
var opened = []probe{
	{"a result", header(protocol.DomainLookupByName.Procedure), []byte{0, 0}, liberr.FromRPC, liberr.RPC, rpcDecode},
	{"a string longer than allowed", header(protocol.DomainLookupByName.Procedure), []byte{0x7f, 0, 0, 0}, liberr.FromRPC, liberr.RPC, rpcDecode},
	{"events that nobody asked for", header(protocol.ConnectDomainEventDeregister.Procedure), nil, liberr.FromRPC, liberr.InternalError, "internal error: domain event 0 not registered"},
	{"events, oldest form", header(protocol.ConnectDomainEventRegister.Procedure), nil, 0, 0, ""},
	{"again", header(protocol.ConnectDomainEventRegister.Procedure), nil, liberr.FromNone, liberr.InvalidArg, "invalid argument: event callback already tracked"},
	{"the same in the second form", header(protocol.ConnectDomainEventRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventRegisterAnyArgs{}), liberr.FromNone, liberr.InvalidArg, "invalid argument: event callback already tracked"},
	{"another event in the second form", header(protocol.ConnectDomainEventRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventRegisterAnyArgs{EventID: 1}), 0, 0, ""},
	{"an event that is younger than the form", header(protocol.ConnectDomainEventRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventRegisterAnyArgs{EventID: 16}), liberr.FromRPC, liberr.InternalError, "internal error: unsupported event ID 16"},
	{"no event", header(protocol.ConnectDomainEventRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventRegisterAnyArgs{EventID: -1}), liberr.FromRPC, liberr.InternalError, "internal error: unsupported event ID -1"},
	{"no longer", header(protocol.ConnectDomainEventDeregisterAny.Procedure), encoded(&protocol.ConnectDomainEventDeregisterAnyArgs{EventID: 1}), 0, 0, ""},
	{"no longer, again", header(protocol.ConnectDomainEventDeregisterAny.Procedure), encoded(&protocol.ConnectDomainEventDeregisterAnyArgs{EventID: 1}), liberr.FromRPC, liberr.InternalError, "internal error: domain event 1 not registered"},
	{"no longer, what never was", header(protocol.ConnectDomainEventDeregisterAny.Procedure), encoded(&protocol.ConnectDomainEventDeregisterAnyArgs{EventID: 99}), liberr.FromRPC, liberr.InternalError, "internal error: unsupported event ID 99"},
	{"the oldest form by the second", header(protocol.ConnectDomainEventDeregisterAny.Procedure), encoded(&protocol.ConnectDomainEventDeregisterAnyArgs{}), 0, 0, ""},
	{"a callback", header(protocol.ConnectDomainEventCallbackRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventCallbackRegisterAnyArgs{}), 0, 0, ""},
	{"the same callback", header(protocol.ConnectDomainEventCallbackRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventCallbackRegisterAnyArgs{}), liberr.FromNone, liberr.InvalidArg, "invalid argument: event callback already tracked"},
	{"a callback of one domain", header(protocol.ConnectDomainEventCallbackRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventCallbackRegisterAnyArgs{Dom: &protocol.Domain{Name: "vt-none", UUID: protocol.UUID{1}}}), 0, 0, ""},
	{"a callback for no event", header(protocol.ConnectDomainEventCallbackRegisterAny.Procedure), encoded(&protocol.ConnectDomainEventCallbackRegisterAnyArgs{EventID: 99}), liberr.FromRPC, liberr.InternalError, "internal error: unsupported event ID 99"},
	{"no such callback", header(protocol.ConnectDomainEventCallbackDeregisterAny.Procedure), encoded(&protocol.ConnectDomainEventCallbackDeregisterAnyArgs{CallbackID: 1 << 30}), liberr.FromRPC, liberr.InternalError, "internal error: domain event callback 1073741824 not registered"},
	{"no such network callback", header(protocol.ConnectNetworkEventDeregisterAny.Procedure), encoded(&protocol.ConnectNetworkEventDeregisterAnyArgs{CallbackID: 1 << 30}), liberr.FromRPC, liberr.InternalError, "internal error: network event callback 1073741824 not registered"},
	{"an unknown network event", header(protocol.ConnectNetworkEventRegisterAny.Procedure), encoded(&protocol.ConnectNetworkEventRegisterAnyArgs{EventID: 9}), liberr.FromRPC, liberr.InternalError, "internal error: unsupported network event ID 9"},
	{"no such monitor callback", header(protocol.QemuConnectDomainMonitorEventDeregister.Procedure), encoded(&protocol.QemuConnectDomainMonitorEventDeregisterArgs{CallbackID: 1 << 30}), liberr.FromRPC, liberr.InternalError, "internal error: qemu monitor event callback 1073741824 not registered"},
	{"unknown flags of monitor events", header(protocol.QemuConnectDomainMonitorEventRegister.Procedure), encoded(&protocol.QemuConnectDomainMonitorEventRegisterArgs{Flags: 8}), liberr.FromNone, liberr.InvalidArg, "unsupported flags (0x8) in function virDomainQemuMonitorEventStateRegisterID"},
	{"a close callback", header(protocol.ConnectRegisterCloseCallback.Procedure), nil, 0, 0, ""},
	{"no close callback", header(protocol.ConnectUnregisterCloseCallback.Procedure), nil, 0, 0, ""},
	{"a procedure of another hypervisor", header(protocol.LxcDomainOpenNamespace.Procedure), encoded(&protocol.LxcDomainOpenNamespaceArgs{}), liberr.FromNone, liberr.NoSupportCode, "this function is not supported by the connection driver: virDomainLxcOpenNamespace"},
	{"an unknown field of the identity", header(protocol.ConnectSetIdentity.Procedure), encoded(&protocol.ConnectSetIdentityArgs{Params: []protocol.TypedParam{{Field: "foo", Value: protocol.TypedParamValue{Type: 7, S: "x"}}}}), liberr.FromNone, liberr.ArgumentUnsupported, "argument unsupported: parameter 'foo' not supported"},
	{"a field of the identity of another type", header(protocol.ConnectSetIdentity.Procedure), encoded(&protocol.ConnectSetIdentityArgs{Params: []protocol.TypedParam{{Field: "unix-user-id", Value: protocol.TypedParamValue{Type: 7, S: "x"}}}}), liberr.FromNone, liberr.InvalidArg, "invalid argument: invalid type 'string' for parameter 'unix-user-id', expected 'ullong'"},
}

// networks are probes of a connection to networks alone.
var networks = []probe{
	{"domains", header(protocol.ConnectListAllDomains.Procedure), encoded(&protocol.ConnectListAllDomainsArgs{}), liberr.FromDomain, liberr.NoSupportCode, "this function is not supported by the connection driver: virConnectListAllDomains"},
	{"pools", header(protocol.ConnectListAllStoragePools.Procedure), encoded(&protocol.ConnectListAllStoragePoolsArgs{}), liberr.FromStorage, liberr.NoSupportCode, "this function is not supported by the connection driver: virConnectListAllStoragePools"},
	{"domain events", header(protocol.ConnectDomainEventRegister.Procedure), nil, liberr.FromDomain, liberr.NoSupportCode, "this function is not supported by the connection driver: virConnectDomainEventRegisterAny"},
	{"monitor events", header(protocol.QemuConnectDomainMonitorEventRegister.Procedure), encoded(&protocol.QemuConnectDomainMonitorEventRegisterArgs{}), liberr.FromNone, liberr.NoSupportCode, "this function is not supported by the connection driver: virConnectDomainQemuMonitorEventRegister"},
	{"type", header(protocol.ConnectGetType.Procedure), nil, 0, 0, ""},
	{"secure", header(protocol.ConnectIsSecure.Procedure), nil, 0, 0, ""},
	{"network events", header(protocol.ConnectNetworkEventRegisterAny.Procedure), encoded(&protocol.ConnectNetworkEventRegisterAnyArgs{}), 0, 0, ""},
}

// probes asks everything of a server.
func probes(t *testing.T, dial func(t *testing.T) *rpc.Client) {
	begin := func(t *testing.T, uri string) *rpc.Client {
		c := dial(t)
		if err := c.Authenticate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if uri != "" {
			if err := c.Open(t.Context(), uri, false); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	for _, p := range unopened {
		c := begin(t, "")
		p.run(t, c)
		_ = c.Close()
	}
	c := begin(t, "qemu:///system")
	for _, p := range opened {
		p.run(t, c)
	}
	_, err := rpc.Do(t.Context(), c, protocol.ConnectOpen, &protocol.ConnectOpenArgs{})
	want(t, "a second open", err, liberr.FromRPC, liberr.InternalError, "internal error: connection already open")
	c = begin(t, "network:///system")
	for _, p := range networks {
		p.run(t, c)
	}
}

func TestAnswersOfTheConnectionItself(t *testing.T) {
	w := start(t, nil)
	probes(t, func(*testing.T) *rpc.Client { return w.dial(w.rw) })
}

// The tables above are what libvirtd says, where one runs.
func TestTheReferenceAnswersAlike(t *testing.T) {
	const socket = "/run/libvirt/libvirt-sock"
	if _, err := os.Stat(socket); err != nil || os.Geteuid() != 0 {
		t.Skip("no libvirtd runs here")
	}
	probes(t, func(t *testing.T) *rpc.Client {
		c, err := rpc.Dial(t.Context(), "unix", socket, nil)
		if err != nil {
			t.Skip("no libvirtd answers here")
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	})
}

func TestNothingBeforeAuthentication(t *testing.T) {
	w := start(t, func(c *Config) {
		c.Auth = func(sockets.Kind) Auth { return AuthPolkit }
	})
	c := w.dial(w.rw)
	for _, p := range []*protocol.Procedure{
		protocol.ConnectOpen.Procedure, protocol.ConnectGetURI.Procedure, protocol.ConnectSupportsFeature.Procedure,
		protocol.ConnectClose.Procedure, protocol.DomainLookupByName.Procedure, protocol.ConnectDomainEventRegister.Procedure,
	} {
		probe{p.Name, header(p), nil, liberr.FromRPC, liberr.RPC, "authentication required"}.run(t, c)
	}
	if n := w.members().Unauth; n != 1 {
		t.Errorf("%d clients are not authenticated, want 1", n)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root is spared polkit")
	}
	if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server knows that it is authenticated", func() bool { return w.members().Unauth == 0 })
}

func TestPacketsThatAreNoCallsAreDropped(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	for _, h := range []rpc.Header{
		{Program: protocol.RemoteProgram, Version: 1, Proc: 1, Type: rpc.Message},
		{Program: protocol.RemoteProgram, Version: 1, Proc: 1, Type: rpc.Reply},
		{Program: protocol.RemoteProgram, Version: 1, Proc: 1, Type: rpc.Stream, Status: rpc.Continue},
		{Program: protocol.RemoteProgram, Version: 1, Proc: 1, Type: 9},
	} {
		if err := c.Conn().Send(h, []byte{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lookup(w.soon(), c, "still here"); err != nil {
		t.Error(err)
	}
	m := w.members().Clients[0]
	if i := w.info(m.PID); i.InFlight != 0 || i.Backlog != 0 || i.Streams != 0 || i.URI != "qemu:///system" {
		t.Errorf("%+v", i)
	}
}

func TestACallToACrashingBranchIsAnswered(t *testing.T) {
	w := start(t, nil)
	c, other := w.open(), w.open()
	if err := lookup(w.soon(), c, "panic"); err == nil {
		t.Error("no error")
	}
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
	err := lookup(w.soon(), c, "die")
	if !errors.Is(err, liberr.RPC) && !errors.Is(err, liberr.InternalError) {
		t.Errorf("a call to a branch that ends: %v", err)
	}
	w.branch("qemu")
	if err := lookup(w.soon(), c, "x"); err != nil {
		t.Errorf("the branch's successor is not found: %v", err)
	}
}

func TestCloseAnswersAndCloses(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	if _, err := rpc.Do(w.soon(), c, protocol.ConnectClose, nil); err != nil {
		t.Fatal(err)
	}
	closed(t, c)
	eventually(t, "the server forgets the client", func() bool { return w.idle.Load() == 0 })
}

// A packet that breaks the framing ends its own connection.
func TestABrokenPacketEndsItsConnection(t *testing.T) {
	w := start(t, nil)
	c, other := w.open(), w.open()
	if _, err := c.Conn().NetConn().Write(append([]byte{0, 0, 0, 3}, make([]byte, 24)...)); err != nil {
		t.Fatal(err)
	}
	closed(t, c)
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
}

func TestARestartedClientIsClosedAndNobodyElse(t *testing.T) {
	w := start(t, nil)
	c, other := w.open(), w.open()
	var pid *actor.PID
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			pid = m.PID
		}
	}
	w.sys.Root.Send(pid, &packet{nil}) // the actor trips over it
	closed(t, c)
	eventually(t, "the server forgets the client", func() bool { return w.idle.Load() == 1 })
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
	_ = w.open()
}
