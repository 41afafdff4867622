package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

func nicFrom(t *testing.T, doc string) *libvirtxml.DomainInterface {
	t.Helper()
	n := &libvirtxml.DomainInterface{}
	if err := n.Unmarshal(doc); err != nil {
		t.Fatal(err)
	}
	return n
}

// portFrom makes a NIC on a network what a port with this plug makes of it.
func portFrom(t *testing.T, n *libvirtxml.DomainInterface, plug string) {
	t.Helper()
	port := &libvirtxml.NetworkPort{}
	if err := port.Unmarshal("<networkport><uuid>0ab0ea0c-0000-4000-8000-000000000001</uuid>" + plug + "</networkport>"); err != nil {
		t.Fatal(err)
	}
	if err := adoptPort(n, port); err != nil {
		t.Fatal(err)
	}
}

const onLAN = `<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><target dev='vnet0'/><model type='virtio'/></interface>`

func TestPortDecidesWhatAnInterfaceIs(t *testing.T) {
	for _, c := range []struct{ plug, kind, bridge, dev, mode string }{
		{`<plug type='network' bridge='virbr0'/>`, "network", "virbr0", "", ""},
		{`<plug type='bridge' bridge='br0'/>`, "bridge", "br0", "", ""},
		{`<plug type='direct' dev='eth0' mode='private'/>`, "direct", "", "eth0", "private"},
		{`<plug type='hostdev-pci' managed='yes'><address domain='0' bus='7' slot='16' function='3'/></plug>`, "hostdev", "", "", ""},
	} {
		n := nicFrom(t, onLAN)
		portFrom(t, n, `<plug type='direct' dev='old' mode='vepa'/><bandwidth><inbound average='1'/></bandwidth>`)
		portFrom(t, n, c.plug+`<vlan><tag id='7'/></vlan><port isolated='yes'/>`)
		dev, mode := directOf(n)
		if got := actualKind(n); got != c.kind || bridgeOf(n) != c.bridge || dev != c.dev || mode != c.mode {
			t.Errorf("%s: %s on %q %q %q", c.plug, got, bridgeOf(n), dev, mode)
		}
		if nicKind(n) != "network" {
			t.Errorf("%s: the definition became %s", c.plug, nicKind(n))
		}
		if n.Bandwidth != nil || n.VLan == nil || n.VLan.Tags[0].ID != 7 || !isolated(n) {
			t.Errorf("%s: limits %v, tags %v, isolated %v: the new port's are to count, and only they", c.plug, n.Bandwidth, n.VLan, isolated(n))
		}
		again, err := portDocument(n.Source.Network.PortID, "g", "u", n)
		if err != nil {
			t.Fatal(err)
		}
		if again.Plug = plugOf(n); again.Plug == nil {
			t.Fatalf("%s: a port that is claimed again has no plug", c.plug)
		}
		text, err := again.Marshal()
		if err != nil || !strings.Contains(text, `type="`+c.plug[len("<plug type='"):strings.Index(c.plug[12:], "'")+12]+`"`) {
			t.Errorf("%s: claimed again as %s, %v", c.plug, text, err)
		}
	}
}

