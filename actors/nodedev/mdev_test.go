package nodedev

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Documents that cannot be are refused in libvirtd's words; testdata/documents.golden was recorded from it.
func TestBadDocuments(t *testing.T) {
	c := branchtest.Start(t, newOn(branchtest.Env(t), hardware(t))).Client()
	f, err := os.Open("testdata/documents.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var want struct {
			Call, XML, Message string
			Code               liberr.Code
			Domain             liberr.Domain
		}
		if err := json.Unmarshal(in.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		var got *liberr.Error
		if want.Call == "DefineXML" {
			_, got = branchtest.Do(c, protocol.NodeDeviceDefineXML, &protocol.NodeDeviceDefineXMLArgs{XMLDesc: want.XML})
		} else {
			_, got = branchtest.Do(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{XMLDesc: want.XML})
		}
		if got == nil || got.Code != want.Code || got.Domain != want.Domain || got.Message != want.Message {
			t.Errorf("%s of %s: %+v\nwant %d of %d: %s", want.Call, want.XML, got, want.Code, want.Domain, want.Message)
		}
	}
}
