package domxml

import (
	"strings"
	"testing"
)

// What a network made of an interface survives the status file, is what clients see, and is not part of the definition.
func TestActualTypes(t *testing.T) {
	const head = `<domain type='qemu' id='1'><name>a</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>65536</memory><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan' portid='0ab0ea0c-0000-4000-8000-000000000001' portgroup='g'/>`
	for _, c := range []struct {
		name, actual string
		status, live []string // lines of each view, blanks apart
		mustNot      []string // of the live view
		typ          string
	}{
		{
			name: "a tap on the network's bridge", typ: "network",
			actual: `<actual type='network'><source bridge='virbr9'/><bandwidth><inbound average='100'/></bandwidth></actual>`,
			status: []string{`<actual type='network'>`, `<source bridge='virbr9'/>`, `<inbound average='100'/>`},
			live:   []string{`<source network='lan' portid='0ab0ea0c-0000-4000-8000-000000000001' portgroup='g' bridge='virbr9'/>`, `<inbound average='100'/>`},
		},
		{
			name: "a tap on a bridge of the host", typ: "bridge",
			actual: `<actual type='bridge'><source bridge='br0'/><port isolated='yes'/></actual>`,
			status: []string{`<actual type='bridge'>`, `<source bridge='br0'/>`, `<port isolated='yes'/>`},
			live:   []string{`<source network='lan' portid='0ab0ea0c-0000-4000-8000-000000000001' portgroup='g' bridge='br0'/>`, `<port isolated='yes'/>`},
		},
		{
			name: "a macvtap", typ: "direct",
			actual: `<actual type='direct'><source dev='eth1' mode='private'/></actual>`,
			status: []string{`<actual type='direct'>`, `<source dev='eth1' mode='private'/>`},
			live:   []string{`<source network='lan' portid='0ab0ea0c-0000-4000-8000-000000000001' portgroup='g' dev='eth1' mode='private'/>`},
		},
		{
			name: "a function of the host", typ: "hostdev",
			actual:  `<actual type='hostdev' managed='yes'><source><address type='pci' domain='0x0000' bus='0x07' slot='0x10' function='0x3'/></source></actual>`,
			status:  []string{`<actual type='hostdev' managed='yes'>`, `<address type='pci' domain='0x0000' bus='0x07' slot='0x10' function='0x3'/>`},
			live:    []string{`<interface type='hostdev' managed='yes'>`, `<address type='pci' domain='0x0000' bus='0x07' slot='0x10' function='0x3'/>`},
			mustNot: []string{"network='lan'"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := head + c.actual + "<model type='virtio'/></interface></devices></domain>"
			d, err := Parse([]byte(doc), referenceEnv(t), ParseTrusted|ParseLive)
			if err != nil {
				t.Fatal(err)
			}
			if d, err = Clone(d); err != nil {
				t.Fatal(err)
			}
			has := func(view string, flags FormatFlags, want, not []string) {
				text, err := Format(d, flags)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range want {
					if !strings.Contains(text, w) {
						t.Errorf("%s: no %s in\n%s", view, w, text)
					}
				}
				for _, n := range not {
					if strings.Contains(text, n) {
						t.Errorf("%s: %s in\n%s", view, n, text)
					}
				}
			}
			has("status", Status, append(c.status, "<interface type='network'>"), nil)
			has("live", 0, append(c.live, "<interface type='"+c.typ+"'"), append(c.mustNot, "<actual"))
			has("inactive", Inactive, []string{"<interface type='network'>", "<source network='lan' portgroup='g'/>"}, []string{"<actual", "portid"})
		})
	}
	d, err := Parse([]byte(head+"<actual type='bridge'><source bridge='evil'/></actual></interface></devices></domain>"), referenceEnv(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if d.Devices.Interfaces[0].Source.Bridge != nil {
		t.Error("a client's document chose the actual type")
	}
}