func TestActualKindsRefuseWhatTheyCannotHave(t *testing.T) {
	const tag, filter, queues = `<vlan><tag id='42'/></vlan>`, `<filterref filter='f'/>`, `<driver queues='2'/>`
	for _, c := range []struct{ doc, want string }{
		{`type='bridge'><source bridge='br0'/>` + tag, "vlan tag not supported for this connection type"},
		{`type='direct'><source dev='eth0' mode='bridge'/>` + tag, "vlan tag not supported for this connection type"},
		{`type='direct'><source dev='eth0' mode='passthrough'/>` + tag, ""},
		{`type='bridge'><source bridge='br0'/>` + tag + `<virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>`, ""},
		{`type='user'>` + filter, "filterref is not supported for network interfaces of type user"},
		{`type='direct'><source dev='eth0' mode='bridge'/>` + filter, "filterref is not supported for network interfaces of type direct"},
		{`type='ethernet'>` + filter, ""},
		{`type='bridge'><source bridge='br0'/>` + filter + `<virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>`, "filterref is not supported for network interfaces with virtualport type openvswitch"},
		{`type='user'>` + queues, "multiqueue is not supported for network interfaces of type user"},
		{`type='direct'><source dev='eth0' mode='bridge'/>` + queues, ""},
		{`type='bridge'><source bridge='br0'/><port isolated='yes'/>`, ""},
		{`type='bridge'><source bridge='br0'/><port isolated='yes'/><virtualport type='openvswitch'><parameters interfaceid='x'/></virtualport>`, "<port isolated='yes'/> is not supported for network interfaces with virtualport type='openvswitch'"},
		{`type='direct'><source dev='eth0' mode='bridge'/><port isolated='yes'/>`, "<port isolated='yes'/> is not supported for network interfaces with type='direct'"},
		{`type='bridge'><source bridge='br0'/><teaming type='transient' persistent='ua-x'/>`, "teaming transient device must be type='hostdev', not 'bridge'"},
		{`type='direct'><source dev='eth0' mode='bridge'/><backend tap='/dev/net/tun'/>`, "custom tap device path is not supported for network interfaces of type direct"},
	} {
		err := actualFits(nicFrom(t, "<interface "+c.doc+`<mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>`))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.doc, err)
		case c.want != "" && (err == nil || err.Error() != "unsupported configuration: interface 52:54:00:00:00:01 - "+c.want):
			t.Errorf("%s: %v", c.doc, err)
		}
	}
}

func TestWhatMovesAndWhatMustReconnect(t *testing.T) {
	port := func(doc, plug string) *libvirtxml.DomainInterface {
		n := nicFrom(t, doc)
		if plug != "" {
			portFrom(t, n, plug)
		}
		return n
	}
	const bridge0, bridge1 = `<interface type='bridge'><source bridge='br0'/></interface>`, `<interface type='bridge'><source bridge='br1'/></interface>`
	direct := func(dev, mode string) string {
		return `<interface type='direct'><source dev='` + dev + `' mode='` + mode + `'/></interface>`
	}
	const wan = `<interface type='network'><source network='wan'/></interface>`
	for _, c := range []struct {
		name              string
		old, now          *libvirtxml.DomainInterface
		rebridge, refused bool
	}{
		{"the same bridge", port(bridge0, ""), port(bridge0, ""), false, false},
		{"another bridge", port(bridge0, ""), port(bridge1, ""), true, false},
		{"from a network to a bridge", port(onLAN, `<plug type='network' bridge='virbr0'/>`), port(bridge0, ""), true, false},
		{"from a bridge to a network of the same bridge", port(bridge0, ""), port(onLAN, `<plug type='bridge' bridge='br0'/>`), true, false},
		{"another network", port(onLAN, `<plug type='network' bridge='virbr0'/>`), port(wan, `<plug type='network' bridge='virbr1'/>`), true, false},
		{"a macvtap of the network's on the same device", port(direct("eth0", "vepa"), ""), port(onLAN, `<plug type='direct' dev='eth0' mode='vepa'/>`), false, false},
		{"a macvtap of another mode", port(direct("eth0", "vepa"), ""), port(direct("eth0", "bridge"), ""), false, true},
		{"a macvtap for a tap", port(bridge0, ""), port(direct("eth0", "bridge"), ""), false, true},
		{"a network that gives macvtaps for one with a bridge", port(onLAN, `<plug type='network' bridge='virbr0'/>`), port(wan, `<plug type='direct' dev='eth0' mode='bridge'/>`), false, true},
		{"another socket", port(`<interface type='client'><source address='127.0.0.1' port='1'/></interface>`, ""), port(`<interface type='client'><source address='127.0.0.1' port='2'/></interface>`, ""), false, true},
	} {
		got, err := nicConnection(c.old, c.now)
		if c.refused != errors.Is(err, liberr.OperationUnsupported) || !c.refused && got != c.rebridge {
			t.Errorf("%s: moves %v, %v", c.name, got, err)
		}
	}
}

