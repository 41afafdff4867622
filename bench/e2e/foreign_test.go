package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
)

// foreign is a split tree of ours and Debian's libvirtd in one box: some drivers of the tree are libvirtd's.
type foreign struct {
	t    *testing.T
	c    *lab.Target // libvirtd
	ours *lab.Target
}

func openForeign(t *testing.T, drivers ...string) *foreign {
	t.Helper()
	for _, k := range []lab.Kind{lab.Reference, lab.Split} {
		if why := lab.Missing(k); why != "" {
			t.Skip(why)
		}
	}
	f := &foreign{t: t}
	var err error
	if f.c, err = lab.Open(context.Background(), lab.Reference, lab.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.c.Close() })
	var args []string
	for _, d := range drivers {
		args = append(args, "--foreign", d+"="+f.c.Socket("libvirt-sock"))
	}
	f.ours, err = lab.Open(context.Background(), lab.Split, lab.Options{Args: args, Beside: f.c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.ours.Close() })
	return f
}

// good runs virsh, which must succeed, and returns what it printed.
func (f *foreign) good(at *lab.Target, args ...string) string {
	f.t.Helper()
	r := at.Virsh(context.Background(), args...)
	if r.Exit != 0 {
		f.t.Fatalf("virsh %s at %s: %s%s\n%s", strings.Join(args, " "), at.Kind, r.Stdout, r.Stderr, at.LogTail(20))
	}
	return r.Stdout
}

// until repeats virsh until its output matches.
func (f *foreign) until(re string, at *lab.Target, args ...string) {
	f.t.Helper()
	var r lab.Result
	if !lab.Await(context.Background(), func() bool {
		r = at.Virsh(context.Background(), args...)
		ok, _ := regexp.MatchString(re, r.Stdout)
		return r.Exit == 0 && ok
	}) {
		f.t.Fatalf("virsh %s at %s never matched %s: %s%s\n%s", strings.Join(args, " "), at.Kind, re, r.Stdout, r.Stderr, at.LogTail(20))
	}
}

