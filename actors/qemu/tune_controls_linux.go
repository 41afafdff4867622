package qemu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
)

// The controls of a guest's group, by what they limit.

// number reads a control; a group that is not there yet has the kernel's default.
func number(path string, def int64) int64 {
	text, err := readGroup(path)
	if err != nil {
		return def
	}
	text, _, _ = strings.Cut(text, "\n")
	if i := strings.LastIndexByte(text, ' '); i >= 0 {
		text = text[i+1:] // "default 100"
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return def
	}
	return n
}

func (g *cgroup) shares() (uint64, error) {
	dir, second, ok := g.dir("cpu", "")
	switch {
	case !ok:
		return 0, noController("CPU")
	case second:
		return uint64(number(dir+"/cpu.weight", 100)), nil
	}
	return uint64(number(dir+"/cpu.shares", 1024)), nil
}

func (g *cgroup) setShares(n uint64) error {
	dir, second, ok := g.dir("cpu", "")
	switch {
	case !ok:
		return noController("CPU")
	case second:
		return writeGroup(dir+"/cpu.weight", strconv.FormatUint(n, 10))
	}
	return writeGroup(dir+"/cpu.shares", strconv.FormatUint(n, 10))
}

func (g *cgroup) bandwidth(part string) (uint64, int64, error) {
	dir, second, ok := g.dir("cpu", part)
	switch {
	case !ok:
		return 0, 0, noController("CPU")
	case second:
		text, err := readGroup(dir + "/cpu.max")
		if err != nil {
			return 100000, -1, nil
		}
		quota, period, _ := strings.Cut(text, " ")
		p, _ := strconv.ParseUint(period, 10, 64)
		q, err := strconv.ParseInt(quota, 10, 64)
		if err != nil {
			q = -1
		}
		return p, q, nil
	}
	return uint64(number(dir+"/cpu.cfs_period_us", 100000)), number(dir+"/cpu.cfs_quota_us", -1), nil
}

func (g *cgroup) setBandwidth(part string, period uint64, quota int64) error {
	dir, second, ok := g.dir("cpu", part)
	if !ok {
		return noController("CPU")
	}
	if second {
		p, q, err := g.bandwidth(part)
		if err != nil {
			return err
		}
		if period != 0 {
			p = period
		}
		if quota != 0 {
			q = quota
		}
		limit := "max"
		if q > 0 {
			limit = strconv.FormatInt(q, 10)
		}
		return writeGroup(dir+"/cpu.max", limit+" "+strconv.FormatUint(p, 10))
	}
	if period != 0 {
		if err := writeGroup(dir+"/cpu.cfs_period_us", strconv.FormatUint(period, 10)); err != nil {
			return err
		}
	}
	if quota != 0 {
		return writeGroup(dir+"/cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
	}
	return nil
}

// memoryFiles name the limits in the two versions.
var memoryFiles = map[string][2]string{
	"hard_limit":      {"/memory.limit_in_bytes", "/memory.max"},
	"soft_limit":      {"/memory.soft_limit_in_bytes", "/memory.high"},
	"swap_hard_limit": {"/memory.memsw.limit_in_bytes", "/memory.swap.max"},
}

func (g *cgroup) memory() (memoryLimits, error) {
	dir, second, ok := g.dir("memory", "")
	if !ok {
		return memoryLimits{}, noController("memory")
	}
	kib := func(name string) uint64 {
		file := memoryFiles[name][0]
		if second {
			file = memoryFiles[name][1]
		}
		v := uint64(number(dir+file, -1)) >> 10 // "max" is no number
		if v >= memoryUnlimited-64 {            // the kernel rounds its largest value to pages
			return memoryUnlimited
		}
		return v
	}
	return memoryLimits{kib("hard_limit"), kib("soft_limit"), kib("swap_hard_limit")}, nil
}

func (g *cgroup) setMemory(name string, limit uint64) error {
	dir, second, ok := g.dir("memory", "")
	if !ok {
		return noController("memory")
	}
	file, none := memoryFiles[name][0], "-1"
	if second {
		file, none = memoryFiles[name][1], "max"
	}
	value := strconv.FormatUint(limit<<10, 10)
	if limit >= memoryUnlimited {
		value = none
	}
	return writeGroup(dir+file, value)
}

// weightFile is where the I/O weight is, which depends on the kernel's scheduler.
func (g *cgroup) weightFile() (string, bool) {
	dir, second, ok := g.dir("blkio", "")
	if !ok {
		return "", false
	}
	names := []string{"/blkio.bfq.weight", "/blkio.weight"}
	if second {
		names = []string{"/io.bfq.weight", "/io.weight"}
	}
	for _, n := range names {
		if disk.Exists(dir + n) {
			return dir + n, true
		}
	}
	return dir + names[0], true
}

func (g *cgroup) weight() (uint, error) {
	file, ok := g.weightFile()
	if !ok {
		return 0, noController("blkio")
	}
	return uint(number(file, 100)), nil
}

func (g *cgroup) setWeight(w uint) error {
	file, ok := g.weightFile()
	if !ok {
		return noController("blkio")
	}
	return writeGroup(file, strconv.FormatUint(uint64(w), 10))
}

// deviceFiles name the limits of one block device in the two versions.
var deviceFiles = map[string][2]string{
	"device_weight":          {"/blkio.weight_device", "/io.weight"},
	"device_read_iops_sec":   {"/blkio.throttle.read_iops_device", "riops"},
	"device_write_iops_sec":  {"/blkio.throttle.write_iops_device", "wiops"},
	"device_read_bytes_sec":  {"/blkio.throttle.read_bps_device", "rbps"},
	"device_write_bytes_sec": {"/blkio.throttle.write_bps_device", "wbps"},
}

func (g *cgroup) setDevice(param, path string, value uint64) error {
	dir, second, ok := g.dir("blkio", "")
	if !ok {
		return noController("blkio")
	}
	number, err := deviceNumber(path)
	if err != nil {
		return err
	}
	names, text := deviceFiles[param], strconv.FormatUint(value, 10)
	switch {
	case !second:
		return writeGroup(dir+names[0], number+" "+text)
	case param == "device_weight":
		return writeGroup(dir+names[1], number+" "+text)
	case value == 0:
		text = "max"
	}
	return writeGroup(dir+"/io.max", number+" "+names[1]+"="+text)
}

// deviceNumber is the kernel's number of a block device ("8:0").
func deviceNumber(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", liberr.System(liberr.FromCgroup, err, "Path '%s' is not accessible", path)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", liberr.System(liberr.FromCgroup, unix.EINVAL, "Path '%s' must be a block device", path)
	}
	return strconv.Itoa(int(unix.Major(st.Rdev))) + ":" + strconv.Itoa(int(unix.Minor(st.Rdev))), nil
}

func (g *cgroup) setCPUs(part, cpus string) error { return g.setSet(part, "cpus", cpus) }

// setMems moves the memory of all parts to other nodes.
func (g *cgroup) setMems(nodes string) error {
	if err := g.setSet("", "mems", nodes); err != nil {
		return err
	}
	dir, _, ok := g.dir("cpuset", "")
	if !ok {
		return noController("cpuset")
	}
	parts, _ := os.ReadDir(dir)
	for _, p := range parts {
		if p.IsDir() {
			if err := writeGroup(filepath.Join(dir, p.Name(), "cpuset.mems"), nodes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *cgroup) setSet(part, what, set string) error {
	dir, _, ok := g.dir("cpuset", part)
	if !ok {
		return noController("cpuset")
	}
	return writeGroup(dir+"/cpuset."+what, set)
}
