package qmp

import "context"

// QueryBalloon is the guest's present memory in bytes.
func QueryBalloon(ctx context.Context, x Executor) (bytes uint64, err error) {
	var ret struct {
		Actual uint64 `json:"actual"`
	}
	err = x.Execute(ctx, "query-balloon", nil, &ret)
	return ret.Actual, err
}

// Balloon asks the guest to shrink or grow to a number of bytes.
func Balloon(ctx context.Context, x Executor, bytes uint64) error {
	return x.Execute(ctx, "balloon", map[string]any{"value": bytes}, nil)
}

// BalloonStats is the "guest-stats" property of the balloon device. A statistic the guest does not give is all ones.
type BalloonStats struct {
	LastUpdate int64             `json:"last-update"` // seconds, 0 before the first
	Stats      map[string]uint64 `json:"stats"`       // "stat-free-memory" -> bytes
}

// QueryBalloonStats reads the statistics of the balloon at a QOM path.
func QueryBalloonStats(ctx context.Context, x Executor, path string) (BalloonStats, error) {
	var s BalloonStats
	err := QOMGet(ctx, x, path, "guest-stats", &s)
	return s, err
}

// SetBalloonPeriod makes the balloon collect statistics every so many seconds; 0 ends it.
func SetBalloonPeriod(ctx context.Context, x Executor, path string, seconds int) error {
	return QOMSet(ctx, x, path, "guest-stats-polling-interval", seconds)
}

// MemoryDevice is one line of query-memory-devices.
type MemoryDevice struct {
	Type string `json:"type"` // "dimm", "nvdimm", "virtio-mem", "virtio-pmem", "sgx-epc"
	Data struct {
		ID            string `json:"id"`
		Addr          uint64 `json:"addr"`
		MemAddr       uint64 `json:"memaddr"`
		Slot          int    `json:"slot"`
		Node          int    `json:"node"`
		Size          uint64 `json:"size"`
		RequestedSize uint64 `json:"requested-size"`
		Hotplugged    bool   `json:"hotplugged"`
		Hotpluggable  bool   `json:"hotpluggable"`
		MemDev        string `json:"memdev"`
	} `json:"data"`
}

// QueryMemoryDevices lists plugged memory.
func QueryMemoryDevices(ctx context.Context, x Executor) ([]MemoryDevice, error) {
	var ret []MemoryDevice
	err := x.Execute(ctx, "query-memory-devices", nil, &ret)
	return ret, err
}

// MemorySizeSummary is query-memory-size-summary, in bytes.
type MemorySizeSummary struct {
	Base    uint64 `json:"base-memory"`
	Plugged uint64 `json:"plugged-memory"`
}

// QueryMemorySizeSummary asks how much memory the guest has at most.
func QueryMemorySizeSummary(ctx context.Context, x Executor) (MemorySizeSummary, error) {
	var ret MemorySizeSummary
	err := x.Execute(ctx, "query-memory-size-summary", nil, &ret)
	return ret, err
}
