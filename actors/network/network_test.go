package network

import (
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

var absent = protocol.Network{Name: "nope", UUID: protocol.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}

const noNetwork = "Network not found: no network with matching uuid '00010203-0405-0607-0809-0a0b0c0d0e0f' (nope)"

func TestListsAreEmpty(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	if n, err := branchtest.Do(c, protocol.ConnectNumOfNetworks, &protocol.Void{}); err != nil || n.Num != 0 {
		t.Error(n, err)
	}
	if n, err := branchtest.Do(c, protocol.ConnectNumOfDefinedNetworks, &protocol.Void{}); err != nil || n.Num != 0 {
		t.Error(n, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListNetworks, &protocol.ConnectListNetworksArgs{Maxnames: 10}); err != nil || len(l.Names) != 0 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListDefinedNetworks, &protocol.ConnectListDefinedNetworksArgs{Maxnames: 10}); err != nil || len(l.Names) != 0 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListAllNetworks, &protocol.ConnectListAllNetworksArgs{NeedResults: 1, Flags: listFlags}); err != nil || l.Ret != 0 {
		t.Error(l, err)
	}
	branchtest.Fails(c, protocol.ConnectListNetworks, &protocol.ConnectListNetworksArgs{Maxnames: -1}, liberr.FromRPC, liberr.RPC, "maxnames must be non-negative")
	branchtest.Fails(c, protocol.ConnectListDefinedNetworks, &protocol.ConnectListDefinedNetworksArgs{Maxnames: 16385}, liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NETWORK_LIST_MAX")
}

// The messages were recorded from libvirtd 9.0.0.
func TestNothingIsFound(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	branchtest.Fails(c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "nope"}, from, liberr.NoNetwork, "Network not found: no network with matching name 'nope'")
	branchtest.Fails(c, protocol.NetworkLookupByUUID, &protocol.NetworkLookupByUUIDArgs{UUID: absent.UUID}, from, liberr.NoNetwork, "Network not found: no network with matching uuid '00010203-0405-0607-0809-0a0b0c0d0e0f'")
	branchtest.Fails(c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: absent}, from, liberr.NoNetwork, noNetwork)
	branchtest.Fails(c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: absent, Flags: 1}, from, liberr.NoNetwork, noNetwork)
	branchtest.Fails(c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: protocol.NetworkPort{Net: absent}}, from, liberr.NoNetwork, noNetwork)
	mac := "zz"
	branchtest.Fails(c, protocol.NetworkGetDHCPLeases, &protocol.NetworkGetDHCPLeasesArgs{Net: absent, MAC: &mac}, from, liberr.InvalidMAC, "invalid MAC address: zz")
	branchtest.Fails(c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: "<network/>"}, from, liberr.NoName, "missing name information")
}

func TestFlagsAreCheckedFirst(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	for _, err := range []*liberr.Error{
		second(branchtest.Do(c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: absent, Flags: 0x10})),
		second(branchtest.Do(c, protocol.NetworkPortGetXMLDesc, &protocol.NetworkPortGetXMLDescArgs{Port: protocol.NetworkPort{Net: absent}, Flags: 0x10})),
		second(branchtest.Do(c, protocol.ConnectListAllNetworks, &protocol.ConnectListAllNetworksArgs{Flags: 0x80000010})),
	} {
		if err == nil || err.Code != liberr.InvalidArg || err.Domain != from || !strings.Contains(err.Message, "unsupported flags (0x") {
			t.Error(err)
		}
	}
}

func second[T any](_ T, err *liberr.Error) *liberr.Error { return err }
