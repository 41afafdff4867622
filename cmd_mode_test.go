package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtree/supervisors/paths"
)

// fakeSystemd is a systemd of a few lines over real unit files below root: what has no file cannot be started or enabled.
// It can be told to fail at its n-th command.
type fakeSystemd struct {
	root            string
	enabled, active map[string]bool
	commands        int
	failAt          int
	dies            string // a unit that is started and does not stay
}

var errFake = errors.New("injected")

func newFake(t *testing.T, theirs ...string) *fakeSystemd {
	t.Helper()
	f := &fakeSystemd{root: t.TempDir(), enabled: map[string]bool{}, active: map[string]bool{}}
	for _, name := range theirs {
		f.install(t, "usr/lib/systemd/system", name, "[Unit]\nDescription=libvirt's own\n")
	}
	return f
}

func (f *fakeSystemd) install(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := writeFile(filepath.Join(f.root, dir, name), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func (f *fakeSystemd) use(names ...string) {
	for _, n := range names {
		f.enabled[n], f.active[n] = true, true
	}
}

func (f *fakeSystemd) Booted() bool { return true }

func (f *fakeSystemd) file(name string) string {
	for _, dir := range []string{"etc/systemd/system", "usr/lib/systemd/system"} {
		path := filepath.Join(f.root, dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (f *fakeSystemd) Show(names []string) (map[string]unit, error) {
	units := map[string]unit{}
	for _, n := range names {
		if path := f.file(n); path != "" || f.active[n] {
			units[n] = unit{Path: path, Enabled: f.enabled[n], Active: f.active[n]}
		}
	}
	return units, nil
}

func (f *fakeSystemd) Do(verb string, names ...string) error {
	f.commands++
	for i, n := range names {
		if f.commands == f.failAt && i == len(names)/2 { // half done
			return errFake
		}
		if f.file(n) == "" && verb != "stop" {
			return fmt.Errorf("unit %s not found", n)
		}
		switch verb {
		case "enable", "disable":
			f.enabled[n] = verb == "enable"
		case "start", "stop":
			f.active[n] = verb == "start" && n != f.dies
		default:
			return fmt.Errorf("unknown verb %s", verb)
		}
	}
	if f.commands == f.failAt {
		return errFake
	}
	return nil
}

// snapshot is all that a switch may change.
func (f *fakeSystemd) snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for what, set := range map[string]map[string]bool{"enabled": f.enabled, "active": f.active} {
		var on []string
		for n := range maps.Keys(set) {
			if set[n] {
				on = append(on, n)
			}
		}
		slices.Sort(on)
		fmt.Fprintln(&b, what, on)
	}
	var lines []string
	err := filepath.WalkDir(f.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		lines = append(lines, fmt.Sprintf("%s %d %s", path, len(text), text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimSpace(b.String()), "\n")
	slices.Sort(parts)
	return strings.Join(append(parts, lines...), "\n")
}

func (f *fakeSystemd) switchTo(mode string) error {
	p := paths.System(f.root)
	w := &switcher{manager: f, paths: p, units: unitSet{binary: "/usr/sbin/virtree", paths: p}, out: io.Discard}
	return w.to(mode)
}

func (f *fakeSystemd) mode(t *testing.T) (string, bool) {
	t.Helper()
	s, err := look(f, paths.System(f.root))
	if err != nil {
		t.Fatal(err)
	}
	mode, ours, err := s.mode()
	if err != nil {
		t.Fatal(err)
	}
	return mode, ours
}

// debian is a host as Debian's libvirt-daemon-system leaves it.
func debian(t *testing.T) *fakeSystemd {
	t.Helper()
	f := newFake(t, "libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "libvirtd-tls.socket",
		"virtlogd.service", "virtlogd.socket", "virtlogd-admin.socket", "virtlockd.service", "virtlockd.socket", "virtlockd-admin.socket")
	f.use("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "virtlogd.socket", "virtlogd.service", "virtlockd.socket")
	f.enabled["virtlogd.service"] = false
	return f
}

func TestAHostGoesToEachModeAndBackToWhatItWas(t *testing.T) {
	f := debian(t)
	if mode, ours := f.mode(t); mode != modeSingle || ours {
		t.Fatalf("at first %s, ours %v", mode, ours)
	}
	was := f.snapshot(t)
	for _, mode := range []string{modeSingle, modeSplit, modeSplit, modeSingle} {
		if err := f.switchTo(mode); err != nil {
			t.Fatalf("to %s: %v", mode, err)
		}
		if got, ours := f.mode(t); got != mode || !ours {
			t.Fatalf("after the switch to %s: %s, ours %v", mode, got, ours)
		}
		for _, u := range modeUnits(mode) {
			if !f.active[u] || !f.enabled[u] || !marked(f.file(u)) {
				t.Errorf("%s: %s active %v enabled %v file %s", mode, u, f.active[u], f.enabled[u], f.file(u))
			}
		}
	}
	if err := f.switchTo(modeOff); err != nil {
		t.Fatal(err)
	}
	if now := f.snapshot(t); now != was {
		t.Errorf("after off (+), before (-):\n%s", cmp.Diff(was, now))
	}
}

func TestGuestsKeepTheirLogWhenOneProcessTakesOver(t *testing.T) {
	f := debian(t)
	if err := f.switchTo(modeSingle); err != nil {
		t.Fatal(err)
	}
	if !f.active["virtlogd.service"] || marked(f.file("virtlogd.service")) {
		t.Error("libvirt's own virtlogd, which holds the guests' pipes, was stopped or replaced")
	}
}

// Whatever command fails, and although it did half of its work, the host is as it was.
func TestAFailedSwitchIsTakenBackWhole(t *testing.T) {
	for _, from := range []string{"debian", modeSingle, modeSplit} {
		for _, to := range []string{modeSingle, modeSplit} {
			for n := 1; ; n++ {
				f := debian(t)
				if from != "debian" {
					if err := f.switchTo(from); err != nil {
						t.Fatal(err)
					}
				}
				was := f.snapshot(t)
				f.commands, f.failAt = 0, n
				err := f.switchTo(to)
				if f.commands < n {
					if err != nil {
						t.Errorf("%s to %s without a failure: %v", from, to, err)
					}
					if n < 4 {
						t.Errorf("%s to %s took %d commands only", from, to, n-1)
					}
					break
				}
				if !errors.Is(err, errFake) {
					t.Fatalf("%s to %s, command %d fails: %v", from, to, n, err)
				}
				if now := f.snapshot(t); now != was {
					t.Errorf("%s to %s, command %d fails: the host is (+), was (-):\n%s", from, to, n, cmp.Diff(was, now))
				}
			}
		}
	}
}

func TestADaemonThatDoesNotStayUpEndsTheSwitch(t *testing.T) {
	f := debian(t)
	was := f.snapshot(t)
	f.dies = "virtqemud.service"
	err := f.switchTo(modeSplit)
	if err == nil || !strings.Contains(err.Error(), "virtqemud.service was started and does not run") {
		t.Fatal(err)
	}
	if f.snapshot(t) != was {
		t.Error("the host is not as it was")
	}
}

func TestAHalfSwitchedHostIsRefusedAndNamed(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(*fakeSystemd)
		want    []string
	}{
		"both of libvirt's own": {func(f *fakeSystemd) {
			f.install(t, "usr/lib/systemd/system", "virtqemud.socket", "[Socket]\n")
			f.enabled["virtqemud.socket"] = true
		}, []string{"libvirt's own libvirtd (", "libvirt's own modular daemons (virtqemud.socket)", "systemctl disable --now virtqemud.socket"}},
		"ours beside libvirt's own": {func(f *fakeSystemd) {
			f.install(t, "etc/systemd/system", "virtqemud.socket", unitMark+"\n[Socket]\n")
			f.active["virtqemud.socket"] = true
		}, []string{"virtree's daemons (virtqemud.socket)", "libvirt's own libvirtd (libvirtd-admin.socket, libvirtd-ro.socket, libvirtd.service, libvirtd.socket)"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := debian(t)
			c.arrange(f)
			was := f.snapshot(t)
			for _, mode := range []string{modeSingle, modeSplit} {
				err := f.switchTo(mode)
				var half *halfSwitched
				if !errors.As(err, &half) {
					t.Fatalf("to %s: %v", mode, err)
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("does not say %q:\n%v", w, err)
					}
				}
			}
			if f.snapshot(t) != was {
				t.Error("something was changed")
			}
			if err := f.switchTo(modeOff); err != nil {
				t.Errorf("off takes only ours away, and was refused: %v", err)
			}
		})
	}
}

func TestAnAdministratorsOwnUnitIsNotOverwritten(t *testing.T) {
	f := debian(t)
	f.install(t, "etc/systemd/system", "libvirtd.service", "[Service]\nExecStart=/opt/mine\n")
	if err := f.switchTo(modeSingle); err == nil || !strings.Contains(err.Error(), "own unit") {
		t.Error(err)
	}
}

func TestTheListOfUnitsIsRead(t *testing.T) {
	units := parseShow("Id=libvirtd.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nFragmentPath=/lib/systemd/system/libvirtd.service\n" +
		"\nId=virtqemud.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nFragmentPath=\n" +
		"\nId=virtlogd.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=indirect\nFragmentPath=/lib/systemd/system/virtlogd.service\n")
	if len(units) != 2 || !units["libvirtd.service"].Active || !units["libvirtd.service"].Enabled || !units["virtlogd.service"].Failed || units["virtlogd.service"].inUse() {
		t.Errorf("%+v", units)
	}
}

func TestUnitsComeFromTheTree(t *testing.T) {
	p := paths.System("")
	text := map[string]string{}
	for _, mode := range []string{modeSingle, modeSplit} {
		var names []string
		for _, f := range (unitSet{"/usr/sbin/virtree", p}).files(mode) {
			text[f.name] = f.text
			names = append(names, f.name)
		}
		if want := modeUnits(mode); !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", mode, names, want)
		}
	}
	for name, want := range map[string][]string{
		"libvirtd.socket":        {"ListenStream=/run/libvirt/libvirt-sock\n", "SocketMode=0666"},
		"virtproxyd-ro.socket":   {"ListenStream=/run/libvirt/libvirt-sock-ro\n"},
		"virtqemud-admin.socket": {"ListenStream=/run/libvirt/virtqemud-admin-sock\n", "SocketMode=0600"},
		"virtqemud.service":      {"ExecStart=/usr/sbin/virtree virtqemud $VIRTQEMUD_ARGS\n", "After=virtlogd.service\n", "KillMode=process", "Conflicts=libvirtd.service\n"},
		"virtsecretd.service":    {"NoNewPrivileges=yes", "CapabilityBoundingSet="},
		"libvirtd.service":       {"Conflicts=virtqemud.service\n", "Type=notify"},
		"virtlogd-admin.socket":  {"BindsTo=virtlogd.socket\n"},
	} {
		for _, w := range want {
			if !strings.Contains(text[name], w) {
				t.Errorf("%s has no %q:\n%s", name, w, text[name])
			}
		}
	}
	if text["virtlogd-ro.socket"] != "" {
		t.Error("virtlogd has no read-only socket")
	}
}
