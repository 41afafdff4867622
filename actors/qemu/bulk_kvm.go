package qemu

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
)

// Figures that KVM keeps of a guest, which QEMU passes on with query-stats and describes with
// query-stats-schemas.

// kvmStat is one figure; histograms are lists and are not shown.
type kvmStat struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// kvmStats is the answer about the guest, or about one virtual CPU.
type kvmStats struct {
	Provider string    `json:"provider"`
	QOMPath  string    `json:"qom-path"`
	Stats    []kvmStat `json:"stats"`
}

func queryKVMStats(ctx context.Context, mon *qmp.Client, target string, names ...string) ([]kvmStats, error) {
	provider := map[string]any{"provider": "kvm"}
	if len(names) > 0 {
		provider["names"] = names
	}
	var out []kvmStats
	return out, queryStats(ctx, mon, map[string]any{"target": target, "providers": []any{provider}}, &out)
}

// kvmKinds tells for each figure of a target how to read it: "cumulative", "instant", "peak", ...
func kvmKinds(ctx context.Context, mon *qmp.Client, target string) map[string]string {
	var schemas []struct {
		Target string `json:"target"`
		Stats  []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"stats"`
	}
	kinds := map[string]string{}
	if mon.Execute(ctx, "query-stats-schemas", map[string]any{"provider": "kvm"}, &schemas) != nil {
		return kinds
	}
	for _, s := range schemas {
		if s.Target == target {
			for _, f := range s.Stats {
				kinds[f.Name] = f.Type
			}
		}
	}
	return kinds
}

// kvmSuffixes are the endings of the names in a record.
var kvmSuffixes = map[string]string{"cumulative": ".sum", "instant": ".cur", "peak": ".max"}

func kvmParams(stats []kvmStat, kinds map[string]string) []protocol.TypedParam {
	var out []protocol.TypedParam
	for _, s := range stats {
		suffix := kvmSuffixes[kinds[s.Name]]
		if suffix == "" {
			continue
		}
		name := s.Name + suffix
		switch v := string(s.Value); v {
		case "true", "false":
			out = append(out, paramBool(name, v == "true"))
		default:
			if n, err := strconv.ParseUint(v, 10, 64); err == nil {
				out = append(out, paramULLong(name, n))
			}
		}
	}
	return out
}

// vcpuFigures are the figures of each virtual CPU, in QEMU's order of them.
func vcpuFigures(ctx context.Context, mon *qmp.Client) map[int][]protocol.TypedParam {
	list, err := queryKVMStats(ctx, mon, "vcpu")
	if err != nil || len(list) == 0 {
		return nil
	}
	kinds := kvmKinds(ctx, mon, "vcpu")
	out := map[int][]protocol.TypedParam{}
	for i, s := range list {
		out[i] = kvmParams(s.Stats, kinds)
	}
	return out
}

// vm adds the figures of the guest as a whole.
func (c *collector) vm(ctx context.Context) {
	if c.mon == nil || !c.kvm {
		return
	}
	list, err := queryKVMStats(ctx, c.mon, "vm")
	if err != nil || len(list) == 0 {
		return
	}
	for _, p := range kvmParams(list[0].Stats, kvmKinds(ctx, c.mon, "vm")) {
		p.Field = "vm." + p.Field
		c.add(p)
	}
}

// haltPolling adds up how long the virtual CPUs polled before they halted, and did so in vain.
func haltPolling(ctx context.Context, mon *qmp.Client) (success, fail uint64) {
	list, err := queryKVMStats(ctx, mon, "vcpu", "halt_poll_success_ns", "halt_poll_fail_ns")
	if err != nil {
		return 0, 0
	}
	for _, s := range list {
		for _, f := range s.Stats {
			n, _ := strconv.ParseUint(string(f.Value), 10, 64)
			if strings.Contains(f.Name, "success") {
				success += n
			} else {
				fail += n
			}
		}
	}
	return success, fail
}
