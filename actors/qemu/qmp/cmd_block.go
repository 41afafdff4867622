package qmp

import (
	"context"
	"encoding/json"
)

// BlockIOStats are the counters of one device or node.
type BlockIOStats struct {
	RdBytes      uint64 `json:"rd_bytes"`
	WrBytes      uint64 `json:"wr_bytes"`
	RdOps        uint64 `json:"rd_operations"`
	WrOps        uint64 `json:"wr_operations"`
	FlushOps     uint64 `json:"flush_operations"`
	RdTotalNS    uint64 `json:"rd_total_time_ns"`
	WrTotalNS    uint64 `json:"wr_total_time_ns"`
	FlushTotalNS uint64 `json:"flush_total_time_ns"`
	FailedRdOps  uint64 `json:"failed_rd_operations"`
	FailedWrOps  uint64 `json:"failed_wr_operations"`
	WrHighest    uint64 `json:"wr_highest_offset"`
}

// BlockStats is one line of query-blockstats, with what lies under it.
type BlockStats struct {
	Device   string       `json:"device"`
	Qdev     string       `json:"qdev"`
	NodeName string       `json:"node-name"`
	Stats    BlockIOStats `json:"stats"`
	Parent   *BlockStats  `json:"parent"`
	Backing  *BlockStats  `json:"backing"`
}

// QueryBlockStats reads the counters, by device or (nodes) by node.
func QueryBlockStats(ctx context.Context, x Executor, nodes bool) ([]BlockStats, error) {
	var args any
	if nodes {
		args = map[string]any{"query-nodes": true}
	}
	var ret []BlockStats
	err := x.Execute(ctx, "query-blockstats", args, &ret)
	return ret, err
}

// ImageInfo describes an image file as far as it is needed here.
type ImageInfo struct {
	Filename    string     `json:"filename"`
	Format      string     `json:"format"`
	VirtualSize uint64     `json:"virtual-size"`
	ActualSize  uint64     `json:"actual-size"`
	ClusterSize uint64     `json:"cluster-size"`
	DirtyFlag   bool       `json:"dirty-flag"`
	Backing     *ImageInfo `json:"backing-image"`
}

// DirtyBitmap is one bitmap of a node.
type DirtyBitmap struct {
	Name         string `json:"name"`
	Count        uint64 `json:"count"`
	Granularity  uint64 `json:"granularity"`
	Recording    bool   `json:"recording"`
	Busy         bool   `json:"busy"`
	Persistent   bool   `json:"persistent"`
	Inconsistent bool   `json:"inconsistent"`
}

// BlockNode is a node of the block graph.
type BlockNode struct {
	NodeName         string        `json:"node-name"`
	Driver           string        `json:"drv"`
	File             string        `json:"file"`
	ReadOnly         bool          `json:"ro"`
	Encrypted        bool          `json:"encrypted"`
	BackingFile      string        `json:"backing_file"`
	BackingFileDepth int           `json:"backing_file_depth"`
	WriteThreshold   uint64        `json:"write_threshold"`
	Image            ImageInfo     `json:"image"`
	DirtyBitmaps     []DirtyBitmap `json:"dirty-bitmaps"`
	Cache            struct {
		Writeback bool `json:"writeback"`
		Direct    bool `json:"direct"`
		NoFlush   bool `json:"no-flush"`
	} `json:"cache"`
	IOLimits
}

// IOLimits are the throttling values of a device.
type IOLimits struct {
	BPS           uint64 `json:"bps"`
	BPSRd         uint64 `json:"bps_rd"`
	BPSWr         uint64 `json:"bps_wr"`
	IOPS          uint64 `json:"iops"`
	IOPSRd        uint64 `json:"iops_rd"`
	IOPSWr        uint64 `json:"iops_wr"`
	BPSMax        uint64 `json:"bps_max,omitempty"`
	BPSRdMax      uint64 `json:"bps_rd_max,omitempty"`
	BPSWrMax      uint64 `json:"bps_wr_max,omitempty"`
	IOPSMax       uint64 `json:"iops_max,omitempty"`
	IOPSRdMax     uint64 `json:"iops_rd_max,omitempty"`
	IOPSWrMax     uint64 `json:"iops_wr_max,omitempty"`
	BPSMaxLen     uint64 `json:"bps_max_length,omitempty"`
	BPSRdMaxLen   uint64 `json:"bps_rd_max_length,omitempty"`
	BPSWrMaxLen   uint64 `json:"bps_wr_max_length,omitempty"`
	IOPSMaxLen    uint64 `json:"iops_max_length,omitempty"`
	IOPSRdMaxLen  uint64 `json:"iops_rd_max_length,omitempty"`
	IOPSWrMaxLen  uint64 `json:"iops_wr_max_length,omitempty"`
	IOPSSize      uint64 `json:"iops_size,omitempty"`
	ThrottleGroup string `json:"group,omitempty"`
}

// QueryNamedBlockNodes lists the nodes, flat: without the chain repeated in each.
func QueryNamedBlockNodes(ctx context.Context, x Executor) ([]BlockNode, error) {
	var ret []BlockNode
	err := x.Execute(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &ret)
	return ret, err
}

// BlockDevice is one line of query-block.
type BlockDevice struct {
	Device    string     `json:"device"`
	Qdev      string     `json:"qdev"`
	Type      string     `json:"type"`
	Removable bool       `json:"removable"`
	Locked    bool       `json:"locked"`
	TrayOpen  bool       `json:"tray_open"`
	IOStatus  string     `json:"io-status"` // "ok", "failed", "nospace"
	Inserted  *BlockNode `json:"inserted"`
}

