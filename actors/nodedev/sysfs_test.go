package nodedev

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// buildSysfs makes the folders sys and udev below root of a description:
//
//	@ PATH KIND [driver=D]   a device, a link to it in KIND ("bus/pci", "class/net"), and to its driver
//	U KEY=VALUE              a property that the kernel gives it
//	E KEY=VALUE, S LINK      what udev found out, and a link in /dev
//	NAME=TEXT                an attribute; =* is a binary one that is made here
//	NAME -> PATH             a link in the device's folder
//	+ ...                    the last two from the root of sysfs
//
// Links are relative, as the kernel's are, so that the tree may be mounted elsewhere.
func buildSysfs(t testing.TB, root, text string) host {
	t.Helper()
	h := host{sys: filepath.Join(root, "sys"), udev: filepath.Join(root, "udev"), ids: "/usr/share/misc", dev: "/dev", mdevs: filepath.Join(root, "mdevctl.d"),
		mdevctl: func(context.Context, string, ...string) (string, string, error) { return "[]", "", nil }}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	write := func(path string, b []byte) {
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		must(err)
		_, err = f.Write(b)
		must(err)
		must(f.Close())
	}
	link := func(from, to string) { // both below sys
		from, to = filepath.Join(h.sys, from), filepath.Join(h.sys, to)
		must(os.MkdirAll(filepath.Dir(from), 0o755))
		must(os.MkdirAll(to, 0o755))
		target, err := filepath.Rel(filepath.Dir(from), to)
		must(err)
		if have, err := os.Readlink(from); err == nil && have == target {
			return
		}
		must(os.Symlink(target, from))
	}
	must(os.MkdirAll(h.udev, 0o755))
	must(os.MkdirAll(filepath.Join(h.sys, "devices"), 0o755))
	var dir, id string
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '@':
			f := strings.Fields(line)
			dir = f[1]
			base, kind := filepath.Base(dir), f[2]
			write(filepath.Join(h.sys, dir, "uevent"), nil)
			link(filepath.Join(dir, "subsystem"), kind)
			id = "+" + filepath.Base(kind) + ":" + base
			if strings.HasPrefix(kind, "bus/") {
				link(filepath.Join(kind, "devices", base), dir)
			} else {
				link(filepath.Join(kind, base), dir)
			}
			if len(f) > 3 {
				driver := strings.TrimPrefix(f[3], "driver=")
				link(filepath.Join(dir, "driver"), filepath.Join(kind, "drivers", driver))
				write(filepath.Join(h.sys, dir, "uevent"), []byte("DRIVER="+driver+"\n"))
			}
		case strings.HasPrefix(line, "U "):
			write(filepath.Join(h.sys, dir, "uevent"), []byte(line[2:]+"\n"))
			if n, ok := strings.CutPrefix(line, "U IFINDEX="); ok {
				id = "n" + n
			}
		case strings.HasPrefix(line, "E "), strings.HasPrefix(line, "S "):
			write(filepath.Join(h.udev, id), []byte(line[:1]+":"+line[2:]+"\n"))
		case strings.Contains(line, " -> "):
			from, to, _ := strings.Cut(line, " -> ")
			if rest, ok := strings.CutPrefix(from, "+ "); ok {
				link(rest, to)
			} else {
				link(filepath.Join(dir, from), to)
			}
		case strings.HasPrefix(line, "+ "):
			name, value, _ := strings.Cut(line[2:], "=")
			write(filepath.Join(h.sys, name), []byte(value))
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("not understood: %s", line)
			}
			b := []byte(value + "\n")
			if recipe, ok := strings.CutPrefix(value, "*"); ok {
				b = binaryAttr(t, recipe)
			}
			write(filepath.Join(h.sys, dir, name), b)
			if name == "dev" {
				id = "c" + value
				if strings.Contains(dir, "/block/") || strings.Contains(dir, "/nvme0n1") {
					id = "b" + value
				}
			}
		}
	}
	return h
}

