package qemu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/vishvananda/netlink"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/kit"
	"virtree/actors/logd"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
	"virtree/wire/xdr"
)

// start starts a transient guest from a whole document. With the flag for a paused start no firmware runs, which would
// reset drives and bridges of its own accord.
func (g *guests) start(doc string, flags uint32) protocol.Domain {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: doc, Flags: flags})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: ret.Dom})
	})
	return ret.Dom
}

const plugBoard = `<domain type='qemu'><name>%s</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='%s'/><target dev='hda' bus='ide'/><readonly/></disk>
<controller type='usb' model='qemu-xhci'/><controller type='scsi' model='virtio-scsi'/><controller type='virtio-serial'/>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<graphics type='vnc' port='-1' autoport='yes'/>
</devices></domain>`

func image(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g *guests) xml(dom protocol.Domain, flags uint32) string {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.DomainGetXMLDesc, &protocol.DomainGetXMLDescArgs{Dom: dom, Flags: flags})
	if err != nil {
		g.t.Fatal(err)
	}
	return ret.XML
}

// qmp asks the guest's QEMU itself.
func (g *guests) qmp(dom protocol.Domain, command string, into any) {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.QemuDomainMonitorCommand, &protocol.QemuDomainMonitorCommandArgs{Dom: dom, Cmd: `{"execute":"` + command + `"}`})
	if err != nil {
		g.t.Fatal(err)
	}
	answer := struct {
		Return any `json:"return"`
	}{into}
	if err := json.Unmarshal([]byte(ret.Result), &answer); err != nil {
		g.t.Fatal(err)
	}
}

