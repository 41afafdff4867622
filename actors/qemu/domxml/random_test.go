package domxml

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

var (
	randomCount = flag.Int("random", 0, "compare this many random documents with the libvirtd of this machine")
	randomSeed  = flag.Uint64("seed", 1, "where they start")
)

// TestRandom throws the devices of all recorded documents together and asks both sides. What one refuses the other has to
// refuse, though where there are two reasons they may name different ones.
func TestRandom(t *testing.T) {
	if *randomCount == 0 {
		t.Skip("needs a reference libvirtd; -random N")
	}
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	env := referenceEnv(t)
	pool := devicePool(t)
	heads := headPool(t)
	accepted := 0
	for i := range *randomCount {
		seed := *randomSeed + uint64(i)
		doc := randomDocument(rand.New(rand.NewPCG(seed, 0)), pool, heads)
		want, refusal := reference(l, doc)
		d, err := Parse([]byte(doc), env, 0)
		var e *liberr.Error
		switch {
		case errors.As(err, &e) && refusal == "":
			t.Errorf("seed %d: refused: %v\n%s", seed, err, doc)
		case err == nil && refusal != "":
			t.Errorf("seed %d: accepted; libvirt: %s\n%s", seed, refusal, doc)
		case err == nil:
			accepted++
			got, _ := Format(d, Secure|Inactive)
			if diff := lineDiff(want, got); diff != "" {
				t.Errorf("seed %d (-libvirt +ours)\n%s\n%s", seed, diff, doc)
			}
		case fmt.Sprintf("%d\n%s\n", e.Code, e.Message) != refusal:
			t.Logf("seed %d: ours %q, libvirt %q", seed, e.Message, refusal)
		}
	}
	t.Logf("%d of %d accepted by both", accepted, *randomCount)
}

// devicePool collects the devices of the recorded documents.
func devicePool(t *testing.T) []*node {
	files, _ := filepath.Glob("testdata/define/*.in.xml")
	var pool []*node
	seen := map[string]bool{}
	for _, file := range files {
		root, bad := xmltree.Scan(read(t, file))
		if bad != nil {
			continue
		}
		for _, d := range elements(root.Kid("devices")) {
			var b strings.Builder
			d.Print(&b, 2)
			if d.Name == "emulator" || seen[b.String()] || d.Kid("address") != nil && d.Name != "disk" || strings.Contains(b.String(), "tlsPort") {
				continue
			}
			seen[b.String()] = true
			pool = append(pool, d)
		}
	}
	return pool
}

// headPool collects what stands above the devices.
func headPool(t *testing.T) map[string][]*node {
	files, _ := filepath.Glob("testdata/define/*.in.xml")
	pool := map[string][]*node{}
	for _, file := range files {
		root, bad := xmltree.Scan(read(t, file))
		if bad != nil {
			continue
		}
		for _, k := range root.Kids {
			switch k.Name {
			case "features", "cpu", "clock", "pm", "memtune", "blkiotune", "cputune", "sysinfo", "seclabel", "numatune", "on_crash", "on_reboot", "on_poweroff", "perf", "genid", "resource", "title", "description", "memoryBacking", "currentMemory":
				pool[k.Name] = append(pool[k.Name], k)
			}
		}
	}
	return pool
}

func randomDocument(r *rand.Rand, pool []*node, heads map[string][]*node) string {
	machine := []string{"q35", "pc"}[r.IntN(2)]
	virt := []string{"qemu", "kvm"}[r.IntN(2)]
	id := r.Uint32()
	var b strings.Builder
	fmt.Fprintf(&b, "<domain type='%s'>\n  <name>dx-random</name>\n  <uuid>%08x-0000-4000-8000-000000000000</uuid>\n  <memory>1048576</memory>\n  <vcpu>4</vcpu>\n  <iothreads>2</iothreads>\n", virt, id)
	if r.IntN(2) == 0 {
		for _, name := range slices.Sorted(maps.Keys(heads)) {
			if r.IntN(3) == 0 {
				heads[name][r.IntN(len(heads[name]))].Print(&b, 1)
			}
		}
	} else {
		fmt.Fprintf(&b, "  <memoryBacking>\n    <access mode='shared'/>\n  </memoryBacking>\n  <features>\n    <acpi/>\n  </features>\n")
	}
	fmt.Fprintf(&b, "  <os>\n    <type arch='x86_64' machine='%s'>hvm</type>\n  </os>\n  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n", machine)
	targets := map[string]bool{}
	single := map[string]bool{}
	for n := range 1 + r.IntN(14) {
		d := pool[r.IntN(len(pool))].Clone()
		switch d.Name {
		case "disk":
			if dev := d.Kid("target").Get("dev"); targets[dev] {
				continue
			} else {
				targets[dev] = true
			}
			d.Drop("boot")
		case "interface":
			d.Drop("mac", "boot")
			d.Kids = append([]*node{xmltree.Elem("mac", "address", fmt.Sprintf("52:54:00:00:00:%02x", n+1))}, d.Kids...)
		case "watchdog", "memballoon", "vsock", "tpm", "iommu", "smartcard", "redirfilter", "nvram":
			if single[d.Name] {
				continue
			}
			single[d.Name] = true
		case "audio":
			if d.Get("type") == "spice" || single[d.Name] {
				continue
			}
			single[d.Name] = true
		case "memory", "panic":
			continue
		case "controller":
			d.Unset("index")
		default:
			d.Drop("boot")
		}
		if a := d.Kid("alias"); a != nil {
			a.Set("name", fmt.Sprintf("ua-%d", n))
		}
		d.Print(&b, 2)
	}
	b.WriteString("  </devices>\n</domain>\n")
	return b.String()
}
