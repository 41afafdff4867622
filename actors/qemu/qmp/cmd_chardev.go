package qmp

import "context"

// Chardev is one line of query-chardev.
type Chardev struct {
	Label        string `json:"label"`
	Filename     string `json:"filename"` // "pty:/dev/pts/3", "unix:...", "null", ...
	FrontendOpen bool   `json:"frontend-open"`
}

// QueryChardev lists the character devices.
func QueryChardev(ctx context.Context, x Executor) ([]Chardev, error) {
	var ret []Chardev
	err := x.Execute(ctx, "query-chardev", nil, &ret)
	return ret, err
}

// ChardevAdd makes a back end ({"type": ..., "data": {...}}) and returns the path of the PTY if it is one.
func ChardevAdd(ctx context.Context, x Executor, id string, backend any) (pty string, err error) {
	var ret struct {
		PTY string `json:"pty"`
	}
	err = x.Execute(ctx, "chardev-add", map[string]any{"id": id, "backend": backend}, &ret)
	return ret.PTY, err
}

// ChardevRemove removes one.
func ChardevRemove(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "chardev-remove", map[string]any{"id": id}, nil)
}

// ChardevChange swaps the back end under a front end.
func ChardevChange(ctx context.Context, x Executor, id string, backend any) (pty string, err error) {
	var ret struct {
		PTY string `json:"pty"`
	}
	err = x.Execute(ctx, "chardev-change", map[string]any{"id": id, "backend": backend}, &ret)
	return ret.PTY, err
}

// ChardevSendBreak sends a serial break.
func ChardevSendBreak(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "chardev-send-break", map[string]any{"id": id}, nil)
}
