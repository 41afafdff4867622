package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/qmp"
)

const realBinary = "/usr/bin/qemu-system-x86_64"

// probed is the real binary's capabilities, asked once for all tests.
var probed = sync.OnceValues(func() (*caps.Caps, error) {
	kvm := unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil
	return caps.Probe(context.Background(), realBinary, kvm, nil)
})

func realCaps(t testing.TB) *caps.Caps {
	t.Helper()
	if _, err := os.Stat(realBinary); err != nil {
		t.Skip("no QEMU on this host")
	}
	c, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// unstartable are definitions that need what this host, or the distribution's QEMU, does not have.
var unstartable = map[string]string{
	"acpi-table":                 "the table is not a valid one",
	"audio-backends":             "QEMU's modules for sound servers are not installed",
	"disk-gluster":               "QEMU's gluster and ssh modules need servers",
	"disk-https":                 "needs a server",
	"disk-iscsi":                 "needs a server",
	"disk-nbd":                   "needs a server",
	"disk-rbd":                   "needs a server",
	"disk-nvme":                  "needs an NVMe controller bound to vfio",
	"disk-block":                 "needs block devices",
	"disk-lun":                   "needs a SCSI disk",
	"disk-secrets":               "needs servers",
	"leftovers":                  "needs certificates, a D-Bus and a Mac",
	"disk-policies":              "the slice it names is no image",
	"disk-reservations":          "needs SCSI disks",
	"cpu-everything":             "KVM of this host has no Hyper-V enlightenments",
	"disk-vhostuser":             "needs vhost-user servers",
	"disk-cdrom-empty-tray":      "names an image that does not exist on purpose",
	"filesystem-virtiofs":        "needs virtiofsd",
	"filesystem-virtiofs-socket": "needs virtiofsd",
	"hostdev-pci":                "needs host devices",
	"hostdev-mdev":               "needs host devices",
	"hostdev-scsi-iscsi":         "needs a server",
	"hostdev-usb":                "needs host devices",
	"hostdev-usb-guestreset":     "needs host devices",
	"hostdev-vhost-scsi":         "needs host devices",
	"hugepages":                  "needs hugetlbfs",
	"hugepages-numa":             "needs hugetlbfs",
	"inputs":                     "needs /dev/input",
	"bios-auto":                  "no BIOS has a descriptor here",
	"egl-headless":               "needs a GPU",
	"spice-gl":                   "needs a GPU",
	"sdl":                        "needs an X server",
	"dbus-display":               "QEMU's D-Bus display is not installed",
	"smbios-host":                "needs facts of the host",
	"smartcard-host":             "QEMU's NSS smartcard needs a certificate database",
	"nic-hostdev":                "needs host devices",
	"nic-teaming":                "needs host devices",
	"nic-vhostuser":              "needs a vhost-user switch",
	"nic-sockets":                "needs addresses of this host",
	"tpm-tis-passthrough":        "needs a TPM",
	"tpm-external":               "needs an emulator that is started by someone else",
	"qemu-commandline":           "its arguments name nothing",
	"serials-misc":               "needs a serial port",
	"parallel":                   "needs a parallel port",
	"vsock":                      "needs /dev/vhost-vsock opened, see TestRealVSock",
	"shmem":                      "needs an ivshmem server",
	"channel-guestfwd":           "needs a FIFO pair",
	"rng":                        "needs an entropy server",
	"fwcfg":                      "names a file that does not exist",
	"kernel":                     "see TestRealKernel",
	"clock-kvm":                  "KVM of this host does not scale the TSC",
	"hyperv":                     "KVM of this host has no Hyper-V enlightenments",
	"redirdev":                   "connects to a server",
	"serials-net":                "connects to a server",
	"kvm-split-irqchip":          "KVM of this host has no interrupt remapping for a split irqchip",
}

// TestReal starts QEMU with what Build gives for each recorded definition that can run here, asks it for its status and
// applies the setup commands. QEMU itself is the judge of every option and property.
func TestReal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts QEMU many times")
	}
	c := realCaps(t)
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if why := unstartable[name]; why != "" {
				t.Skip(why)
			}
			def := parseText(t, localise(t, "testdata/"+name+".xml"))
			if def.Type == "kvm" && !c.KVM {
				t.Skip("no KVM on this host")
			}
			if def.CPU != nil && def.CPU.Mode == "host-passthrough" {
				// Nested KVM does not always offer what the CPU has; what is asked here is another question.
				def.CPU.Mode, def.CPU.Migratable, def.CPU.MaxPhysAddr = "custom", "", nil
				def.CPU.Model = &libvirtxml.DomainCPUModel{Value: "qemu64"}
			}
			q := start(t, c, def, nil)
			for _, s := range Setup(def) {
				if err := q.Execute(t.Context(), s.Execute, s.Arguments, nil); err != nil {
					t.Errorf("%s %s: %v", s.Execute, s.Arguments, err)
				}
			}
		})
	}
}