// nodes lists the names of the images that QEMU has open.
func (g *guests) nodes(dom protocol.Domain) []string {
	var list []struct {
		Name string `json:"node-name"`
	}
	g.qmp(dom, "query-named-block-nodes", &list)
	var out []string
	for _, n := range list {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return out
}

func (g *guests) chardevs(dom protocol.Domain) []string {
	var list []struct {
		Label string `json:"label"`
	}
	g.qmp(dom, "query-chardev", &list)
	var out []string
	for _, c := range list {
		out = append(out, c.Label)
	}
	slices.Sort(out)
	return out
}

func (g *guests) attach(dom protocol.Domain, doc string) *liberr.Error {
	_, err := branchtest.Do(g.c, protocol.DomainAttachDeviceFlags, &protocol.DomainAttachDeviceFlagsArgs{Dom: dom, XML: doc, Flags: virt.DomainAffectLive})
	return err
}

func (g *guests) detach(dom protocol.Domain, doc string) *liberr.Error {
	_, err := branchtest.Do(g.c, protocol.DomainDetachDeviceFlags, &protocol.DomainDetachDeviceFlagsArgs{Dom: dom, XML: doc, Flags: virt.DomainAffectLive})
	return err
}

// event waits for the next event of a kind and gives the alias it is about.
func (g *guests) event(id int32) string {
	g.t.Helper()
	for {
		e := g.c.Event()
		if e.Object == "" {
			g.t.Fatalf("event %d did not come", id)
		}
		if e.Object != "domain" || e.ID != id {
			continue
		}
		var dom protocol.Domain
		d := xdr.NewDecoder(e.Payload)
		dom.DecodeXDR(&d)
		return d.String(1 << 16)
	}
}

// What needs no guest to let go of it comes and goes, and leaves nothing behind in QEMU.
func TestDevicesComeAndGo(t *testing.T) {
	g := newGuests(t)
	dir := t.TempDir()
	dom := g.start(fmt.Sprintf(plugBoard, "goer", image(t, dir, "cd")), virt.DomainStartPaused)
	before, nodes, chardevs := g.xml(dom, 0), g.nodes(dom), g.chardevs(dom)
	top := filepath.Join(dir, "top.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", image(t, dir, "base"), "-F", "raw", top).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	for _, tt := range []struct{ name, alias, doc string }{
		{"a SCSI disk with a backing image", "scsi0-0-0-1", `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='` + top + `'/><target dev='sdb' bus='scsi'/></disk>`},
		{"a USB disk", "usb-disk2", `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + image(t, dir, "usb") + `'/><target dev='sdc' bus='usb'/></disk>`},
		{"a SCSI CD drive", "scsi0-0-0-3", `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='` + image(t, dir, "cd2") + `'/><target dev='sdd' bus='scsi'/><readonly/></disk>`},
		{"a channel", "channel0", `<channel type='unix'><source mode='bind' path='` + dir + `/c.sock'/><target type='virtio' name='a.b.c'/></channel>`},
		{"a serial line on USB", "serial0", `<serial type='unix'><source mode='bind' path='` + dir + `/s.sock'/><target type='usb-serial' port='0'/></serial>`},
		{"a serial line to a file", "serial0", `<serial type='file'><source path='` + dir + `/s.log'/><target type='usb-serial' port='0'/></serial>`},
		{"a tablet", "input2", `<input type='tablet' bus='usb'/>`},
		{"a redirected USB device", "redir0", `<redirdev bus='usb' type='unix'><source mode='bind' path='` + dir + `/r.sock'/></redirdev>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := g.attach(dom, tt.doc); err != nil {
				t.Fatal(err)
			}
			if alias := g.event(virt.DomainEventIDDeviceAdded); alias != tt.alias {
				t.Errorf("%s was added, not %s", alias, tt.alias)
			}
			if !strings.Contains(g.xml(dom, 0), "<alias name='"+tt.alias+"'/>") {
				t.Error("the definition does not have it")
			}
			if err := g.detach(dom, tt.doc); err != nil {
				t.Fatal(err)
			}
			if alias := g.event(virt.DomainEventIDDeviceRemoved); alias != tt.alias {
				t.Errorf("%s was removed, not %s", alias, tt.alias)
			}
			if now := g.xml(dom, 0); now != before {
				t.Errorf("the definition is not what it was:\n%s", now)
			}
			if now := g.nodes(dom); !slices.Equal(now, nodes) {
				t.Errorf("images: %v, were %v", now, nodes)
			}
			if now := g.chardevs(dom); !slices.Equal(now, chardevs) {
				t.Errorf("character devices: %v, were %v", now, chardevs)
			}
		})
	}
}

// What fails on the way is as if it had not been tried.
func TestFailedPlugIsUndone(t *testing.T) {
	if inNetworkNamespace(t) {
		return
	}
	g := newGuests(t)
	dir := t.TempDir()
	dom := g.start(fmt.Sprintf(plugBoard, "undo", image(t, dir, "cd")), virt.DomainStartPaused)
	before, nodes, chardevs := g.xml(dom, 0), g.nodes(dom), g.chardevs(dom)
	links := linkNames(t)
	garbage := filepath.Join(dir, "garbage.qcow2")
	if err := os.WriteFile(garbage, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, doc, message string }{
		{"a NIC whose model QEMU does not know", `<interface type='ethernet'><target dev='hotplug0'/><model type='nosuch'/></interface>`,
			"internal error: unable to execute QEMU command 'device_add': 'nosuch' is not a valid device model name"},
		{"a channel whose socket cannot be made", `<channel type='unix'><source mode='bind' path='/nowhere/at/all'/><target type='virtio' name='x'/></channel>`,
			"Unable to bind to UNIX socket path '/nowhere/at/all': No such file or directory"},
		{"an image that is none", `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='` + garbage + `'/><target dev='sdb' bus='scsi'/></disk>`,
			"internal error: unable to execute QEMU command 'blockdev-add': Image is not in qcow2 format"},
		{"a disk on a bus that stays as it is", `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + image(t, dir, "x") + `'/><target dev='sdb' bus='sata'/></disk>`,
			"internal error: Could not find sata controller with index 0 required for device"},
		{"a line that nobody answers", `<serial type='tcp'><source mode='connect' host='127.0.0.1' service='9'/><target type='usb-serial' port='0'/></serial>`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := g.attach(dom, tt.doc)
			if err == nil || tt.message != "" && err.Message != tt.message {
				t.Fatalf("got %v", err)
			}
			if now := g.xml(dom, 0); now != before {
				t.Errorf("the definition is not what it was:\n%s", now)
			}
			if now := g.nodes(dom); !slices.Equal(now, nodes) {
				t.Errorf("images: %v, were %v", now, nodes)
			}
			if now := g.chardevs(dom); !slices.Equal(now, chardevs) {
				t.Errorf("character devices: %v, were %v", now, chardevs)
			}
			if now := linkNames(t); !slices.Equal(now, links) {
				t.Errorf("links: %v, were %v", now, links)
			}
		})
	}
}

// A network card brings its tap and takes it along, whenever the guest lets go of it: here at its next reset, long after
// the call was answered.
func TestLateRemovalIsFinished(t *testing.T) {
	if inNetworkNamespace(t) {
		return
	}
	g := newGuests(t)
	dom := g.start(fmt.Sprintf(plugBoard, "late", image(t, t.TempDir(), "cd")), virt.DomainStartPaused)
	before, links := g.xml(dom, 0), linkNames(t)
	if err := g.attach(dom, `<interface type='ethernet'><target dev='late0'/><model type='virtio'/></interface>`); err != nil {
		t.Fatal(err)
	}
	alias := g.event(virt.DomainEventIDDeviceAdded)
	if _, err := netlink.LinkByName("late0"); err != nil {
		t.Fatal(err)
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDetachDeviceAlias, &protocol.DomainDetachDeviceAliasArgs{Dom: dom, Alias: alias, Flags: virt.DomainAffectLive}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.xml(dom, 0), "late0") {
		t.Fatal("firmware let go of a card: the test needs another guest")
	}
	if _, err := branchtest.Do(g.c, protocol.DomainReset, &protocol.DomainResetArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	g.removed(dom, alias, before, links)
}

// removed checks that the device has gone, and that the domain and the host are as they were before it came.
func (g *guests) removed(dom protocol.Domain, alias, before string, links []string) {
	g.t.Helper()
	if gone := g.event(virt.DomainEventIDDeviceRemoved); gone != alias {
		g.t.Errorf("%s went, not %s", gone, alias)
	}
	if now := g.xml(dom, 0); now != before {
		g.t.Errorf("the definition is not what it was:\n%s", now)
	}
	if now := linkNames(g.t); !slices.Equal(now, links) {
		g.t.Errorf("links: %v, were %v", now, links)
	}
}

// What the guest lets go of while no daemon runs is found missing by the next one.
func TestRemovalWhileTheDaemonIsAway(t *testing.T) {
	if inNetworkNamespace(t) {
		return
	}
	env := branchtest.Env(t)
	conf := DefaultConfig
	conf.User, conf.Group = "root", "root"
	var logs *actor.PID
	env.Branch = func(name string) *actor.PID {
		if name == "logd" {
			return logs
		}
		return nil
	}
	daemon := func() (*guests, *branchtest.Branch) {
		b := branchtest.Start(t, New(env, conf))
		pid := b.Root().Spawn(kit.Props(logd.New(env, logd.Defaults())))
		t.Cleanup(func() { _ = b.Root().StopFuture(pid).Wait() })
		logs = pid
		return &guests{t: t, c: b.Client(), env: env.Paths.DriverRun("qemu")}, b
	}
	g, b := daemon()
	made, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{
		XMLDesc: fmt.Sprintf(plugBoard, "away", image(t, t.TempDir(), "cd")), Flags: virt.DomainStartPaused})
	if err != nil {
		t.Fatal(err)
	}
	dom := made.Dom
	before, links := g.xml(dom, 0), linkNames(t)
	if err := g.attach(dom, `<interface type='ethernet'><target dev='away0'/><model type='virtio'/></interface>`); err != nil {
		t.Fatal(err)
	}
	alias := g.event(virt.DomainEventIDDeviceAdded)
	if _, err := branchtest.Do(g.c, protocol.DomainDetachDeviceAlias, &protocol.DomainDetachDeviceAliasArgs{Dom: dom, Alias: alias, Flags: virt.DomainAffectLive}); err != nil {
		t.Fatal(err)
	}
	b.Stop()

	status, bad := os.ReadFile(filepath.Join(env.Paths.DriverRun("qemu"), "away.xml"))
	if bad != nil {
		t.Fatal(bad)
	}
	gone := make(chan struct{}, 1)
	mon, bad := qmp.Dial(t.Context(), between(string(status), "<monitor path='", "'"), qmp.Handler{Event: func(e qmp.Event) {
		var data qmp.DeviceDeletedData
		if e.Name == "DEVICE_DELETED" && e.Decode(&data) == nil && data.Device == alias {
			gone <- struct{}{}
		}
	}})
	if bad != nil {
		t.Fatal(bad)
	}
	if err := qmp.SystemReset(t.Context(), mon); err != nil {
		t.Fatal(err)
	}
	<-gone
	_ = mon.Close()

	g, _ = daemon()
	t.Cleanup(func() { _, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}) })
	g.removed(dom, alias, before, links)
}

