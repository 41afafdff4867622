package qmp

import "context"

// BlockJob is one line of query-block-jobs.
type BlockJob struct {
	Type         string `json:"type"` // "commit", "stream", "mirror", "backup"
	Device       string `json:"device"`
	Len          uint64 `json:"len"`
	Offset       uint64 `json:"offset"`
	Busy         bool   `json:"busy"`
	Paused       bool   `json:"paused"`
	Speed        uint64 `json:"speed"`
	IOStatus     string `json:"io-status"`
	Ready        bool   `json:"ready"`
	Status       string `json:"status"`
	AutoFinalize bool   `json:"auto-finalize"`
	AutoDismiss  bool   `json:"auto-dismiss"`
	Error        string `json:"error"`
}

// QueryBlockJobs lists the running block jobs.
func QueryBlockJobs(ctx context.Context, x Executor) ([]BlockJob, error) {
	var ret []BlockJob
	err := x.Execute(ctx, "query-block-jobs", nil, &ret)
	return ret, err
}

// Job is one line of query-jobs.
type Job struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Status   string `json:"status"` // "created", "running", "ready", "pending", "concluded", ...
	Progress uint64 `json:"current-progress"`
	Total    uint64 `json:"total-progress"`
	Error    string `json:"error"`
}

// QueryJobs lists all jobs, concluded ones too.
func QueryJobs(ctx context.Context, x Executor) ([]Job, error) {
	var ret []Job
	err := x.Execute(ctx, "query-jobs", nil, &ret)
	return ret, err
}

// JobDismiss forgets a concluded job.
func JobDismiss(ctx context.Context, x Executor, id string) error {
	return job(ctx, x, "job-dismiss", id)
}

// JobCancel cancels a job.
func JobCancel(ctx context.Context, x Executor, id string) error {
	return job(ctx, x, "job-cancel", id)
}

// JobComplete finishes a ready job.
func JobComplete(ctx context.Context, x Executor, id string) error {
	return job(ctx, x, "job-complete", id)
}

// JobFinalize lets a pending job make its changes.
func JobFinalize(ctx context.Context, x Executor, id string) error {
	return job(ctx, x, "job-finalize", id)
}

func job(ctx context.Context, x Executor, command, id string) error {
	return x.Execute(ctx, command, map[string]any{"id": id}, nil)
}

// BlockStream pulls a chain into its top; args as in QEMU's reference ("job-id", "device", "base-node", "speed", ...).
func BlockStream(ctx context.Context, x Executor, args any) error {
	return x.Execute(ctx, "block-stream", args, nil)
}

// BlockCommit pushes layers down.
func BlockCommit(ctx context.Context, x Executor, args any) error {
	return x.Execute(ctx, "block-commit", args, nil)
}

// BlockdevMirror copies a disk while it is written.
func BlockdevMirror(ctx context.Context, x Executor, args any) error {
	return x.Execute(ctx, "blockdev-mirror", args, nil)
}

// BlockdevBackup copies a disk as it is now.
func BlockdevBackup(ctx context.Context, x Executor, args any) error {
	return x.Execute(ctx, "blockdev-backup", args, nil)
}

// BlockdevCreate formats an image as a job.
func BlockdevCreate(ctx context.Context, x Executor, jobID string, options any) error {
	return x.Execute(ctx, "blockdev-create", map[string]any{"job-id": jobID, "options": options}, nil)
}

// BlockdevSnapshot puts a node on top of another.
func BlockdevSnapshot(ctx context.Context, x Executor, node, overlay string) error {
	return x.Execute(ctx, "blockdev-snapshot", map[string]any{"node": node, "overlay": overlay}, nil)
}

// BlockJobCancel ends a job; force also drops a ready mirror.
func BlockJobCancel(ctx context.Context, x Executor, device string, force bool) error {
	return x.Execute(ctx, "block-job-cancel", map[string]any{"device": device, "force": force}, nil)
}

// BlockJobSetSpeed limits a job, bytes per second; 0 is no limit.
func BlockJobSetSpeed(ctx context.Context, x Executor, device string, bytesPerSecond uint64) error {
	return x.Execute(ctx, "block-job-set-speed", map[string]any{"device": device, "speed": bytesPerSecond}, nil)
}

// ChangeBackingFile rewrites the name of the backing file in an image's header.
func ChangeBackingFile(ctx context.Context, x Executor, device, node, file string) error {
	args := map[string]any{"device": device, "image-node-name": node, "backing-file": file}
	return x.Execute(ctx, "change-backing-file", args, nil)
}