func TestHostAddressIsNotTheGuests(t *testing.T) {
	for guest, want := range map[string]string{"52:54:00:aa:bb:cc": "fe:54:00:aa:bb:cc", "fe:54:00:aa:bb:cc": "fa:54:00:aa:bb:cc"} {
		if got, err := hostMAC(guest); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v", guest, got, err)
		}
	}
}

func TestTagsInTheSwitchsWords(t *testing.T) {
	for doc, want := range map[string][]string{
		`<tag id='42'/>`:                                   {"tag=42"},
		`<tag id='1'/><tag id='2'/>`:                       {"trunk=1,2"},
		`<tag id='1' nativeMode='untagged'/><tag id='2'/>`: {"vlan_mode=native-untagged", "tag=1", "trunk=1,2"},
	} {
		trunk := ""
		if strings.Count(doc, "<tag") > 1 {
			trunk = " trunk='yes'"
		}
		n := nicFrom(t, `<interface type='bridge'><source bridge='br0'/><vlan`+trunk+`>`+doc+`</vlan></interface>`)
		if diff := cmp.Diff(want, switchTags(n.VLan)); diff != "" {
			t.Errorf("%s: %s", doc, diff)
		}
	}
}

func TestBindingNamesTapOwnerAndVariables(t *testing.T) {
	n := nicFrom(t, `<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='vnet7'/><filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.1'/></filterref></interface>`)
	got, err := bindingDocument("a&b", "11111111-2222-3333-4444-555555555555", n)
	if err != nil {
		t.Fatal(err)
	}
	want := `<filterbinding>
  <owner>
    <name>a&amp;b</name>
    <uuid>11111111-2222-3333-4444-555555555555</uuid>
  </owner>
  <portdev name="vnet7"></portdev>
  <mac address="52:54:00:00:00:01"></mac>
  <filterref filter="clean-traffic">
    <parameter name="IP" value="10.0.0.1"></parameter>
  </filterref>
</filterbinding>`
	if got != want {
		t.Error(cmp.Diff(want, got))
	}
}

// The functions of a device are found in a folder like the kernel's: this machine has none.
func TestFunctionIsFoundBelowItsDevice(t *testing.T) {
	sys := t.TempDir()
	devices := filepath.Join(sys, "bus/pci/devices")
	const owner, vf = "0000:07:00.0", "0000:07:10.3"
	for _, dir := range []string{owner + "/net/eth3", vf, "0000:08:00.0"} {
		if err := os.MkdirAll(filepath.Join(devices, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{vf + "/physfn": "../" + owner, owner + "/virtfn0": "../0000:07:10.1", owner + "/virtfn12": "../" + vf} {
		if err := os.Symlink(to, filepath.Join(devices, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := findFunction(sys, vf)
	if err != nil || got != (function{pci: vf, owner: "eth3", number: 12}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := findFunction(sys, "0000:08:00.0"); !errors.Is(err, liberr.ConfigUnsupported) {
		t.Errorf("a device that is no function: %v", err)
	}
	if _, err := findFunction(sys, "0000:09:00.0"); !errors.Is(err, liberr.OperationFailed) {
		t.Errorf("a device that is not there: %v", err)
	}
}

func TestDriversThatAreAwayAreAskedAgain(t *testing.T) {
	away := liberr.New(liberr.FromRPC, liberr.OperationTimeout, "away")
	missing := liberr.New(liberr.FromNetwork, liberr.NoNetwork, "gone")
	if final(errors.Join(missing, away)) {
		t.Error("one driver is away: it is worth another attempt")
	}
	if !final(errors.Join(missing, nil)) {
		t.Error("a network that is gone does not come back by asking")
	}
}