// A medium comes and goes; one that cannot be opened leaves the old one in.
func TestMedia(t *testing.T) {
	g := newGuests(t)
	dir := t.TempDir()
	first, second, garbage := image(t, dir, "first"), image(t, dir, "second"), image(t, dir, "garbage")
	dom := g.start(fmt.Sprintf(plugBoard, "media", first), virt.DomainStartPaused)
	inside := func() string {
		var list []struct {
			Inserted *struct {
				File string `json:"file"`
			} `json:"inserted"`
			TrayOpen bool `json:"tray_open"`
		}
		g.qmp(dom, "query-block", &list)
		for _, b := range list {
			if b.TrayOpen {
				t.Error("the tray is open")
			}
			if b.Inserted != nil {
				return b.Inserted.File
			}
		}
		return ""
	}
	update := func(format, source string) *liberr.Error {
		_, err := branchtest.Do(g.c, protocol.DomainUpdateDeviceFlags, &protocol.DomainUpdateDeviceFlagsArgs{Dom: dom, Flags: virt.DomainAffectLive,
			XML: `<disk type='file' device='cdrom'><driver name='qemu' type='` + format + `'/>` + source + `<target dev='hda' bus='ide'/><readonly/></disk>`})
		return err
	}
	file := func(path string) string { return `<source file='` + path + `'/>` }
	if err := update("raw", file(second)); err != nil || inside() != second {
		t.Fatal(err, inside())
	}
	if err := update("qcow2", file(garbage)); err == nil || inside() != second || !strings.Contains(g.xml(dom, 0), second) {
		t.Fatal(err, inside())
	}
	if err := update("raw", file(filepath.Join(dir, "none"))); err == nil || inside() != second {
		t.Fatal(err, inside())
	}
	if err := update("raw", ""); err != nil || inside() != "" || strings.Contains(g.xml(dom, 0), second) {
		t.Fatal(err, inside())
	}
	if err := update("raw", file(first)); err != nil || inside() != first {
		t.Fatal(err, inside())
	}
	if now := g.nodes(dom); len(now) != 2 { // storage and format of the one that is in
		t.Errorf("images left: %v", now)
	}
}

