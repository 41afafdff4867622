package qmp

import (
	"context"
	"encoding/json"
)

// The commands that a probe of a QEMU binary asks.

// MachineInfo is one line of query-machines.
type MachineInfo struct {
	Name             string `json:"name"`
	Alias            string `json:"alias"`
	IsDefault        bool   `json:"is-default"`
	CPUMax           int    `json:"cpu-max"`
	HotpluggableCPUs bool   `json:"hotpluggable-cpus"`
	NUMAMemSupported bool   `json:"numa-mem-supported"`
	Deprecated       bool   `json:"deprecated"`
	DefaultCPUType   string `json:"default-cpu-type"`
	DefaultRAMID     string `json:"default-ram-id"`
	ACPI             *bool  `json:"acpi"` // since QEMU 8.1
}

// QueryMachines lists the machine types.
func QueryMachines(ctx context.Context, x Executor) ([]MachineInfo, error) {
	var ret []MachineInfo
	err := x.Execute(ctx, "query-machines", nil, &ret)
	return ret, err
}

// QueryKVM asks whether KVM is built in and whether it is in use.
func QueryKVM(ctx context.Context, x Executor) (present, enabled bool, err error) {
	var ret struct {
		Present bool `json:"present"`
		Enabled bool `json:"enabled"`
	}
	err = x.Execute(ctx, "query-kvm", nil, &ret)
	return ret.Present, ret.Enabled, err
}

// QueryTarget is QEMU's name of the architecture.
func QueryTarget(ctx context.Context, x Executor) (string, error) {
	var ret struct {
		Arch string `json:"arch"`
	}
	err := x.Execute(ctx, "query-target", nil, &ret)
	return ret.Arch, err
}

// QueryCommands names the commands.
func QueryCommands(ctx context.Context, x Executor) ([]string, error) {
	var ret []struct {
		Name string `json:"name"`
	}
	if err := x.Execute(ctx, "query-commands", nil, &ret); err != nil {
		return nil, err
	}
	names := make([]string, len(ret))
	for i, c := range ret {
		names[i] = c.Name
	}
	return names, nil
}

// QOMType is one line of qom-list-types.
type QOMType struct {
	Name     string `json:"name"`
	Parent   string `json:"parent"`
	Abstract bool   `json:"abstract"`
}

// QOMListTypes lists the types that implement another; "" lists all.
func QOMListTypes(ctx context.Context, x Executor, implements string, abstract bool) ([]QOMType, error) {
	args := map[string]any{"abstract": abstract}
	if implements != "" {
		args["implements"] = implements
	}
	var ret []QOMType
	err := x.Execute(ctx, "qom-list-types", args, &ret)
	return ret, err
}

// DeviceListProperties lists what -device TYPE accepts.
func DeviceListProperties(ctx context.Context, x Executor, name string) ([]Property, error) {
	var ret []Property
	err := x.Execute(ctx, "device-list-properties", map[string]any{"typename": name}, &ret)
	return ret, err
}

// QOMListProperties lists the properties of any type.
func QOMListProperties(ctx context.Context, x Executor, name string) ([]Property, error) {
	var ret []Property
	err := x.Execute(ctx, "qom-list-properties", map[string]any{"typename": name}, &ret)
	return ret, err
}

// CommandLineOption is a group of query-command-line-options.
type CommandLineOption struct {
	Option     string `json:"option"`
	Parameters []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"parameters"`
}

// QueryCommandLineOptions lists the option groups.
func QueryCommandLineOptions(ctx context.Context, x Executor) ([]CommandLineOption, error) {
	var ret []CommandLineOption
	err := x.Execute(ctx, "query-command-line-options", nil, &ret)
	return ret, err
}

// QueryQMPSchema returns the whole schema as it comes.
func QueryQMPSchema(ctx context.Context, x Executor) (json.RawMessage, error) {
	var ret json.RawMessage
	err := x.Execute(ctx, "query-qmp-schema", nil, &ret)
	return ret, err
}

// QueryTPMModels lists the front ends built in.
func QueryTPMModels(ctx context.Context, x Executor) ([]string, error) {
	var ret []string
	err := x.Execute(ctx, "query-tpm-models", nil, &ret)
	return ret, err
}

// QueryTPMTypes lists the back ends built in.
func QueryTPMTypes(ctx context.Context, x Executor) ([]string, error) {
	var ret []string
	err := x.Execute(ctx, "query-tpm-types", nil, &ret)
	return ret, err
}
