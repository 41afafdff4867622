package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/caps"
)

// testCaps is QEMU 7.2 as recorded in testdata/caps.json, so that the tests that start nothing run anywhere.
func testCaps(t testing.TB) *caps.Caps {
	t.Helper()
	text, err := os.ReadFile("testdata/caps.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Version    uint32
		Devices    []string
		WriteCache []string
		Objects    []string
		Machines   []struct{ Name, Alias, CPU, RAM string }
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		t.Fatal(err)
	}
	c := &caps.Caps{Binary: "/usr/bin/qemu-system-x86_64", Version: rec.Version, Arch: "x86_64", KVM: true, TCG: true,
		Devices: map[string]caps.Props{}, Objects: map[string]caps.Props{},
		Options: map[string]caps.Props{"sandbox": {"enable": true}}}
	for _, d := range rec.Devices {
		c.Devices[d] = caps.Props{}
	}
	for _, d := range rec.WriteCache {
		c.Devices[d]["write-cache"] = true
	}
	for _, o := range rec.Objects {
		c.Objects[o] = caps.Props{}
	}
	for _, m := range rec.Machines {
		c.Machines = append(c.Machines, caps.Machine{Name: m.Name, Alias: m.Alias, DefaultCPU: m.CPU, DefaultRAMID: m.RAM})
	}
	return c
}

func parse(t testing.TB, file string) *libvirtxml.Domain {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseText(t, string(text))
}

func parseText(t testing.TB, text string) *libvirtxml.Domain {
	t.Helper()
	def := &libvirtxml.Domain{}
	if err := def.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	return def
}

// cases are the recorded definitions.
func cases(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".xml")
	}
	sort.Strings(files)
	return files
}

// testRuntime is what the reference assumes when it renders a definition without starting it.
func testRuntime(t testing.TB, def *libvirtxml.Domain) Runtime {
	t.Helper()
	short := ShortName(-1, def.Name)
	rt := Runtime{LibDir: "/var/lib/libvirt/qemu/domain-" + short,
		ChannelDir: "/var/lib/libvirt/qemu/channel/target/domain-" + short,
		RAMDir:     "/var/lib/libvirt/qemu/ram/" + short,
		Now:        time.Unix(1700000000, 0),
		NICs:       map[string]NIC{}, TPMs: map[string]TPM{}, VHostSCSI: map[string]*os.File{},
		Secrets: map[string]Secret{}, ChardevTLS: TLS{Dir: "/etc/pki/qemu", VerifyPeer: true},
		DBusAddress: "unix:path=/run/libvirt/qemu/dbus/" + short + "-dbus.sock",
		Hugepages:   []HugepageMount{{SizeKiB: 2048, Path: "/dev/hugepages/libvirt/qemu/" + short, Default: true}},
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		nic := NIC{}
		for range Queues(n) {
			nic.Tap = append(nic.Tap, null)
			if wanted, _ := WantsVHost(def, n); wanted {
				nic.VHost = append(nic.VHost, null)
			}
		}
		rt.NICs[aliasOf(n.Alias)] = nic
	}
	for _, d := range def.Devices.TPMs {
		rt.TPMs[aliasOf(d.Alias)] = TPM{Socket: "/run/libvirt/qemu/swtpm/" + short + "-swtpm.sock"}
	}
	for _, h := range def.Devices.Hostdevs {
		rt.VHostSCSI[aliasOf(h.Alias)] = null
	}
	return rt
}

var (
	numberedFD  = regexp.MustCompile(`"((?:vhost)?fds?)":"[0-9:]+"`)
	passedFD    = regexp.MustCompile(`\bfd=\d+`)
	secretBytes = regexp.MustCompile(`"(data|iv)":"[^"]*"`)
)

// normalise puts an argument list in a form in which two that mean the same are equal: one option with its value per
// line, JSON with sorted keys, descriptors without their numbers.
func normalise(t testing.TB, args []string) []string {
	t.Helper()
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "{") {
			var v any
			if err := json.Unmarshal([]byte(a), &v); err != nil {
				t.Fatalf("bad JSON %s: %v", a, err)
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			a = numberedFD.ReplaceAllString(string(text), `"$1":"N"`)
			a = secretBytes.ReplaceAllString(a, `"$1":"X"`)
		} else {
			a = passedFD.ReplaceAllString(a, "fd=N")
		}
		if strings.HasPrefix(a, "-") || len(out) == 0 {
			out = append(out, a)
		} else {
			out[len(out)-1] += " " + a
		}
	}
	return out
}

// diff says how two normalised lists differ.
func diff(want, got []string) string {
	var b strings.Builder
	in := func(list []string) map[string]int {
		m := map[string]int{}
		for _, s := range list {
			m[s]++
		}
		return m
	}
	w, g := in(want), in(got)
	for _, s := range want {
		if g[s] == 0 {
			fmt.Fprintf(&b, "  - %s\n", s)
		} else {
			g[s]--
		}
	}
	for _, s := range got {
		if w[s] == 0 {
			fmt.Fprintf(&b, "  + %s\n", s)
		} else {
			w[s]--
		}
	}
	if b.Len() == 0 && strings.Join(want, "\n") != strings.Join(got, "\n") {
		for i := range want {
			if want[i] != got[i] {
				fmt.Fprintf(&b, "  order: want %s\n         have %s\n", want[i], got[i])
				break
			}
		}
	}
	return b.String()
}