// A stored definition is on disk when the call is answered.
func TestStoredDevicesAreOnDisk(t *testing.T) {
	g := newGuests(t)
	doc := strings.Replace(fmt.Sprintf(plugBoard, "stored", image(t, t.TempDir(), "cd")), "<memory", "<uuid>b57d1a3e-0000-4000-8000-0000000000aa</uuid><memory", 1)
	ret, err := branchtest.Do(g.c, protocol.DomainDefineXML, &protocol.DomainDefineXMLArgs{XML: doc})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.Replace(g.env, "/run/", "/etc/", 1), "stored.xml")
	onDisk := func() bool {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte("<rng model='virtio'>"))
	}
	const rng = `<rng model='virtio'><backend model='builtin'/></rng>`
	if _, err := branchtest.Do(g.c, protocol.DomainAttachDeviceFlags, &protocol.DomainAttachDeviceFlagsArgs{Dom: ret.Dom, XML: rng, Flags: virt.DomainAffectConfig}); err != nil || !onDisk() {
		t.Fatal(err)
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDetachDeviceFlags, &protocol.DomainDetachDeviceFlagsArgs{Dom: ret.Dom, XML: rng, Flags: virt.DomainAffectConfig}); err != nil || onDisk() {
		t.Fatal(err)
	}
	branchtest.Fails(g.c, protocol.DomainAttachDevice, &protocol.DomainAttachDeviceArgs{Dom: ret.Dom, XML: rng},
		liberr.FromDomain, liberr.OperationInvalid, "Requested operation is not valid: domain is not running")
}

