package nodedev

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
)

// reference runs the script with a libvirtd of its own, which sees h's host in the place of the machine's, in namespaces
// of its own, and returns what it printed. The script finds the daemon where clients look for it.
func reference(t *testing.T, h host, script string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for namespaces")
	}
	for _, tool := range []string{"libvirtd", "virsh", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("nothing to compare with: ", err)
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "-m", "-n", "--kill-child", "-p", "-f", "sh", "-e", "-c", referenceScript, "sh", dir, filepath.Dir(h.sys))
	cmd.Env = append(os.Environ(), "SYSTEMD_DEVICE_VERIFY_SYSFS=0", "SCRIPT="+script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log/daemon"))
		t.Fatalf("%v: %s\n%s", err, out, log)
	}
	if testing.Verbose() {
		log, _ := os.ReadFile(filepath.Join(dir, "log/daemon"))
		t.Logf("%s", log)
	}
	return string(out)
}

const referenceScript = `
dir=$1 fake=$2
mount -t proc proc /proc
mount -t tmpfs none /run
mkdir -p $dir/run $dir/etc $dir/lib $dir/log $dir/cache $dir/mdev/scripts.d/callouts $dir/mdev/scripts.d/notifiers /run/libvirt /run/udev/data /etc/mdevctl.d
mount --bind $dir/run /run/libvirt
mount --bind $dir/etc /etc/libvirt
mount --bind $dir/lib /var/lib/libvirt
mount --bind $dir/log /var/log/libvirt
mount --bind $dir/cache /var/cache/libvirt
mount --bind $dir/mdev /etc/mdevctl.d
mount --bind $fake/udev /run/udev/data
mount --bind $fake/sys /sys
mkdir $dir/dev
mount -t tmpfs none $dir/dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty $dir/dev
mkdir $dir/dev/vfio
touch $dir/dev/vhost-vdpa-3 $dir/dev/vfio/vfio
mount --move $dir/dev /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
LIBVIRT_DEBUG=3 libvirtd -p $dir/pid >$dir/log/daemon 2>&1 &
pid=$!
n=0
until virsh -q -c qemu:///system nodedev-list >/dev/null 2>&1; do
	n=$((n+1)); [ $n -lt 200 ] || exit 1
	sleep 0.1
done
sh -c "$SCRIPT" || :
kill $pid
wait $pid || :
`

// hardware is the host of testdata/hardware.sysfs.
func hardware(t testing.TB) host {
	text, err := os.ReadFile("testdata/hardware.sysfs")
	if err != nil {
		t.Fatal(err)
	}
	return buildSysfs(t, t.TempDir(), string(text))
}

const goldenHardware = "testdata/hardware.golden"

var update = flag.Bool("update", false, "write the golden file from what libvirtd says")

// listCaps are the filters of lists, as virsh names them.
var listCaps = []kind{
	kindSystem, kindPCI, kindUSBDevice, kindUSB, kindNet, kindSCSIHost, kindSCSITarget, kindSCSI, kindStorage, capFCHost, capVports,
	kindSCSIGeneric, kindDRM, capMdevTypes, kindMdev, kindCCW, kindCSS, kindVDPA, kindAPCard, kindAPQueue, kindAPMatrix, capVPD,
}

// The golden file is what libvirtd says of this hardware.
func TestGoldenIsLibvirtds(t *testing.T) {
	var caps []string
	for _, c := range listCaps {
		caps = append(caps, string(c))
	}
	got := reference(t, hardware(t), `
for c in `+strings.Join(caps, " ")+`; do echo "--- $c:"; virsh -q nodedev-list --cap $c; done
virsh "$(for d in $(virsh -q nodedev-list); do echo "echo '--- $d' ; nodedev-dumpxml $d ;"; done)"`)
	if *update {
		if err := os.WriteFile(goldenHardware, []byte(got), 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	want, err := os.ReadFile(goldenHardware)
	if err != nil || string(want) != got {
		t.Errorf("%v: libvirtd says\n%s", err, got)
	}
}

// Every device reads as libvirtd reads it.
func TestHardware(t *testing.T) {
	h := hardware(t)
	h.dev = t.TempDir()
	if err := os.WriteFile(filepath.Join(h.dev, "vhost-vdpa-3"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile(goldenHardware)
	if err != nil {
		t.Fatal(err)
	}
	c := branchtest.Start(t, newOn(branchtest.Env(t), h)).Client()
	filledIn(t, c)
	sorted := func(names string) string {
		all := strings.Fields(names)
		sort.Strings(all)
		return strings.Join(all, " ")
	}
	var names []string
	for _, part := range strings.Split(string(golden), "--- ")[1:] {
		head, want, _ := strings.Cut(part, "\n")
		if filter, ok := strings.CutSuffix(head, ":"); ok {
			if got, want := sorted(list(t, c, listFlag[kind(filter)])), sorted(want); got != want {
				t.Errorf("of kind %s: %s\nwant %s", filter, got, want)
			}
			continue
		}
		names = append(names, head)
		if got := strings.ReplaceAll(xml(t, c, head), h.dev, "/dev"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	if got, want := sorted(list(t, c, 0)), sorted(strings.Join(names, " ")); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// The same calls on the same hardware are answered alike by libvirtd and by both modes of the tree.
func TestSeriesAgainstLibvirtd(t *testing.T) {
	binary := os.Getenv("VIRTREE_BIN")
	if binary == "" {
		binary, _ = filepath.Abs("../../bin/virtree")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skip("make build makes what is compared: ", err)
	}
	if _, err := exec.LookPath("mdevctl"); err != nil {
		t.Skip(err)
	}
	script, err := os.ReadFile("testdata/series.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("VIRTREE", binary)
	parts := strings.Split(reference(t, hardware(t), string(script)), "=== ")
	if len(parts) != 3 {
		t.Fatalf("%q", parts)
	}
	for _, part := range parts[1:] {
		mode, text, _ := strings.Cut(part, "\n")
		want, got := strings.Split(parts[0], "\n"), strings.Split(text, "\n")
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Errorf("mode %q, line %d: %s\nlibvirtd: %s", mode, i, strings.Join(got[min(i, len(got)):min(i+6, len(got))], "\n"), strings.Join(want[i:min(i+6, len(want))], "\n"))
				break
			}
		}
	}
}