// binaryAttr makes the bytes of a device's configuration space, or of its product data.
//
//	plain, pm                         a plain PCI device; one with power management that can reset it
//	express PORT CAP WIDTH STA WIDTH  a PCI Express one; "root-endpoint": inside the root complex; "nobus": without FLR
//	bridge-express ...                the same with the header of a bridge: its link can 4 GT and so on
func binaryAttr(t testing.TB, recipe string) []byte {
	t.Helper()
	f := strings.Fields(recipe)
	n := func(i int) uint32 {
		if i >= len(f) {
			return 0
		}
		v, _ := strconv.ParseUint(f[i], 10, 32)
		return uint32(v)
	}
	has := func(s string) bool { return strings.Contains(" "+recipe+" ", " "+s+" ") }
	switch f[0] {
	case "plain":
		return make([]byte, 256)
	case "pm":
		c := make([]byte, 256)
		c[0x06], c[0x34] = 0x10, 0x50
		c[0x50] = 1 // power management; no NoSoftRst: the way through D3 resets
		return c
	case "express", "bridge-express":
		c := make([]byte, 4096)
		c[0x06], c[0x34] = 0x10, 0x40
		c[0x40], c[0x41] = 0x05, 0x50 // MSI, then:
		c[0x50] = 0x10
		kind := uint16(0)
		if f[0] == "bridge-express" {
			c[0x0e], kind = 0x81, 4
		}
		if has("root-endpoint") {
			kind = 9
		}
		binary.LittleEndian.PutUint16(c[0x52:], 2|kind<<4)
		if !has("nobus") && f[0] == "express" {
			binary.LittleEndian.PutUint32(c[0x54:], 1<<28) // function level reset
		}
		binary.LittleEndian.PutUint32(c[0x5c:], n(1)<<24|n(3)<<4|n(2))
		binary.LittleEndian.PutUint16(c[0x62:], uint16(n(5)<<4|n(4)))
		return c
	case "vpd":
		return productBytes(has)
	}
	t.Fatalf("no such recipe: %s", recipe)
	return nil
}

// productBytes makes a device's product data, with faults to order: badsum, readonly (no second part), noname, cut (short by
// a few bytes), garbled (text that is none, keywords that are unknown).
func productBytes(has func(string) bool) []byte {
	var out, ro, rw bytes.Buffer
	field := func(b *bytes.Buffer, key, value string) { fmt.Fprintf(b, "%s%c%s", key, len(value), value) }
	head := func(tag byte, size int) { out.Write([]byte{tag, byte(size), byte(size >> 8)}) }
	if !has("noname") {
		head(0x82, 18)
		out.WriteString("Quick Network Card")
	}
	field(&ro, "PN", "J1234-5678")
	field(&ro, "EC", "A-0001")
	if has("garbled") {
		field(&ro, "SN", "a\x01b")
		field(&ro, "ZZ", "unknown")
		field(&ro, "CP", "xx")
		field(&ro, "FG", "group")
		field(&ro, "Y5", "system in the wrong part")
	} else {
		field(&ro, "SN", "1234, =x  ")
	}
	field(&ro, "MN", "1028")
	field(&ro, "V0", "vendor zero")
	field(&ro, "VA", "vendor a")
	head(0x90, ro.Len()+5)
	out.Write(ro.Bytes())
	out.WriteString("RV\x02")
	sum := byte(0)
	for _, b := range out.Bytes() {
		sum += b
	}
	if has("badsum") {
		sum++
	}
	out.Write([]byte{-sum, 0})
	if !has("readonly") {
		field(&rw, "YA", "asset 7")
		field(&rw, "V9", "rw vendor")
		field(&rw, "YB", "system b")
		field(&rw, "RW", "\x00\x00")
		head(0x91, rw.Len())
		out.Write(rw.Bytes())
	}
	out.WriteByte(0x78)
	if has("cut") {
		return out.Bytes()[:out.Len()-6]
	}
	return out.Bytes()
}

// recorded is a tool that says what was recorded, and never fails.
func recorded(answer func(stdin string, args ...string) string) tool {
	return func(_ context.Context, stdin string, args ...string) (string, string, error) {
		return answer(stdin, args...), "", nil
	}
}