func (f *foreign) write(name, text string) string {
	path := filepath.Join(f.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// kill ends libvirtd as a crash does.
func (f *foreign) kill() {
	f.t.Helper()
	if err := f.c.Main.Signal(syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	<-f.c.Main.Done
}

func (f *foreign) back() {
	f.t.Helper()
	if err := f.c.Start(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

const foreignNetwork = `<network><name>default</name><forward mode='nat'/><bridge name='virbr7'/>
<ip address='192.168.87.1' netmask='255.255.255.0'><dhcp><range start='192.168.87.10' end='192.168.87.20'/></dhcp></ip></network>`

// A guest of our virtqemud lives on a network of libvirtd's, whose restart it does not notice.
func TestForeignNetwork(t *testing.T) {
	f := openForeign(t, "network")
	f.good(f.ours, "net-define", f.write("net.xml", foreignNetwork)) // through the peer
	f.good(f.ours, "net-start", "default")
	if out := f.good(f.c, "net-list"); !strings.Contains(out, "default") {
		t.Fatalf("libvirtd does not have the network: %s", out)
	}
	guest := lab.BareXML("web", "<interface type='network'><source network='default'/><model type='virtio'/></interface>\n")
	f.good(f.ours, "create", f.write("web.xml", guest))
	ports := strings.Fields(f.good(f.c, "net-port-list", "default"))
	if len(ports) != 3 { // heading, rule, one port
		t.Fatalf("ports: %v", ports)
	}
	port := ports[2]
	if out := f.good(f.c, "net-port-dumpxml", "default", port); !strings.Contains(out, "<name>web</name>") || !strings.Contains(out, "bridge='virbr7'") {
		t.Fatalf("port: %s", out)
	}
	links, err := f.c.Box.Command(context.Background(), "ip", "-o", "link", "show", "master", "virbr7").Output()
	if err != nil || !strings.Contains(string(links), "vnet0") {
		t.Fatalf("the bridge's ports: %s, %v", links, err)
	}

	f.kill()
	begin := time.Now()
	r := f.ours.Virsh(context.Background(), "net-info", "default")
	if took := time.Since(begin); r.Exit == 0 || !strings.Contains(r.Stderr, "Failed to connect socket to '"+f.c.Socket("libvirt-sock")+"'") || took > 10*time.Second {
		t.Fatalf("without libvirtd: %v %+v", took, r)
	}
	f.good(f.ours, "domstate", "web") // others' calls are served as ever
	f.back()
	f.good(f.ours, "net-info", "default")
	if out := f.good(f.c, "net-port-list", "default"); !strings.Contains(out, port) {
		t.Fatalf("the port is lost: %s", out)
	}
	f.good(f.ours, "destroy", "web")
	if out := f.good(f.c, "net-port-list", "default"); strings.Contains(out, port) {
		t.Fatalf("the port outlives its guest: %s", out)
	}
	f.good(f.ours, "net-destroy", "default")
	f.good(f.ours, "net-undefine", "default")

	// Errors are libvirtd's own.
	ours, theirs := f.ours.Virsh(context.Background(), "net-info", "default"), f.c.Virsh(context.Background(), "net-info", "default")
	if ours.Exit != theirs.Exit || ours.Stderr != theirs.Stderr || ours.Stderr == "" {
		t.Errorf("%+v, libvirtd says %+v", ours, theirs)
	}
}

// Events of libvirtd reach our clients, also after it was restarted, and none comes twice.
func TestForeignEvents(t *testing.T) {
	f := openForeign(t, "network")
	f.good(f.c, "net-define", f.write("net.xml", foreignNetwork))
	cmd := exec.Command("virsh", "-c", f.ours.URI(), "net-event", "--event", "lifecycle", "--loop")
	cmd.Env = f.ours.Env()
	w, err := startWatch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	seen := func(re string) {
		t.Helper()
		if err := w.until(re, regexp.MustCompile(re).MatchString, 20*time.Second); err != nil {
			t.Fatalf("%v\n%s", err, f.ours.LogTail(20))
		}
	}
	// The watcher does not say when it has registered; the first event that it sees tells.
	if !lab.Await(context.Background(), func() bool {
		f.c.Virsh(context.Background(), "net-undefine", "default")
		f.c.Virsh(context.Background(), "net-define", f.write("net.xml", foreignNetwork))
		return strings.Contains(w.text(), "network default: Defined")
	}) {
		t.Fatalf("no event: %s\n%s", w.text(), f.ours.LogTail(20))
	}
	f.good(f.c, "net-start", "default")
	seen("network default: Started")
	f.kill()
	f.back()
	if !lab.Await(context.Background(), func() bool { // again when the peer has come back by itself
		f.c.Virsh(context.Background(), "net-destroy", "default")
		f.c.Virsh(context.Background(), "net-start", "default")
		return strings.Contains(w.text(), "network default: Stopped")
	}) {
		t.Fatalf("no event after the restart: %s\n%s", w.text(), f.ours.LogTail(20))
	}
	before := strings.Count(w.text(), "Stopped")
	f.good(f.c, "net-destroy", "default")
	seen("(?s)" + strings.Repeat("Stopped.*", before+1))
	f.good(f.c, "net-undefine", "default")
	seen("(?s)Stopped.*Undefined")
	if n := strings.Count(w.text(), "Stopped"); n != before+1 {
		t.Errorf("%d more events for one stop: %s", n-before, w.text())
	}
}

// Volumes travel in both directions, and secrets are told apart by who may see them.
func TestForeignStorageAndSecrets(t *testing.T) {
	f := openForeign(t, "storage", "secret", "nwfilter")
	pool := filepath.Join(f.c.Dir, "pool")
	if err := os.Mkdir(pool, 0o755); err != nil {
		t.Fatal(err)
	}
	f.good(f.ours, "pool-create-as", "p", "dir", "--target", pool)
	f.good(f.ours, "vol-create-as", "p", "v", "3M")
	data := strings.Repeat("sixteen bytes ..", 3<<16)
	f.good(f.ours, "vol-upload", "v", f.write("in", data), "--pool", "p")
	if b, err := os.ReadFile(filepath.Join(pool, "v")); err != nil || string(b) != data {
		t.Errorf("uploaded %d bytes, %v", len(b), err)
	}
	for _, sparse := range []string{"--offset=0", "--sparse"} {
		out := f.write("out", "")
		f.good(f.ours, "vol-download", "v", out, "--pool", "p", sparse)
		if b, err := os.ReadFile(out); err != nil || string(b) != data {
			t.Errorf("%s: downloaded %d bytes, %v", sparse, len(b), err)
		}
	}
	if r := f.ours.Virsh(context.Background(), "vol-upload", "v", f.write("in", data), "--pool", "p", "--sparse"); r.Exit == 0 || !strings.Contains(r.Stderr, "sparse") {
		t.Errorf("a sparse upload: %+v", r)
	}
	over := []string{"vol-upload", "v", f.write("in", data), "--pool", "p", "--offset", "9999999", "--length", "1"}
	if r := f.ours.Virsh(context.Background(), over...); r.Exit == 0 || !strings.Contains(r.Stderr, "error: cannot write to stream: No space left on device") {
		t.Errorf("an upload beyond the end: %+v", r) // libvirtd's words; which of its steps virsh blames is a matter of time
	}
	f.good(f.ours, "vol-info", "v", "--pool", "p") // and the connection is good for more

	f.good(f.ours, "secret-define", f.write("s.xml", "<secret><uuid>7f0a2a3c-70a3-4a25-8b1d-6f1f6a6a9a10</uuid><usage type='ceph'><name>k</name></usage></secret>"))
	if out := f.good(f.c, "secret-list"); !strings.Contains(out, "7f0a2a3c") {
		t.Errorf("libvirtd's secrets: %s", out)
	}
	if r := f.ours.Run(context.Background(), "virsh", "-c", f.ours.ReadOnlyURI(), "secret-undefine", "7f0a2a3c-70a3-4a25-8b1d-6f1f6a6a9a10"); r.Exit == 0 {
		t.Error("a read-only connection removes a secret")
	}
	f.good(f.ours, "nwfilter-list")
	f.until("7f0a2a3c", f.ours, "secret-list")
}
