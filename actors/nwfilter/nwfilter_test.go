package nwfilter

import (
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// The messages were recorded from libvirtd 9.0.0.
func TestAnEmptyDriver(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	if n, err := branchtest.Do(c, protocol.ConnectNumOfNwfilters, &protocol.Void{}); err != nil || n.Num != 0 {
		t.Error(n, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListNwfilters, &protocol.ConnectListNwfiltersArgs{Maxnames: 5}); err != nil || len(l.Names) != 0 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListAllNwfilters, &protocol.ConnectListAllNwfiltersArgs{NeedResults: 1}); err != nil || l.Ret != 0 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListAllNwfilterBindings, &protocol.ConnectListAllNwfilterBindingsArgs{NeedResults: 1}); err != nil || l.Ret != 0 {
		t.Error(l, err)
	}
	filter := protocol.Nwfilter{Name: "nope", UUID: protocol.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	const gone = "Network filter not found: no nwfilter with matching uuid '00010203-0405-0607-0809-0a0b0c0d0e0f'"
	branchtest.Fails(c, protocol.NwfilterLookupByName, &protocol.NwfilterLookupByNameArgs{Name: "nope"}, from, liberr.NoNwfilter, "Network filter not found: no nwfilter with matching name 'nope'")
	branchtest.Fails(c, protocol.NwfilterGetXMLDesc, &protocol.NwfilterGetXMLDescArgs{Nwfilter: filter}, from, liberr.NoNwfilter, gone)
	branchtest.Fails(c, protocol.NwfilterUndefine, &protocol.NwfilterUndefineArgs{Nwfilter: filter}, from, liberr.NoNwfilter, gone)
	branchtest.Fails(c, protocol.NwfilterBindingLookupByPortDev, &protocol.NwfilterBindingLookupByPortDevArgs{Name: "vnetx"}, from, liberr.NoNwfilterBinding, "Network filter binding not found: no nwfilter binding for port dev 'vnetx'")
	branchtest.Fails(c, protocol.ConnectListNwfilters, &protocol.ConnectListNwfiltersArgs{Maxnames: 100000}, liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NWFILTER_LIST_MAX")

	branchtest.Fails(c, protocol.NwfilterGetXMLDesc, &protocol.NwfilterGetXMLDescArgs{Nwfilter: filter, Flags: 1}, from, liberr.InvalidArg, "")
}
