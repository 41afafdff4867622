package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
)

// somebody is an unprivileged user of every host.
const somebody = 65534

// virsh starts the daemon of a user who has none, in either way that libvirt knows, and a guest runs under it.
func TestSession(t *testing.T) {
	if why := lab.Missing(lab.Single); why != "" {
		t.Skip(why)
	}
	bin := filepath.Dir(lab.Binary())
	for name, c := range map[string]struct{ uri, daemon string }{
		"one process": {"qemu:///session?mode=legacy", "libvirtd"},
		"split":       {"qemu:///session?mode=direct", "virtqemud"},
	} {
		t.Run(name, func(t *testing.T) {
			home, err := os.MkdirTemp("", "vtu")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(home) })
			if err := os.Chown(home, somebody, somebody); err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(home, c.daemon) // the binary may lie where the user cannot go
			if err := copyProgram(filepath.Join(bin, filepath.Base(lab.Binary())), program); err != nil {
				t.Fatal(err)
			}
			run := filepath.Join(home, "run")
			virsh := func(args ...string) string {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "virsh", append([]string{"-q", "-c", c.uri}, args...)...)
				cmd.Dir = home
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + run, "LIBVIRTD_PATH=" + home, "LC_ALL=C.UTF-8"}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("virsh %v: %v\n%s", args, err, out)
				}
				return string(out)
			}
			t.Cleanup(func() { endSession(t, run) })
			if got := strings.TrimSpace(virsh("uri")); !strings.HasPrefix(got, "qemu:///session") {
				t.Errorf("uri %q", got)
			}
			doc := filepath.Join(home, "g.xml")
			if err := os.WriteFile(doc, []byte(lab.BareXML("g", "<interface type='user'/>")), 0o644); err != nil {
				t.Fatal(err)
			}
			virsh("define", doc)
			virsh("start", "g")
			if out := virsh("list"); !strings.Contains(out, "running") {
				t.Errorf("list: %s", out)
			}
			stored := filepath.Join(home, ".config/libvirt/qemu/g.xml")
			if st, err := os.Stat(stored); err != nil || st.Sys().(*syscall.Stat_t).Uid != somebody {
				t.Errorf("the definition is not the user's: %v, %v", st, err)
			}
			virsh("destroy", "g")
			virsh("undefine", "g")
			if out := virsh("list", "--all"); strings.Contains(out, "g") {
				t.Errorf("left: %s", out)
			}
		})
	}
}

// endSession ends every daemon that left a pid file in the user's folder.
func endSession(t *testing.T, run string) {
	files, _ := filepath.Glob(filepath.Join(run, "libvirt", "*.pid"))
	if len(files) == 0 {
		t.Error("no daemon has left a pid file")
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has left by itself
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 1 {
			t.Errorf("%s says %q", f, text)
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGTERM)
		if !lab.Await(context.Background(), func() bool { return syscall.Kill(pid, 0) != nil }) {
			t.Errorf("%s does not end", f)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func copyProgram(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}
