package nodedev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
)

// tool runs mdevctl, which keeps the definitions of mediated devices and makes the devices. complaint is what it wrote to
// its standard error when it failed. Tests may have one that is recorded.
type tool func(ctx context.Context, stdin string, args ...string) (out, complaint string, err error)

func mdevctl(ctx context.Context, stdin string, args ...string) (string, string, error) {
	cmd := exec.CommandContext(ctx, "mdevctl", args...)
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaint
	err := cmd.Run()
	return out.String(), complaint.String(), err
}

// failed words the failure of the tool as libvirt does: what was tried, and the tool's own complaint with its line ends.
func failed(err error, complaint, format string, args ...any) error {
	if errors.Is(err, exec.ErrNotFound) {
		return liberr.New(from, liberr.InternalError, "Cannot find '%s' in path: No such file or directory", "mdevctl").WithCause(err)
	}
	if complaint == "" {
		complaint = "Unknown error"
	}
	return liberr.New(from, liberr.InternalError, format+": %s", append(args, complaint)...).WithCause(err)
}

// document is a definition as mdevctl reads and writes it.
type mdevDocument struct {
	Type  string              `json:"mdev_type"`
	Start string              `json:"start"`
	Attrs []map[string]string `json:"attrs,omitempty"`
}

func (m *mdevDef) json() string {
	doc := mdevDocument{Type: m.typ, Start: "manual"}
	for _, a := range m.attrs {
		doc.Attrs = append(doc.Attrs, map[string]string{a.name: a.value})
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // strings only
	}
	return string(b)
}

// parseMdevs reads the list of all definitions: an array of objects that name parents, whose devices are arrays of objects
// that name devices.
func parseMdevs(out string) (map[string]*mdevDef, error) {
	defs := map[string]*mdevDef{}
	if strings.TrimSpace(out) == "" {
		return defs, nil
	}
	var list []map[string][]map[string]mdevDocument
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "mdevctl JSON response is not understood: %v", err)
	}
	for _, parents := range list {
		for parent, devices := range parents {
			for _, device := range devices {
				for id, doc := range device {
					m := &mdevDef{uuid: id, typ: doc.Type, parent: parent, auto: doc.Start == "auto"}
					for _, attr := range doc.Attrs {
						keys := make([]string, 0, 1)
						for k := range attr {
							keys = append(keys, k)
						}
						slices.Sort(keys)
						for _, k := range keys {
							m.attrs = append(m.attrs, mdevAttr{k, attr[k]})
						}
					}
					defs[m.name()] = m
				}
			}
		}
	}
	return defs, nil
}

// mdevTask is one use of the tool. Uses follow one another, so that a list is never older than a change before it.
type mdevTask struct {
	name string
	run  func(ctx context.Context) (any, error)
	then func(ctx actor.Context, out any, err error)
}

// toolPatience is how long the tool may take. It writes files, and to sysfs.
const toolPatience = time.Minute

func (d *driver) enqueue(ctx actor.Context, t mdevTask) {
	d.tasks = append(d.tasks, t)
	if len(d.tasks) == 1 {
		d.nextTask(ctx)
	}
}

func (d *driver) nextTask(ctx actor.Context) {
	t := d.tasks[0]
	job := kit.Job[any]{Name: t.name, Timeout: toolPatience, Run: func(jc context.Context, _ *kit.Undo) (any, error) { return t.run(jc) }}
	d.desk.Do(ctx, job, func(ctx actor.Context, out any, err error) {
		t.then(ctx, out, err)
		d.tasks = d.tasks[1:]
		if len(d.tasks) > 0 {
			d.nextTask(ctx)
		}
	})
}

// listMdevs reads all definitions anew, unless a list is already waiting for its turn.
func (d *driver) listMdevs(ctx actor.Context) {
	if slices.ContainsFunc(d.tasks[min(1, len(d.tasks)):], func(t mdevTask) bool { return t.name == listTask }) {
		return
	}
	h := d.host
	d.enqueue(ctx, mdevTask{listTask,
		func(jc context.Context) (any, error) {
			out, complaint, err := h.mdevctl(jc, "", "list", "--dumpjson", "--defined")
			if errors.Is(err, exec.ErrNotFound) {
				return map[string]*mdevDef{}, nil
			}
			if err != nil {
				return nil, failed(err, complaint, "failed to query mdevs from mdevctl")
			}
			return parseMdevs(out)
		},
		func(ctx actor.Context, out any, err error) {
			defs, ok := out.(map[string]*mdevDef)
			if err != nil || !ok {
				d.env.Log.Error().Err(err).Msg("cannot list mediated devices")
				defs = d.defs // what was known stands
			}
			d.defsKnown = true
			d.redefine(ctx, defs)
			d.ready(ctx)
		}})
}

const listTask = "list mediated devices"

// redefine takes new definitions and tells what differs.
func (d *driver) redefine(ctx actor.Context, defs map[string]*mdevDef) {
	before := d.defs
	d.defs = defs
	if d.byName == nil {
		return // the first scan is not over
	}
	d.index()
	if before == nil {
		before = map[string]*mdevDef{}
	}
	for n := range before {
		if defs[n] == nil {
			d.lifecycle(ctx, n, eventUndefined)
		}
	}
	for n, def := range defs {
		switch {
		case before[n] == nil:
			d.lifecycle(ctx, n, eventDefined)
		case !before[n].equal(def):
			d.updated(ctx, n)
		}
	}
}

// with is a copy of the definitions with one added or, when def is nil, removed: what an actor has sent is not changed.
func with(defs map[string]*mdevDef, n string, def *mdevDef) map[string]*mdevDef {
	all := make(map[string]*mdevDef, len(defs)+1)
	for k, v := range defs {
		all[k] = v
	}
	delete(all, n)
	if def != nil {
		all[n] = def
	}
	return all
}
