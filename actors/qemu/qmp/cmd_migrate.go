package qmp

import "context"

// Migrate starts an outgoing migration ("fd:name", "tcp:host:port", "unix:path", "exec:..."); MIGRATION events tell the rest.
func Migrate(ctx context.Context, x Executor, uri string) error {
	return x.Execute(ctx, "migrate", map[string]any{"uri": uri}, nil)
}

// MigrateIncoming makes a QEMU started with "-incoming defer" listen.
func MigrateIncoming(ctx context.Context, x Executor, uri string) error {
	return x.Execute(ctx, "migrate-incoming", map[string]any{"uri": uri}, nil)
}

// MigrateCancel cancels it.
func MigrateCancel(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "migrate_cancel", nil, nil)
}

// MigrateStartPostcopy switches to post-copy.
func MigrateStartPostcopy(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "migrate-start-postcopy", nil, nil)
}

// MigratePause interrupts a post-copy migration so that it can be recovered.
func MigratePause(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "migrate-pause", nil, nil)
}

// MigrateContinue goes on from a state in which QEMU waits ("pre-switchover").
func MigrateContinue(ctx context.Context, x Executor, state string) error {
	return x.Execute(ctx, "migrate-continue", map[string]any{"state": state}, nil)
}

// MigrationRAM counts memory, in bytes and pages.
type MigrationRAM struct {
	Transferred    uint64  `json:"transferred"`
	Remaining      uint64  `json:"remaining"`
	Total          uint64  `json:"total"`
	Duplicate      uint64  `json:"duplicate"`
	Normal         uint64  `json:"normal"`
	NormalBytes    uint64  `json:"normal-bytes"`
	DirtyPagesRate uint64  `json:"dirty-pages-rate"`
	Mbps           float64 `json:"mbps"`
	DirtySyncCount uint64  `json:"dirty-sync-count"`
	PageSize       uint64  `json:"page-size"`
	PostcopyReqs   uint64  `json:"postcopy-requests"`
}

// MigrationInfo is query-migrate.
type MigrationInfo struct {
	Status       string        `json:"status"` // "" before the first
	ErrorDesc    string        `json:"error-desc"`
	TotalMS      uint64        `json:"total-time"`
	SetupMS      uint64        `json:"setup-time"`
	DowntimeMS   uint64        `json:"downtime"`
	ExpectedMS   uint64        `json:"expected-downtime"`
	RAM          *MigrationRAM `json:"ram"`
	CPUThrottle  int           `json:"cpu-throttle-percentage"`
	PostcopyBlok uint64        `json:"postcopy-blocktime"`
	XBZRLE       *struct {
		CacheSize    uint64  `json:"cache-size"`
		Bytes        uint64  `json:"bytes"`
		Pages        uint64  `json:"pages"`
		CacheMiss    uint64  `json:"cache-miss"`
		CacheMissPct float64 `json:"cache-miss-rate"`
		Overflow     uint64  `json:"overflow"`
	} `json:"xbzrle-cache"`
}

// QueryMigrate asks how a migration goes.
func QueryMigrate(ctx context.Context, x Executor) (MigrationInfo, error) {
	var ret MigrationInfo
	err := x.Execute(ctx, "query-migrate", nil, &ret)
	return ret, err
}

// QueryMigrateCapabilities maps the capabilities to whether they are on.
func QueryMigrateCapabilities(ctx context.Context, x Executor) (map[string]bool, error) {
	var ret []struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	if err := x.Execute(ctx, "query-migrate-capabilities", nil, &ret); err != nil {
		return nil, err
	}
	m := make(map[string]bool, len(ret))
	for _, c := range ret {
		m[c.Capability] = c.State
	}
	return m, nil
}

// MigrateSetCapabilities turns capabilities on and off.
func MigrateSetCapabilities(ctx context.Context, x Executor, set map[string]bool) error {
	type state struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	list := []state{}
	for k, v := range set {
		list = append(list, state{k, v})
	}
	return x.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": list}, nil)
}

// QueryMigrateParameters returns the parameters by QEMU's names.
func QueryMigrateParameters(ctx context.Context, x Executor) (map[string]any, error) {
	var ret map[string]any
	err := x.Execute(ctx, "query-migrate-parameters", nil, &ret)
	return ret, err
}

// MigrateSetParameters sets some.
func MigrateSetParameters(ctx context.Context, x Executor, params map[string]any) error {
	return x.Execute(ctx, "migrate-set-parameters", params, nil)
}

// CalcDirtyRate measures for some seconds how fast the guest dirties memory; mode "" is page sampling.
func CalcDirtyRate(ctx context.Context, x Executor, seconds int, mode string) error {
	args := map[string]any{"calc-time": seconds}
	if mode != "" {
		args["mode"] = mode
	}
	return x.Execute(ctx, "calc-dirty-rate", args, nil)
}

// DirtyRate is query-dirty-rate.
type DirtyRate struct {
	Status    string `json:"status"` // "unstarted", "measuring", "measured"
	Rate      *int64 `json:"dirty-rate"`
	StartTime int64  `json:"start-time"`
	CalcTime  int64  `json:"calc-time"`
	Mode      string `json:"mode"`
	VCPUs     []struct {
		ID   int   `json:"id"`
		Rate int64 `json:"dirty-rate"`
	} `json:"vcpu-dirty-rate"`
}

// QueryDirtyRate reads the outcome.
func QueryDirtyRate(ctx context.Context, x Executor) (DirtyRate, error) {
	var ret DirtyRate
	err := x.Execute(ctx, "query-dirty-rate", nil, &ret)
	return ret, err
}
