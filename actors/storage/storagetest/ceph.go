package storagetest

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"testing"

	"virtree/actors/storage/backend"
)

// Ceph makes a host with the tools of a cluster that has the pool "images". fed gets what was fed to them: keys.
func Ceph(t *testing.T, fed func(tool string, args []string, input string)) (*backend.Host, *Tools) {
	images := map[string]uint64{}
	host, tools := NewHost(t, nil)
	valued := []string{"--mon-host", "--id", "--keyfile", "--auth-supported", "--format", "--size", "--image-format", "--pool", "--client-mount-timeout"}
	ceph := func(args []string, input string) (string, error) {
		fed("ceph", args, input)
		var used uint64
		for _, n := range images {
			used += n
		}
		return `{"stats":{"total_bytes":1073741824,"total_avail_bytes":` + strconv.FormatUint(1<<30-used, 10) + `,"total_used_bytes":0},"stats_by_class":{},
"pools":[{"name":"other","id":1,"stats":{"stored":5}},{"name":"images","id":2,"stats":{"stored":` + strconv.FormatUint(used, 10) + `,"objects":1}}]}`, nil
	}
	rbd := func(args []string, input string) (string, error) {
		fed("rbd", args, input)
		values, rest := flagged(args, valued...)
		name := ""
		if len(rest) > 1 {
			name, _, _ = strings.Cut(strings.TrimPrefix(rest[len(rest)-1], "images/"), "@")
		}
		size, there := images[name]
		asked, _ := strconv.ParseUint(strings.TrimSuffix(values["--size"], "B"), 10, 64)
		switch rest[0] {
		case "ls", "du":
			type image struct {
				Image string `json:"image,omitempty"`
				Name  string `json:"name,omitempty"`
				Size  uint64 `json:"size,omitempty"`
				Used  uint64 `json:"used_size,omitempty"`
			}
			var all []image
			for n, s := range images {
				if rest[0] == "ls" {
					all = append(all, image{Image: n, Size: s})
				} else {
					all = append(all, image{Name: n, Used: s / 2})
				}
			}
			sort.Slice(all, func(i, j int) bool { return all[i].Image+all[i].Name < all[j].Image+all[j].Name })
			var doc any = all
			if rest[0] == "du" {
				doc = map[string]any{"images": all}
			} else if all == nil {
				doc = []image{}
			}
			b, err := json.Marshal(doc)
			return string(b), err
		case "create":
			if there {
				return "", fail(17, "rbd: create error: (17) File exists\n")
			}
			images[name] = asked
		case "rm":
			if !there {
				return "", fail(2, "rbd: delete error: (2) No such file or directory\n")
			}
			delete(images, name)
		case "resize":
			if asked < size && values["--allow-shrink"] == "" {
				return "", fail(22, "rbd: shrinking an image is only allowed with the --allow-shrink flag\n")
			}
			images[name] = asked
		case "clone":
			source, _, _ := strings.Cut(strings.TrimPrefix(rest[1], "images/"), "@")
			images[name] = images[source]
		case "snap":
			if !there {
				return "", fail(2, "rbd: error opening image %s: (2) No such file or directory\n", name)
			}
		default:
			return "", fail(1, "rbd: unrecognised command %s\n", rest[0])
		}
		return "", nil
	}
	tools.Programs = map[string]Program{"rbd": rbd, "ceph": ceph}
	return host, tools
}
