package node

import (
	"os"
	"strconv"

	"virtree/wire/liberr"
)

// MemoryParam is a setting or a count of the kernel's merging of equal pages.
type MemoryParam struct {
	Name  string
	Value uint64
	Wide  bool // unsigned 64 bit on the wire, else 32
}

const ksmDir = "/sys/kernel/mm/ksm/"

// ksmParams are in libvirt's order; the writable ones may be set.
var ksmParams = []struct {
	name, file     string
	wide, writable bool
}{
	{"shm_pages_to_scan", "pages_to_scan", false, true},
	{"shm_sleep_millisecs", "sleep_millisecs", false, true},
	{"shm_pages_shared", "pages_shared", true, false},
	{"shm_pages_sharing", "pages_sharing", true, false},
	{"shm_pages_unshared", "pages_unshared", true, false},
	{"shm_pages_volatile", "pages_volatile", true, false},
	{"shm_full_scans", "full_scans", true, false},
	{"shm_merge_across_nodes", "merge_across_nodes", false, true},
}

// MemoryParams is virNodeGetMemoryParameters. What the kernel does not have is left out.
func (n Node) MemoryParams() []MemoryParam {
	var list []MemoryParam
	for _, p := range ksmParams {
		if v, err := strconv.ParseUint(n.text(ksmDir+p.file), 10, 64); err == nil {
			list = append(list, MemoryParam{p.name, v, p.wide})
		}
	}
	return list
}

// SetMemoryParams is virNodeSetMemoryParameters: nothing is written when one of the names cannot be set.
func (n Node) SetMemoryParams(params []MemoryParam) error {
	files := make([]string, len(params))
	for i, param := range params {
		for _, p := range ksmParams {
			if p.writable && p.name == param.Name {
				files[i] = p.file
			}
		}
		if files[i] == "" {
			return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "parameter '%s' not supported", param.Name)
		}
	}
	for i, file := range files {
		if !n.exists(ksmDir + file) {
			return liberr.New(liberr.FromNone, liberr.OperationInvalid, "Parameter '%s' is not supported by this kernel", file)
		}
		if err := os.WriteFile(n.path(ksmDir+file), []byte(strconv.FormatUint(params[i].Value, 10)), 0); err != nil {
			return liberr.System(liberr.FromNone, err, "failed to set %s", file)
		}
	}
	return nil
}
