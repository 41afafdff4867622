package command

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// TestStarted compares with starts that libvirtd really made: testdata/started holds the live definition of a running
// guest, and the command line from its log. Descriptors, log files and network devices show only there.
func TestStarted(t *testing.T) {
	c := testCaps(t)
	files, err := filepath.Glob("testdata/started/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xml"), func(t *testing.T) {
			def := parse(t, file)
			text, err := os.ReadFile(strings.TrimSuffix(file, ".xml") + ".log")
			if err != nil {
				t.Fatal(err)
			}
			want := logged(t, string(text))
			for _, m := range def.Devices.Memorydevs {
				if m.Address != nil && m.Address.DIMM != nil {
					m.Address.DIMM.Base = nil // QEMU's choice
				}
			}
			cmd, err := Build(def, c, startedRuntime(t, def))
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(withoutLater(normalise(t, want)), withoutLater(normalise(t, cmd.Args))); d != "" {
				t.Errorf("libvirtd (-) and ours (+):\n%s", d)
			}
		})
	}
}

// logged is the command line in a guest's log, which has one option per line.
func logged(t *testing.T, text string) []string {
	t.Helper()
	text = strings.ReplaceAll(text, "\\\n", "\n")
	var args []string
	in := false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "/usr/bin/qemu-system"):
			in, args = true, nil
		case in && strings.HasPrefix(line, "-"):
			args = append(args, words(line)...)
		case in && line != "":
			return args
		}
	}
	return args
}

var rtcBase = regexp.MustCompile(`base=\d{4}-[0-9T:-]+`)

// withoutLater leaves out what a live definition says otherwise than the start did: the CPU with what QEMU made of it,
// and a clock that has moved on.
func withoutLater(options []string) []string {
	var out []string
	for _, o := range options {
		if !strings.HasPrefix(o, "-cpu ") {
			out = append(out, rtcBase.ReplaceAllString(o, "base=T"))
		}
	}
	return out
}

// startedRuntime is the runtime of such a start: descriptors wherever libvirtd passed one.
func startedRuntime(t *testing.T, def *libvirtxml.Domain) Runtime {
	rt := testRuntime(t, def)
	short := ShortName(value(def.ID), def.Name)
	rt.LibDir = "/var/lib/libvirt/qemu/domain-" + short
	rt.RAMDir = "/var/lib/libvirt/qemu/ram/" + short
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	rt.Monitor, rt.VSock = null, null
	rt.Listeners, rt.Outputs, rt.Logs = map[string]*os.File{}, map[string]*os.File{}, map[string]*os.File{}
	chr := func(a *libvirtxml.DomainAlias, s *libvirtxml.DomainChardevSource, log *libvirtxml.DomainChardevLog) {
		rt.Listeners[aliasOf(a)], rt.Outputs[aliasOf(a)] = null, null
		if log != nil {
			rt.Logs[aliasOf(a)] = null
		}
	}
	for _, d := range def.Devices.Serials {
		chr(d.Alias, d.Source, d.Log)
	}
	for _, d := range def.Devices.Parallels {
		chr(d.Alias, d.Source, d.Log)
	}
	for _, d := range def.Devices.Channels {
		chr(d.Alias, d.Source, d.Log)
	}
	for alias, nic := range rt.NICs {
		rt.NICs[alias] = NIC{Tap: nic.Tap} // the host of these starts had no vhost-net
	}
	for _, d := range def.Devices.TPMs {
		rt.TPMs[aliasOf(d.Alias)] = TPM{Socket: "/run/libvirt/qemu/swtpm/" + short + "-swtpm.sock"}
	}
	return rt
}