var namedFile = regexp.MustCompile(`(?:/var/lib/libvirt/images|/tmp|/var/lib/nova/instances/1|/etc/fake|/export|/var/log/libvirt/qemu)/[^"'<&]+`)

// localise puts every file a definition names into the test's own folder, and makes those that have to exist.
func localise(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	made := map[string]bool{}
	return namedFile.ReplaceAllStringFunc(string(text), func(name string) string {
		local := filepath.Join(dir, filepath.Base(name))
		if !made[local] {
			made[local] = true
			switch {
			case strings.HasPrefix(name, "/export"):
				if err := os.Mkdir(local, 0o755); err != nil {
					t.Fatal(err)
				}
			case filepath.Ext(name) == ".sock":
				listen(t, string(text), name, local)
			default:
				makeImage(t, local)
			}
		}
		return local
	})
}

// listen makes a socket that QEMU will connect to.
func listen(t testing.TB, document, name, local string) {
	t.Helper()
	if !strings.Contains(document, `mode="connect" path="`+name) {
		return
	}
	l, err := net.Listen("unix", local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func makeImage(t testing.TB, file string) {
	t.Helper()
	size := "64M"
	format := strings.TrimPrefix(filepath.Ext(file), ".")
	switch format {
	case "qcow2", "vmdk", "vdi", "vpc", "qed", "qcow":
	case "log", "wav", "out":
		return
	default:
		format = "raw"
		if filepath.Base(file) == "nv.img" {
			size = "256M"
		}
		if filepath.Base(file) == "disk" {
			format = "qcow2"
		}
	}
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", format, file, size).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
}

// start runs QEMU as Build says and returns its monitor. The process ends with the test.
func start(t *testing.T, c *caps.Caps, def *libvirtxml.Domain, change func(*Runtime)) *guest {
	t.Helper()
	// Sockets have short names.
	dir, err := os.MkdirTemp("", "cmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	rt := realRuntime(t, def, dir)
	if change != nil {
		change(&rt)
	}
	if def.OS.NVRam != nil && def.OS.NVRam.Template != "" {
		def.OS.NVRam.NVRam = filepath.Join(dir, "VARS.fd")
		copyFile(t, def.OS.NVRam.Template, def.OS.NVRam.NVRam)
	}
	command, err := Build(def, c, rt)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, command, rt.MonitorPath())
}

func realRuntime(t *testing.T, def *libvirtxml.Domain, dir string) Runtime {
	t.Helper()
	rt := testRuntime(t, def)
	rt.LibDir, rt.ChannelDir, rt.RAMDir = dir, dir, dir
	if err := os.WriteFile(rt.MasterKeyPath(), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	monitor, err := net.ListenUnix("unix", &net.UnixAddr{Name: rt.MonitorPath(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	monitor.SetUnlinkOnClose(false)
	defer monitor.Close()
	if rt.Monitor, err = monitor.File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Monitor.Close() })
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		alias := aliasOf(n.Alias)
		if _, wired := wire(n); !wired {
			continue
		}
		rt.NICs[alias] = NIC{Tap: taps(t, Queues(n))}
	}
	for i := range def.Devices.Graphics {
		// Ports may be taken on this host: a socket or nothing listens instead.
		if g := &def.Devices.Graphics[i]; g.VNC != nil && g.VNC.Socket == "" {
			g.VNC.Listeners = []libvirtxml.DomainGraphicListener{{}}
		} else if g.Spice != nil {
			g.Spice.Listeners = []libvirtxml.DomainGraphicListener{{}}
		}
	}
	for alias := range rt.TPMs {
		rt.TPMs[alias] = TPM{Socket: swtpm(t, dir)}
	}
	return rt
}

// wire says whether a NIC needs a tap.
func wire(n *libvirtxml.DomainInterface) (string, bool) {
	s := n.Source
	if s == nil {
		return "", false
	}
	return "", s.Ethernet != nil || s.Bridge != nil || s.Network != nil || s.Direct != nil
}

// taps opens a tap device of its own with so many queues; it goes with the last descriptor.
func taps(t *testing.T, queues int) []*os.File {
	t.Helper()
	var files []*os.File
	name := ""
	for range queues {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skip("no tap devices: ", err)
		}
		var req struct {
			name  [unix.IFNAMSIZ]byte
			flags uint16
			pad   [22]byte
		}
		copy(req.name[:], name)
		if name == "" {
			copy(req.name[:], "cmdtest%d")
		}
		req.flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
		if queues > 1 {
			req.flags |= unix.IFF_MULTI_QUEUE
		}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req))); e != 0 {
			unix.Close(fd)
			t.Skip("may not make tap devices: ", e)
		}
		name = unix.ByteSliceToString(req.name[:])
		f := os.NewFile(uintptr(fd), name)
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

// swtpm starts a TPM emulator that ends with its QEMU.
func swtpm(t *testing.T, dir string) string {
	t.Helper()
	socket := filepath.Join(dir, "swtpm.sock")
	cmd := exec.Command("swtpm", "socket", "--ctrl", "type=unixio,path="+socket, "--tpmstate", "dir="+dir, "--tpm2", "--terminate", "-d")
	if errors.Is(cmd.Err, exec.ErrNotFound) {
		t.Skip("no swtpm on this host")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("swtpm: %v: %s", err, out)
	}
	return socket
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Skip("no firmware on this host: ", err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// guest is a QEMU of a test.
type guest struct {
	*qmp.Client
	events chan qmp.Event
}

// await reads events until one is what the test waits for.
func (g *guest) await(t *testing.T, what string, is func(qmp.Event) bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e := <-g.events:
			if is(e) {
				return
			}
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

// run starts a command and connects to its monitor.
func run(t *testing.T, c *Command, monitor string) *guest {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(c.Binary, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = &log, &log
	for i, f := range c.Files {
		if f.Number != FirstFD+i {
			t.Fatalf("descriptor %q has number %d, want %d", f.Name, f.Number, FirstFD+i)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f.File)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("QEMU said: %s", log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type dialled struct {
		q   *qmp.Client
		err error
	}
	connected := make(chan dialled, 1)
	events := make(chan qmp.Event, 1024)
	go func() {
		q, err := qmp.Dial(ctx, monitor, qmp.Handler{Event: func(e qmp.Event) { events <- e }})
		connected <- dialled{q, err}
	}()
	select {
	case err := <-exited:
		exited <- err
		t.Fatalf("QEMU ended: %v", err)
	case d := <-connected:
		if d.err != nil {
			t.Fatalf("no monitor: %v", d.err)
		}
		t.Cleanup(func() { d.q.Close() })
		status, err := qmp.QueryStatus(t.Context(), d.q)
		if err != nil {
			t.Fatalf("query-status: %v", err)
		}
		if got := fmt.Sprint(status.Status); got != "prelaunch" {
			t.Errorf("status is %s, want prelaunch", got)
		}
		return &guest{d.q, events}
	}
	return nil
}
