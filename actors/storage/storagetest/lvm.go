package storagetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"virtree/actors/storage/backend"
)

// lvm stands for LVM with its device-mapper: groups of 64 MiB in extents of 4 MiB.
type lvm struct {
	tools  *Tools
	groups map[string]*lvmGroup
}

type lvmGroup struct {
	devices []string
	volumes []lvmVolume
}

type lvmVolume struct {
	name          string
	extents, from uint64
}

const (
	lvmExtent = 4 << 20
	lvmGroups = 64 << 20
)

// LVM makes a host with LVM. Its output is in the format of LVM 2.03.
func LVM(t *testing.T) (*backend.Host, *Tools) {
	l := &lvm{groups: map[string]*lvmGroup{}}
	host, tools := NewHost(t, nil)
	l.tools = tools
	tools.Programs = map[string]Program{
		"vgscan": l.nothing, "pvcreate": l.nothing, "pvremove": l.nothing, "blkid": func([]string, string) (string, error) { return "", fail(2, "") },
		"vgchange": l.change, "vgcreate": l.create, "vgremove": l.remove, "pvs": l.pvs, "vgs": l.vgs, "lvs": l.lvs, "lvcreate": l.lvcreate, "lvremove": l.lvremove, "lvchange": l.nothing,
	}
	for _, d := range []string{"/dev/sdx", "/dev/sdy"} {
		if err := tools.Device(d, lvmGroups); err != nil {
			t.Fatal(err)
		}
	}
	return host, tools
}

func (*lvm) nothing([]string, string) (string, error) { return "", nil }

func (l *lvm) group(name string) (*lvmGroup, error) {
	if g := l.groups[name]; g != nil {
		return g, nil
	}
	return nil, fail(5, "  Volume group %q not found\n  Cannot process volume group %s\n", name, name)
}

func (l *lvm) change(args []string, _ string) (string, error) {
	_, err := l.group(args[len(args)-1])
	return "", err
}

func (l *lvm) create(args []string, _ string) (string, error) {
	if l.groups[args[0]] != nil {
		return "", fail(5, "  A volume group called %s already exists.\n", args[0])
	}
	l.groups[args[0]] = &lvmGroup{devices: args[1:]}
	return "", nil
}

func (l *lvm) remove(args []string, _ string) (string, error) {
	name := args[len(args)-1]
	_, err := l.group(name)
	delete(l.groups, name)
	return "", err
}

func report(kind string, rows []string) string {
	return "  {\n      \"report\": [\n          {\n              \"" + kind + "\": [\n" + strings.Join(rows, ",\n") + "\n              ]\n          }\n      ]\n  }\n"
}

func (l *lvm) pvs([]string, string) (string, error) {
	rows := []string{`{"pv_name":"/dev/sdfree", "vg_name":""}`}
	for name, g := range l.groups {
		for _, d := range g.devices {
			rows = append(rows, fmt.Sprintf(`{"pv_name":%q, "vg_name":%q}`, d, name))
		}
	}
	return report("pv", rows), nil
}

func (g *lvmGroup) used() (n uint64) {
	for _, v := range g.volumes {
		n = max(n, v.from+v.extents)
	}
	return n
}

func (l *lvm) vgs(args []string, _ string) (string, error) {
	g, err := l.group(args[len(args)-1])
	if err != nil {
		return "", err
	}
	return report("vg", []string{fmt.Sprintf(`{"vg_size":"%d", "vg_free":"%d"}`, lvmGroups, lvmGroups-g.used()*lvmExtent)}), nil
}

func (l *lvm) lvs(args []string, _ string) (string, error) {
	g, err := l.group(args[len(args)-1])
	if err != nil {
		return "", err
	}
	rows := []string{`{"lv_name":"pool0", "origin":"", "lv_uuid":"x", "devices":"pool0_tdata(0)", "segtype":"thin-pool", "stripes":"1", "seg_size":"4194304", "vg_extent_size":"4194304", "lv_size":"4194304", "lv_attr":"twi-a-tz--", "data_percent":"0.00"}`}
	for _, v := range g.volumes {
		size := v.extents * lvmExtent
		rows = append(rows, fmt.Sprintf(`{"lv_name":%q, "origin":"", "lv_uuid":"uuid-of-%s", "devices":"%s(%d)", "segtype":"linear", "stripes":"1", "seg_size":"%d", "vg_extent_size":"%d", "lv_size":"%d", "lv_attr":"-wi-a-----", "data_percent":""}`,
			v.name, v.name, g.devices[0], v.from, size, lvmExtent, size))
	}
	return report("lv", rows), nil
}

func (l *lvm) lvcreate(args []string, _ string) (string, error) {
	values, rest := flagged(args, "--name", "-L", "--type", "--virtualsize")
	g, err := l.group(rest[0])
	if err != nil {
		return "", err
	}
	name := values["--name"]
	for _, v := range g.volumes {
		if v.name == name {
			return "", fail(5, "  Logical Volume %q already exists in volume group %q\n", name, rest[0])
		}
	}
	kib, err := strconv.ParseUint(strings.TrimSuffix(values["-L"], "K"), 10, 64)
	if err != nil {
		return "", err
	}
	v := lvmVolume{name: name, extents: (kib<<10 + lvmExtent - 1) / lvmExtent, from: g.used()}
	if (v.from+v.extents)*lvmExtent > lvmGroups {
		return "", fail(5, "  Volume group %q has insufficient free space\n", rest[0])
	}
	g.volumes = append(g.volumes, v)
	return "", l.tools.Device("/dev/"+rest[0]+"/"+name, int64(v.extents*lvmExtent))
}

func (l *lvm) lvremove(args []string, _ string) (string, error) {
	group, name, _ := strings.Cut(args[len(args)-1], "/")
	g, err := l.group(group)
	if err != nil {
		return "", err
	}
	for i, v := range g.volumes {
		if v.name == name {
			g.volumes = append(g.volumes[:i], g.volumes[i+1:]...)
			return "", l.tools.remove("/dev/" + group + "/" + name)
		}
	}
	return "", fail(5, "  Failed to find logical volume %q\n", group+"/"+name)
}
