package qmp

import "context"

// InjectNMI sends a non-maskable interrupt.
func InjectNMI(ctx context.Context, x Executor) error { return x.Execute(ctx, "inject-nmi", nil, nil) }

// SendKey presses keys by QEMU's numbers together for a time; holdMS 0 is QEMU's default of 100.
func SendKey(ctx context.Context, x Executor, codes []int, holdMS uint) error {
	type key struct {
		Type string `json:"type"`
		Data int    `json:"data"`
	}
	keys := make([]key, len(codes))
	for i, c := range codes {
		keys[i] = key{"number", c}
	}
	args := map[string]any{"keys": keys}
	if holdMS > 0 {
		args["hold-time"] = holdMS
	}
	return x.Execute(ctx, "send-key", args, nil)
}
