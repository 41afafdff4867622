package client

import (
	"os"
	"strings"
	"testing"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

var nobody = protocol.Domain{Name: "vt-none", UUID: protocol.UUID{1, 2, 3}, ID: -1}

func forbidden(what string, p *protocol.Procedure, args protocol.Encoder, from liberr.Domain, detail string) probe {
	return probe{what, header(p), args.AppendXDR(nil), from, liberr.OperationDenied, "operation forbidden: " + detail}
}

// refused are probes of a connection that only reads.
var refused = []probe{
	forbidden("create", protocol.DomainCreate.Procedure, &protocol.DomainCreateArgs{Dom: nobody}, liberr.FromDomain, "read only access prevents virDomainCreate"),
	forbidden("secure XML", protocol.DomainGetXMLDesc.Procedure, &protocol.DomainGetXMLDescArgs{Dom: nobody, Flags: 1}, liberr.FromDomain, "virDomainGetXMLDesc with secure flag"),
	forbidden("migratable XML", protocol.DomainGetXMLDesc.Procedure, &protocol.DomainGetXMLDescArgs{Dom: nobody, Flags: 8}, liberr.FromDomain, "virDomainGetXMLDesc with secure flag"),
	forbidden("secure XML of a snapshot", protocol.DomainSnapshotGetXMLDesc.Procedure, &protocol.DomainSnapshotGetXMLDescArgs{Snap: protocol.DomainSnapshot{Name: "s", Dom: nobody}, Flags: 1}, liberr.FromDomainSnapshot, "virDomainSnapshotGetXMLDesc with secure flag"),
	forbidden("secure XML of a checkpoint", protocol.DomainCheckpointGetXMLDesc.Procedure, &protocol.DomainCheckpointGetXMLDescArgs{Checkpoint: protocol.DomainCheckpoint{Name: "s", Dom: nobody}, Flags: 1}, liberr.FromDomainCheckpoint, "virDomainCheckpointGetXMLDesc with secure flag"),
	forbidden("secure XML of a managed save", protocol.DomainManagedSaveGetXMLDesc.Procedure, &protocol.DomainManagedSaveGetXMLDescArgs{Dom: nobody, Flags: 1}, liberr.FromDomain, "virDomainManagedSaveGetXMLDesc with secure flag"),
	forbidden("XML of a saved image", protocol.DomainSaveImageGetXMLDesc.Procedure, &protocol.DomainSaveImageGetXMLDescArgs{File: "/x"}, liberr.FromDomain, "read only access prevents virDomainSaveImageGetXMLDesc"),
	forbidden("vCPUs by the agent", protocol.DomainGetVCPUsFlags.Procedure, &protocol.DomainGetVCPUsFlagsArgs{Dom: nobody, Flags: 8}, liberr.FromDomain, "read only access prevents virDomainGetVcpusFlags"),
	forbidden("addresses by the agent", protocol.DomainInterfaceAddresses.Procedure, &protocol.DomainInterfaceAddressesArgs{Dom: nobody, Source: 1}, liberr.FromDomain, "read only access prevents virDomainInterfaceAddresses"),
	forbidden("console", protocol.DomainOpenConsole.Procedure, &protocol.DomainOpenConsoleArgs{Dom: nobody}, liberr.FromDomain, "read only access prevents virDomainOpenConsole"),
	forbidden("snapshot", protocol.DomainSnapshotCreateXML.Procedure, &protocol.DomainSnapshotCreateXMLArgs{Dom: nobody, XMLDesc: "x"}, liberr.FromDomainSnapshot, "read only access prevents virDomainSnapshotCreateXML"),
	forbidden("revert", protocol.DomainRevertToSnapshot.Procedure, &protocol.DomainRevertToSnapshotArgs{}, liberr.FromDomainSnapshot, "read only access prevents virDomainRevertToSnapshot"),
	forbidden("checkpoint", protocol.DomainCheckpointCreateXML.Procedure, &protocol.DomainCheckpointCreateXMLArgs{Dom: nobody, XMLDesc: "x"}, liberr.FromDomainCheckpoint, "read only access prevents virDomainCheckpointCreateXML"),
	forbidden("monitor command", protocol.QemuDomainMonitorCommand.Procedure, &protocol.QemuDomainMonitorCommandArgs{Dom: nobody, Cmd: "x"}, liberr.FromNone, "read only access prevents virDomainQemuMonitorCommand"),
	forbidden("monitor events", protocol.QemuConnectDomainMonitorEventRegister.Procedure, &protocol.QemuConnectDomainMonitorEventRegisterArgs{}, liberr.FromNone, "read only access prevents virConnectDomainQemuMonitorEventRegister"),
	forbidden("network", protocol.NetworkDefineXML.Procedure, &protocol.NetworkDefineXMLArgs{XML: "x"}, liberr.FromNetwork, "read only access prevents virNetworkDefineXML"),
	forbidden("device", protocol.NodeDeviceDettach.Procedure, &protocol.NodeDeviceDettachArgs{Name: "x"}, liberr.FromNodedev, "read only access prevents virNodeDeviceDettach"),
	forbidden("host", protocol.NodeSetMemoryParameters.Procedure, &protocol.NodeSetMemoryParametersArgs{}, liberr.FromDomain, "read only access prevents virNodeSetMemoryParameters"),
}

func readOnlyProbes(t *testing.T, c *rpc.Client) {
	for _, p := range refused {
		p.run(t, c)
	}
	for _, p := range []probe{
		{"domain events", header(protocol.ConnectDomainEventRegister.Procedure), nil, 0, 0, ""},
		{"hostname", header(protocol.ConnectGetHostname.Procedure), nil, 0, 0, ""},
	} {
		p.run(t, c)
	}
}

func TestReadOnlyConnectionsAreRefusedInLibvirtsWords(t *testing.T) {
	w := start(t, nil)
	t.Run("socket", func(t *testing.T) {
		c := w.dial(w.ro)
		if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
			t.Fatal(err)
		}
		readOnlyProbes(t, c)
	})
	t.Run("flag", func(t *testing.T) {
		c := w.dial(w.rw)
		if err := c.Connect(w.soon(), "qemu:///system", true); err != nil {
			t.Fatal(err)
		}
		readOnlyProbes(t, c)
	})
	t.Run("reference", func(t *testing.T) {
		const socket = "/run/libvirt/libvirt-sock-ro"
		if _, err := os.Stat(socket); err != nil {
			t.Skip("no libvirtd runs here")
		}
		c, err := rpc.Dial(t.Context(), "unix", socket, nil)
		if err != nil {
			t.Skip("no libvirtd answers here")
		}
		defer c.Close()
		if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
			t.Fatal(err)
		}
		readOnlyProbes(t, c)
	})
}

// Every procedure that the protocol marks is refused before a branch hears of it, and no other is.
func TestReadOnlyFollowsTheProtocol(t *testing.T) {
	w := start(t, nil)
	c := w.dial(w.ro)
	if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, program := range []uint32{protocol.RemoteProgram, protocol.QemuProgram, protocol.LxcProgram} {
		for _, p := range protocol.Procedures(program) {
			if p.Kind == protocol.KindEvent || p.Kind == protocol.KindMessage || p.ReadOnly != protocol.ReadOnlyRefused {
				continue
			}
			if w.conf.Branch(branchName(p)) == nil {
				continue // not in this test's tree
			}
			_, err := c.CallRaw(w.soon(), header(p), nil)
			if err == nil || !strings.Contains(err.Error(), "read only access prevents "+p.API) {
				t.Errorf("%s: %v", p.Name, err)
			}
			n++
		}
	}
	if n < 150 {
		t.Errorf("only %d procedures were tried", n)
	}
}

func branchName(p *protocol.Procedure) string {
	if b := secondaries[p.Driver]; b != "" {
		return b
	}
	return "qemu"
}