// Many changes at once end up in the definition all together: none works from a state that another has left behind.
func TestChangesDoNotOverwriteEachOther(t *testing.T) {
	g := newGuests(t)
	dir := t.TempDir()
	dom := g.start(fmt.Sprintf(plugBoard, "many", image(t, dir, "cd")), virt.DomainStartPaused)
	const many = 4
	disk := func(i int) string {
		return fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='sd%c' bus='scsi'/></disk>", image(t, dir, fmt.Sprint(i)), 'b'+i)
	}
	if err := g.attach(dom, disk(0)); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < many; i++ {
		g.c.Send(protocol.DomainAttachDeviceFlags.Procedure, &protocol.DomainAttachDeviceFlagsArgs{Dom: dom, Flags: virt.DomainAffectLive, XML: disk(i)})
	}
	title, uri := "a title", ""
	g.c.Send(protocol.DomainSetMetadata.Procedure, &protocol.DomainSetMetadataArgs{Dom: dom, Type: virt.DomainMetadataTitle, Metadata: &title, URI: &uri, Flags: virt.DomainAffectLive})
	g.c.Send(protocol.DomainSetBlockIOTune.Procedure, &protocol.DomainSetBlockIOTuneArgs{Dom: dom, Disk: "sdb", Flags: virt.DomainAffectLive,
		Params: []protocol.TypedParam{paramULLong("total_iops_sec", 77)}})
	for range many - 1 + 2 {
		if r := g.c.Reply(); r.Err != nil {
			t.Error(r.Err)
		}
	}
	doc := g.xml(dom, 0)
	for _, part := range []string{"<title>a title</title>", "<total_iops_sec>77</total_iops_sec>"} {
		if !strings.Contains(doc, part) {
			t.Errorf("no %s in the definition:\n%s", part, doc)
		}
	}
	if n := strings.Count(doc, "bus='scsi'"); n != many {
		t.Errorf("%d of %d disks are in the definition", n, many)
	}
}

// A disk brings the controller it needs. When the guest has that and the disk fails, the controller is there to stay, and
// the definition says so.
func TestControllerOutlivesItsDisk(t *testing.T) {
	g := newGuests(t)
	dir := t.TempDir()
	dom := g.start(fmt.Sprintf(plugBoard, "outlives", image(t, dir, "cd")), virt.DomainStartPaused)
	used := image(t, dir, "used")
	disk := func(target, path string) string {
		return `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + path + `'/><target dev='` + target + `' bus='scsi'/></disk>`
	}
	if err := g.attach(dom, disk("sdb", used)); err != nil {
		t.Fatal(err)
	}
	nodes := g.nodes(dom)
	if err := g.attach(dom, disk("sdh", used)); err == nil || !strings.Contains(err.Message, "write") {
		t.Fatal(err)
	}
	if now := g.nodes(dom); !slices.Equal(now, nodes) {
		t.Errorf("images: %v, were %v", now, nodes)
	}
	if doc := g.xml(dom, 0); !strings.Contains(doc, "<alias name='scsi1'/>") || strings.Contains(doc, "dev='sdh'") {
		t.Errorf("the definition does not say what the guest has:\n%s", doc)
	}
	if err := g.attach(dom, disk("sdh", image(t, dir, "other"))); err != nil {
		t.Fatal(err)
	}
	// A controller with a disk on it stays.
	if err := g.detach(dom, `<controller type='scsi' index='1'/>`); err == nil || err.Message != "operation failed: device cannot be detached: device is busy" {
		t.Error(err)
	}
}

