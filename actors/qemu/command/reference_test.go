package command

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"libvirt.org/go/libvirtxml"
)

var (
	record    = flag.Bool("record", false, "write testdata/*.xml from testdata/in with the reference")
	reference = flag.String("reference", "qemu:///system", "libvirtd 9.0.0 to compare with")
)

// virsh runs one command on the reference.
func virsh(t testing.TB, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"-q", "-c", *reference}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.String(), err
	}
	return string(out), nil
}

func needReference(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("virsh"); err != nil {
		t.Skip("no virsh on this host")
	}
	out, err := virsh(t, "version")
	if err != nil {
		t.Skip("no reference daemon: " + out)
	}
	if !strings.Contains(out, "libvirt 9.0.0") || !strings.Contains(out, "QEMU 7.2") {
		t.Skip("the reference daemon is not libvirt 9.0.0 with QEMU 7.2")
	}
}

// notRendered are definitions the reference refuses to render on this host, and why.
var notRendered = regexp.MustCompile(`cannot be found|hugetlbfs filesystem is not mounted|No such file or directory|` +
	`Unable to find any firmware|Secret not found|Host SMBIOS information is not available`)

// TestRecord completes the documents below testdata/in: the reference assigns defaults and addresses, this file names
// devices and images as a start would.
func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("only with -record")
	}
	needReference(t)
	files, err := filepath.Glob("testdata/in/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range files {
		name := strings.TrimSuffix(filepath.Base(in), ".xml")
		if _, err := os.Stat("testdata/" + name + ".xml"); err == nil {
			continue // delete it to record it again
		}
		def := parse(t, in)
		if out, err := virsh(t, "define", in); err != nil {
			t.Errorf("%s: %s", name, out)
			continue
		}
		text, err := virsh(t, "dumpxml", "--inactive", "--security-info", def.Name)
		if err != nil {
			t.Errorf("%s: %s", name, text)
		}
		if out, err := virsh(t, "undefine", "--keep-nvram", def.Name); err != nil {
			t.Errorf("%s: %s", name, out)
		}
		full := parseText(t, text)
		assignAliases(full)
		AssignNodes(full)
		if full.OS.Firmware != "" {
			if err := selectForTest(full); err != nil {
				t.Logf("%s: %v", name, err)
			}
		}
		out, err := full.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/"+name+".xml", []byte(out+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func selectForTest(def *libvirtxml.Domain) error {
	list, err := LoadFirmware([]string{"/usr/share/qemu/firmware", "/etc/qemu/firmware"})
	if err != nil {
		return err
	}
	return list.Select(def, "/var/lib/libvirt/qemu/nvram")
}

// TestReference renders every recorded definition here and by libvirtd, and compares.
func TestReference(t *testing.T) {
	needReference(t)
	c := testCaps(t)
	agreed := 0
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if why := different[name]; why != "" {
				t.Skip("differs on purpose: " + why)
			}
			file := "testdata/" + name + ".xml"
			for _, n := range parse(t, file).Devices.Interfaces {
				if n.Source != nil && n.Source.Hostdev != nil {
					t.Skip("libvirtd 9.0.0 crashes when it renders an interface that is a host device")
				}
			}
			document := file
			if def := parse(t, "testdata/in/"+name+".xml"); def.OS.Firmware != "" {
				// A definition whose firmware has been selected is not one that libvirtd takes again.
				document = "testdata/in/" + name + ".xml"
			}
			out, err := virsh(t, "domxml-to-native", "qemu-argv", "--xml", document)
			if err != nil {
				if notRendered.MatchString(out) {
					t.Skip("not rendered on this host: " + out)
				}
				t.Fatal(out)
			}
			def := parse(t, file)
			asRendered(def)
			rt := testRuntime(t, def)
			rt.Now = time.Now()
			cmd, err := Build(def, c, rt)
			if err != nil {
				t.Fatal(err)
			}
			env, args := split(words(out))
			if d := diff(normalise(t, args), normalise(t, rendered(cmd.Args))); d != "" {
				t.Errorf("reference (-) and ours (+):\n%s", d)
			}
			if d := diff(env, cmd.Env); d != "" {
				t.Errorf("environment of the reference (-) and ours (+):\n%s", d)
			}
			agreed++
		})
	}
	t.Logf("%d definitions compared", agreed)
}

// different are definitions for which we do not want what the reference does.
var different = map[string]string{
	"sounds":         "QEMU 7.2 has no -soundhw any more; the speaker's audio device is a property of the machine",
	"clock-variable": "the two clocks are read at different seconds",
}

// asRendered changes a definition as libvirtd does before it renders one: controllers are in the order of their index,
// since it has just parsed them; network devices become plain taps, since nothing is opened for them.
func asRendered(def *libvirtxml.Domain) {
	list := def.Devices.Controllers
	sort.SliceStable(list, func(i, j int) bool {
		return value(list[i].Index) < value(list[j].Index)
	})
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		def.Devices.Interfaces[i] = libvirtxml.DomainInterface{MAC: n.MAC, Model: n.Model, Alias: n.Alias, Address: n.Address,
			Source: &libvirtxml.DomainInterfaceSource{Ethernet: &libvirtxml.DomainInterfaceSourceEthernet{}},
			Driver: &libvirtxml.DomainInterfaceDriver{Name: "qemu"}}
		if n.Address != nil && n.Address.PCI != nil {
			n.ACPI = nil
		}
	}
}

// rendered is our argument list with what libvirtd leaves out when it only renders: the emulator's socket.
func rendered(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "socket,id=chrtpm,path=/run/") {
			a = "null,id=chrtpm"
		}
		out = append(out, a)
	}
	return out
}

// words splits virsh's shell quoting.
func words(s string) []string {
	var out []string
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\'':
			quoted = false
		case quoted:
			word.WriteByte(c)
		case c == '\'':
			in, quoted = true, true
		case c == '\\' && i+1 < len(s):
			i++
			in = true
			word.WriteByte(s[i])
		case c == ' ' || c == '\n':
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out
}

// split parts the environment from the arguments, and leaves out what is inherited.
func split(words []string) (env, args []string) {
	for i, w := range words {
		if strings.HasPrefix(w, "/") {
			return env, words[i+1:]
		}
		if !strings.HasPrefix(w, "PATH=") {
			env = append(env, w)
		}
	}
	return env, nil
}
