package def

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

// What a document says is printed as it was read, and read again the same.
func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no documents")
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Validate(string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		i, err := Parse(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := i.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if out := i.Format(); out != string(text) {
			t.Errorf("%s is printed as\n%s", name, out)
		}
	}
}

// The messages are those of libvirt 9.0.0's reader of interfaces.
func TestComplaints(t *testing.T) {
	iface := func(s string) string { return "<interface type='ethernet' name='e'>" + s + "</interface>" }
	bond := func(s string) string { return "<interface type='bond' name='b'>" + s + "</interface>" }
	vlan := func(s string) string { return "<interface type='vlan' name='v'>" + s + "</interface>" }
	bridge := func(s string) string { return "<interface type='bridge' name='b'>" + s + "</interface>" }
	const e = "XML error: "
	for _, c := range []struct{ doc, want string }{
		{"<domain/>", e + "unexpected root element <domain>, expecting <interface>"},
		{"<interface name='e'/>", e + "Missing required attribute 'type' in element 'interface'"},
		{"<interface type='x' name='e'/>", e + "Invalid value for attribute 'type' in element 'interface': 'x'."},
		{"<interface type='ethernet'/>", e + "interface has no name"},
		{iface("<start mode='x'/>"), e + "unknown interface startmode x"},
		{iface("<mtu size='x'/>"), e + "interface mtu value is improper"},
		{iface("<mtu size='100001'/>"), e + "interface mtu value is improper"},
		{iface("<protocol/>"), e + "protocol misses the family attribute"},
		{iface("<protocol family='ipx'/>"), e + "unsupported protocol family 'ipx'"},
		{iface("<protocol family='ipv4'><dhcp peerdns='x'/></protocol>"), e + "Invalid value for attribute 'peerdns' in element 'dhcp': 'x'."},
		{iface("<protocol family='ipv4'><ip address='1.2.3.4' prefix='x'/></protocol>"), e + "Invalid value for attribute 'prefix' in element 'ip': 'x'. Expected integer value"},
		{iface("<link state='x'/>"), e + "Invalid value for attribute 'state' in element 'link': 'x'."},
		{iface("<link speed='-1'/>"), e + "Invalid value for attribute 'speed' in element 'link': '-1'. Expected non-negative integer value"},
		{bridge(""), e + "bridge interface misses the bridge element"},
		{bridge("<bridge stp='x'/>"), e + "bridge interface stp should be on or off got x"},
		{bridge("<bridge><interface type='bridge' name='x'/></bridge>"), e + "interface has unsupported type 'bridge'"},
		{bond(""), e + "bond interface misses the bond element"},
		{bond("<bond mode='x'/>"), e + "unknown bonding mode x"},
		{bond("<bond><interface type='vlan' name='x'/></bond>"), e + "interface has unsupported type 'vlan'"},
		{bond("<bond><miimon/></bond>"), e + "bond interface miimon freq missing or invalid"},
		{bond("<bond><miimon freq='1' updelay='x'/></bond>"), e + "bond interface miimon updelay invalid"},
		{bond("<bond><miimon freq='1' downdelay='1.5'/></bond>"), e + "bond interface miimon downdelay invalid"},
		{bond("<bond><miimon freq='1' carrier='x'/></bond>"), e + "unknown mii bonding carrier x"},
		{bond("<bond><arpmon target='1.2.3.4'/></bond>"), e + "bond interface arpmon interval missing or invalid"},
		{bond("<bond><arpmon interval='1'/></bond>"), e + "bond interface arpmon target missing"},
		{bond("<bond><arpmon interval='1' target='1.2.3.4' validate='x'/></bond>"), e + "unknown arp bonding validate x"},
		{vlan(""), e + "vlan interface misses the vlan element"},
		{vlan("<vlan/>"), e + "vlan interface misses the tag attribute"},
		{vlan("<vlan tag='1'/>"), e + "vlan interface misses name attribute"},
		{"<interface", "(interface_definition):1: "},
	} {
		_, err := Parse(c.doc)
		var le *liberr.Error
		if !errors.As(err, &le) || !strings.HasPrefix(le.Message, c.want) || le.Code == liberr.XMLError && le.Message != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.doc, err, c.want)
		}
	}
}

func TestCheckRefusesWhatNoConfigurationCanHold(t *testing.T) {
	addr := func(family, rest string) string {
		return "<interface type='ethernet' name='e'><protocol family='" + family + "'>" + rest + "</protocol></interface>"
	}
	for _, doc := range []string{
		"<interface type='ethernet' name='a b'/>",
		"<interface type='ethernet' name='../x'/>",
		"<interface type='ethernet' name='0123456789abcdef'/>",
		"<interface type='ethernet' name='x&#10;up evil'/>",
		"<interface type='ethernet' name='e'><mac address='02:00'/></interface>",
		addr("ipv4", "<ip address='::1'/>"), addr("ipv6", "<ip address='1.2.3.4'/>"), addr("ipv4", "<ip address='1.2.3.4' prefix='33'/>"),
		addr("ipv6", "<ip address='fe80::1%e'/>"), addr("ipv4", "<route gateway='x'/>"), addr("ipv4", "<ip address='1.2.3.4' prefix='-1'/>"),
		"<interface type='ethernet' name='e'><protocol family='ipv4'/><protocol family='ipv4'/></interface>",
		"<interface type='bridge' name='b'><bridge delay='x'/></interface>",
		"<interface type='bridge' name='b'><bridge><interface type='ethernet' name='b'/></bridge></interface>",
		"<interface type='bond' name='b'><bond/></interface>",
		"<interface type='bond' name='b'><bond><arpmon interval='1' target='x'/><interface type='ethernet' name='e'/></bond></interface>",
		"<interface type='vlan' name='v'><vlan tag='4096'><interface name='e'/></vlan></interface>",
		"<interface type='vlan' name='v'><vlan tag='x'><interface name='e'/></vlan></interface>",
		"<interface type='vlan' name='v'><vlan tag='1'><interface name='e f'/></vlan></interface>",
	} {
		i, err := Parse(doc)
		if err != nil {
			t.Errorf("%s: %v", doc, err)
		} else if i.Check() == nil {
			t.Errorf("%s is accepted", doc)
		}
	}
}

func TestValidateRefusesWhatTheSchemaDoesNotHave(t *testing.T) {
	for _, doc := range []string{"<interface type='ethernet' name='e' x='y'/>", "<interface type='ethernet' name='e'><x/></interface>", "<network/>"} {
		if err := Validate(doc); !errors.Is(err, liberr.XMLInvalidSchema) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.xml")
	for _, name := range files {
		text, _ := os.ReadFile(name)
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, doc string) {
		i, err := Parse(doc)
		if err != nil || i.Check() != nil {
			return
		}
		again, err := Parse(i.Format())
		if err != nil || again.Format() != i.Format() {
			t.Errorf("%q is printed as %q, which reads %v", doc, i.Format(), err)
		}
	})
}