// A guest with a system lets go of its devices at once.
func TestGuestLetsGo(t *testing.T) {
	cache := os.Getenv("VIRTREE_CACHE")
	if cache == "" {
		home, _ := os.UserCacheDir()
		cache = filepath.Join(home, "virtree")
	}
	kernel := filepath.Join(cache, "guest", "vmlinux")
	args, err := os.ReadFile(filepath.Join(cache, "guest", "cmdline"))
	if err != nil {
		t.Skip("the small guest is not there: make guest")
	}
	if inNetworkNamespace(t) {
		return
	}
	g := newGuests(t)
	dir := t.TempDir()
	console, err := net.Listen("unix", filepath.Join(dir, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	ready := make(chan error, 1)
	go func() { ready <- waitFor(console, "virtree guest ready") }()
	dom := g.start(`<domain type='qemu'><name>lets-go</name><memory unit='MiB'>256</memory><os><type arch='x86_64' machine='q35'>hvm</type><kernel>`+kernel+`</kernel><initrd>`+
		filepath.Join(cache, "guest", "initrd")+`</initrd><cmdline>`+strings.TrimSpace(string(args))+`</cmdline></os><features><acpi/><apic/></features><devices>
		<controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'/><controller type='pci' index='2' model='pcie-root-port'/><controller type='pci' index='3' model='pcie-root-port'/>
		<serial type='unix'><source mode='connect' path='`+filepath.Join(dir, "console")+`'/></serial></devices></domain>`, 0)
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the guest is not ready")
	}
	before, nodes, links := g.xml(dom, 0), g.nodes(dom), linkNames(t)
	for _, doc := range []string{
		`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + image(t, dir, "disk") + `'/><target dev='vdb' bus='virtio'/></disk>`,
		`<interface type='ethernet'><mac address='52:54:00:00:00:02'/><target dev='goes0'/><model type='virtio'/></interface>`,
		`<rng model='virtio'><backend model='builtin'/></rng>`,
	} {
		if err := g.attach(dom, doc); err != nil {
			t.Fatal(err)
		}
		alias := g.event(virt.DomainEventIDDeviceAdded)
		asked := time.Now()
		if err := g.detach(dom, doc); err != nil {
			t.Fatal(err)
		}
		// A guest that was just booted may take longer than the call waits; the event comes all the same.
		if gone := g.event(virt.DomainEventIDDeviceRemoved); gone != alias {
			t.Errorf("%s went, not %s", gone, alias)
		}
		t.Logf("%s went after %v", alias, time.Since(asked).Round(time.Millisecond))
		if now := g.xml(dom, 0); now != before {
			t.Errorf("the definition is not what it was:\n%s", now)
		}
	}
	if now := g.nodes(dom); !slices.Equal(now, nodes) {
		t.Errorf("images: %v, were %v", now, nodes)
	}
	if now := linkNames(t); !slices.Equal(now, links) {
		t.Errorf("links: %v, were %v", now, links)
	}
}

// waitFor reads a console until a mark comes.
func waitFor(l net.Listener, mark string) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	var seen []byte
	b := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(mark)) {
		n, err := c.Read(b)
		if err != nil {
			return fmt.Errorf("%w after %q", err, seen)
		}
		seen = append(seen, b[:n]...)
	}
	go func() { // the guest must not be held up by a console that nobody reads
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	return nil
}

func linkNames(t *testing.T) []string {
	t.Helper()
	list, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range list {
		out = append(out, l.Attrs().Name)
	}
	slices.Sort(out)
	return out
}

// inNetworkNamespace runs the test again in a network namespace of its own, since the links it makes are the whole
// process's; it tells whether that was done and the test is over.
func inNetworkNamespace(t *testing.T) bool {
	t.Helper()
	const inside = "VIRTREE_TEST_IN_NAMESPACE"
	if os.Getenv(inside) != "" {
		return false
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, as the driver of the system does")
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
	return true
}
