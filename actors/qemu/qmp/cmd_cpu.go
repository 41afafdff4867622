package qmp

import "context"

// CPU is one line of query-cpus-fast.
type CPU struct {
	Index    int            `json:"cpu-index"`
	ThreadID int            `json:"thread-id"`
	QOMPath  string         `json:"qom-path"`
	Target   string         `json:"target"`
	Props    map[string]any `json:"props"` // socket-id, core-id, thread-id, node-id, ...
}

// QueryCPUsFast lists the virtual CPUs with their threads, without stopping them.
func QueryCPUsFast(ctx context.Context, x Executor) ([]CPU, error) {
	var ret []CPU
	err := x.Execute(ctx, "query-cpus-fast", nil, &ret)
	return ret, err
}

// HotpluggableCPU is one line of query-hotpluggable-cpus: plugged when QOMPath is set.
type HotpluggableCPU struct {
	Type       string         `json:"type"`
	VCPUsCount int            `json:"vcpus-count"`
	QOMPath    string         `json:"qom-path"`
	Props      map[string]any `json:"props"`
}

// QueryHotpluggableCPUs lists the places for virtual CPUs.
func QueryHotpluggableCPUs(ctx context.Context, x Executor) ([]HotpluggableCPU, error) {
	var ret []HotpluggableCPU
	err := x.Execute(ctx, "query-hotpluggable-cpus", nil, &ret)
	return ret, err
}

// IOThread is one line of query-iothreads.
type IOThread struct {
	ID          string `json:"id"`
	ThreadID    int    `json:"thread-id"`
	PollMaxNS   uint64 `json:"poll-max-ns"`
	PollGrow    uint64 `json:"poll-grow"`
	PollShrink  uint64 `json:"poll-shrink"`
	AIOMaxBatch uint64 `json:"aio-max-batch"`
}

// QueryIOThreads lists the threads that serve disks.
func QueryIOThreads(ctx context.Context, x Executor) ([]IOThread, error) {
	var ret []IOThread
	err := x.Execute(ctx, "query-iothreads", nil, &ret)
	return ret, err
}

// CPUDefinition is one line of query-cpu-definitions.
type CPUDefinition struct {
	Name        string    `json:"name"`
	Type        string    `json:"typename"`
	Static      bool      `json:"static"`
	Unavailable *[]string `json:"unavailable-features"` // nil: QEMU does not say; empty: usable
	Deprecated  bool      `json:"deprecated"`
	AliasOf     string    `json:"alias-of"`
}

// QueryCPUDefinitions lists the CPU models.
func QueryCPUDefinitions(ctx context.Context, x Executor) ([]CPUDefinition, error) {
	var ret []CPUDefinition
	err := x.Execute(ctx, "query-cpu-definitions", nil, &ret)
	return ret, err
}

// CPUModelInfo is a model with properties laid over it.
type CPUModelInfo struct {
	Name  string         `json:"name"`
	Props map[string]any `json:"props,omitempty"`
}

// QueryCPUModelExpansion spells a model out: "static" down to a base model, "full" with everything it has.
func QueryCPUModelExpansion(ctx context.Context, x Executor, kind string, model CPUModelInfo) (CPUModelInfo, error) {
	var ret struct {
		Model CPUModelInfo `json:"model"`
	}
	err := x.Execute(ctx, "query-cpu-model-expansion", map[string]any{"type": kind, "model": model}, &ret)
	return ret.Model, err
}
