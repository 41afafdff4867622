package qmp

import "context"

// DumpStatus is query-dump.
type DumpStatus struct {
	Status    string `json:"status"` // "none", "active", "completed", "failed"
	Completed uint64 `json:"completed"`
	Total     uint64 `json:"total"`
}

// QueryDump asks how a memory dump goes.
func QueryDump(ctx context.Context, x Executor) (DumpStatus, error) {
	var ret DumpStatus
	err := x.Execute(ctx, "query-dump", nil, &ret)
	return ret, err
}

// DumpGuestMemory writes the guest's memory to "fd:NAME" or "file:PATH"; format "" is ELF. With detach it goes on in the
// background and ends with DUMP_COMPLETED.
func DumpGuestMemory(ctx context.Context, x Executor, protocol, format string, detach bool) error {
	args := map[string]any{"paging": false, "protocol": protocol, "detach": detach}
	if format != "" {
		args["format"] = format
	}
	return x.Execute(ctx, "dump-guest-memory", args, nil)
}

// QueryDumpGuestMemoryCapability lists the formats this QEMU can write.
func QueryDumpGuestMemoryCapability(ctx context.Context, x Executor) ([]string, error) {
	var ret struct {
		Formats []string `json:"formats"`
	}
	err := x.Execute(ctx, "query-dump-guest-memory-capability", nil, &ret)
	return ret.Formats, err
}