// QueryBlock lists the block devices of the guest.
func QueryBlock(ctx context.Context, x Executor) ([]BlockDevice, error) {
	var ret []BlockDevice
	err := x.Execute(ctx, "query-block", nil, &ret)
	return ret, err
}

// BlockdevAdd opens a node; props has "driver", "node-name" and the rest.
func BlockdevAdd(ctx context.Context, x Executor, props any) error {
	return x.Execute(ctx, "blockdev-add", props, nil)
}

// BlockdevDel closes a node.
func BlockdevDel(ctx context.Context, x Executor, node string) error {
	return x.Execute(ctx, "blockdev-del", map[string]any{"node-name": node}, nil)
}

// BlockdevReopen changes nodes in place.
func BlockdevReopen(ctx context.Context, x Executor, nodes ...any) error {
	return x.Execute(ctx, "blockdev-reopen", map[string]any{"options": nodes}, nil)
}

// BlockdevOpenTray opens the drive of a device; force ignores a guest that locked it.
func BlockdevOpenTray(ctx context.Context, x Executor, id string, force bool) error {
	return x.Execute(ctx, "blockdev-open-tray", map[string]any{"id": id, "force": force}, nil)
}

// BlockdevCloseTray closes it.
func BlockdevCloseTray(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "blockdev-close-tray", map[string]any{"id": id}, nil)
}

// BlockdevRemoveMedium takes the medium out of an open drive.
func BlockdevRemoveMedium(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "blockdev-remove-medium", map[string]any{"id": id}, nil)
}

// BlockdevInsertMedium puts a node into an empty open drive.
func BlockdevInsertMedium(ctx context.Context, x Executor, id, node string) error {
	return x.Execute(ctx, "blockdev-insert-medium", map[string]any{"id": id, "node-name": node}, nil)
}

// BlockdevChangeMedium opens a file by name and puts it in; libvirt itself uses the three steps above.
func BlockdevChangeMedium(ctx context.Context, x Executor, id, filename, format, readOnly string) error {
	args := map[string]any{"id": id, "filename": filename}
	if format != "" {
		args["format"] = format
	}
	if readOnly != "" {
		args["read-only-mode"] = readOnly
	}
	return x.Execute(ctx, "blockdev-change-medium", args, nil)
}

// Eject removes the medium of a device.
func Eject(ctx context.Context, x Executor, id string, force bool) error {
	return x.Execute(ctx, "eject", map[string]any{"id": id, "force": force}, nil)
}

// BlockResize changes the size the guest sees.
func BlockResize(ctx context.Context, x Executor, node string, bytes uint64) error {
	return x.Execute(ctx, "block_resize", map[string]any{"node-name": node, "size": bytes}, nil)
}

// BlockSetIOThrottle limits a device.
func BlockSetIOThrottle(ctx context.Context, x Executor, id string, l IOLimits) error {
	args := struct {
		ID string `json:"id"`
		IOLimits
	}{id, l}
	return x.Execute(ctx, "block_set_io_throttle", args, nil)
}

// BlockSetWriteThreshold asks for an event when a node is written beyond an offset.
func BlockSetWriteThreshold(ctx context.Context, x Executor, node string, bytes uint64) error {
	return x.Execute(ctx, "block-set-write-threshold", map[string]any{"node-name": node, "write-threshold": bytes}, nil)
}

// Transaction runs several block actions, all or none.
func Transaction(ctx context.Context, x Executor, actions ...TransactionAction) error {
	return x.Execute(ctx, "transaction", map[string]any{"actions": actions}, nil)
}

// TransactionAction is one step: a type ("blockdev-snapshot") and its arguments.
type TransactionAction struct {
	Type string `json:"type"`
	Data any    `json:"data"`
}

// DirtyBitmapAdd makes a bitmap; granularity 0 is QEMU's choice.
func DirtyBitmapAdd(ctx context.Context, x Executor, node, name string, persistent, disabled bool, granularity uint64) error {
	args := map[string]any{"node": node, "name": name, "persistent": persistent, "disabled": disabled}
	if granularity > 0 {
		args["granularity"] = granularity
	}
	return x.Execute(ctx, "block-dirty-bitmap-add", args, nil)
}

// DirtyBitmapRemove deletes one.
func DirtyBitmapRemove(ctx context.Context, x Executor, node, name string) error {
	return x.Execute(ctx, "block-dirty-bitmap-remove", map[string]any{"node": node, "name": name}, nil)
}

// NBDServerStart listens at a socket address ({"type": "unix", "data": {...}}).
func NBDServerStart(ctx context.Context, x Executor, addr any, tlsCreds string) error {
	args := map[string]any{"addr": addr}
	if tlsCreds != "" {
		args["tls-creds"] = tlsCreds
	}
	return x.Execute(ctx, "nbd-server-start", args, nil)
}

// NBDServerStop closes it.
func NBDServerStop(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "nbd-server-stop", nil, nil)
}

// BlockExportAdd exports a node.
func BlockExportAdd(ctx context.Context, x Executor, props any) error {
	return x.Execute(ctx, "block-export-add", props, nil)
}

// BlockExportDel ends an export.
func BlockExportDel(ctx context.Context, x Executor, id string, hard bool) error {
	mode := "safe"
	if hard {
		mode = "hard"
	}
	return x.Execute(ctx, "block-export-del", map[string]any{"id": id, "mode": mode}, nil)
}

// QueryBlockGraph returns x-debug-query-block-graph as it comes, for diagnosis only.
func QueryBlockGraph(ctx context.Context, x Executor) (json.RawMessage, error) {
	var ret json.RawMessage
	err := x.Execute(ctx, "x-debug-query-block-graph", nil, &ret)
	return ret, err
}
