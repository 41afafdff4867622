package storagetest

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"

	"virtree/actors/storage/backend"
)

// ZFS makes a host with ZFS: pools of 64 MiB.
func ZFS(t *testing.T) (*backend.Host, *Tools) {
	pools := map[string]map[string]uint64{} // volumes of pools, with their sizes
	host, tools := NewHost(t, nil)
	missing := func(name string) error { return fail(1, "cannot open '%s': no such pool\n", name) }
	const size = 64 << 20
	zpool := func(args []string, _ string) (string, error) {
		switch args[0] {
		case "create":
			pools[args[1]] = map[string]uint64{}
			return "", nil
		case "destroy":
			if pools[args[1]] == nil {
				return "", missing(args[1])
			}
			delete(pools, args[1])
			return "", nil
		}
		name := args[len(args)-1]
		if pools[name] == nil {
			return "", missing(name)
		}
		var used uint64
		for _, n := range pools[name] {
			used += n
		}
		return fmt.Sprintf("%[1]s\thealth\tONLINE\t-\n%[1]s\tsize\t%[2]d\t-\n%[1]s\tfree\t%[3]d\t-\n%[1]s\tallocated\t%[4]d\t-\n", name, size, size-used, used), nil
	}
	zfs := func(args []string, _ string) (string, error) {
		last := args[len(args)-1]
		pool, name, _ := strings.Cut(last, "/")
		volumes := pools[pool]
		if volumes == nil {
			return "", missing(pool)
		}
		switch args[0] {
		case "list":
			var lines []string
			for n, s := range volumes {
				lines = append(lines, fmt.Sprintf("%s/%s\t%d\t%d\n", pool, n, s, s))
			}
			sort.Strings(lines)
			return strings.Join(lines, "") + pool + "/child/other\t4096\tnone\n", nil
		case "create":
			values, _ := flagged(args[1:], "-V", "-o")
			kib, err := strconv.ParseUint(strings.TrimSuffix(values["-V"], "K"), 10, 64)
			if err != nil {
				return "", err
			}
			if _, there := volumes[name]; there {
				return "", fail(1, "cannot create '%s': dataset already exists\n", last)
			}
			volumes[name] = kib << 10
			return "", tools.Device("/dev/zvol/"+last, int64(kib<<10))
		case "destroy":
			if _, there := volumes[name]; !there {
				return "", fail(1, "cannot open '%s': dataset does not exist\n", last)
			}
			delete(volumes, name)
			return "", tools.remove("/dev/zvol/" + last)
		}
		return "", fail(2, "unrecognized command '%s'\n", args[0])
	}
	tools.Programs = map[string]Program{"zpool": zpool, "zfs": zfs}
	return host, tools
}
