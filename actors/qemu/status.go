package qemu

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// status is what a running guest's status file says beside its definition: enough for a restarted daemon
// to find the guest again, in the form that libvirt writes and reads.
type status struct {
	XMLName xml.Name `xml:"domstatus"`
	State   string   `xml:"state,attr"`
	Reason  string   `xml:"reason,attr"`
	PID     int      `xml:"pid,attr"`
	Since   uint64   `xml:"since,attr,omitempty"` // our own: start time of the process
	Monitor struct {
		Path string `xml:"path,attr"`
		Type string `xml:"type,attr"`
	} `xml:"monitor"`
	VCPUs []struct {
		ID  int `xml:"id,attr"`
		PID int `xml:"pid,attr"`
	} `xml:"vcpus>vcpu"`
	LibDir struct {
		Path string `xml:"path,attr"`
	} `xml:"libDir"`
	Job struct {
		Async string `xml:"async,attr"`
	} `xml:"job"`
	AgentTimeout *int32    `xml:"agentTimeout"`
	FakeReboot   *struct{} `xml:"fakereboot"`
	Nodes        struct {
		Index uint `xml:"index,attr"` // of the newest image
	} `xml:"nodename"`
	BlockJobs []blockJobNote `xml:"blockjobs>blockjob"`
	Owner     *struct{}      `xml:"autodestroy"`
}

// stateNames and reasonNames are libvirt's words in status files, by number.
var stateNames = []string{"nostate", "running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended"}

var reasonNames = map[int32][]string{
	virt.DomainRunning: {"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled",
		"save canceled", "wakeup", "crashed", "post-copy", "post-copy failed"},
	virt.DomainPaused: {"unknown", "user", "migration", "save", "dump", "io error", "watchdog", "from snapshot", "shutdown",
		"snapshot", "panicked", "starting up", "post-copy", "post-copy failed", "api error"},
	virt.DomainShutdown:    {"unknown", "user"},
	virt.DomainCrashed:     {"unknown", "panicked"},
	virt.DomainPmsuspended: {"unknown"},
}

func (l life) words() (state, reason string) {
	state, reason = "nostate", "unknown"
	if int(l.State) < len(stateNames) {
		state = stateNames[l.State]
	}
	if r := reasonNames[l.State]; int(l.Reason) < len(r) {
		reason = r[l.Reason]
	}
	return state, reason
}

func lifeOf(state, reason string) life {
	for i, s := range stateNames {
		if s != state {
			continue
		}
		for j, r := range reasonNames[int32(i)] {
			if r == reason {
				return life{int32(i), int32(j)}
			}
		}
		return life{int32(i), 0}
	}
	return life{}
}

// statusText prints the status file. What we could find out again ourselves is there for libvirt: a libvirtd that takes
// over from us must find its guest complete, or it ends it.
func statusText(l life, run *instanceFacts, def *libvirtxml.Domain) (string, error) {
	text, err := domxml.Format(def, domxml.Secure|domxml.Status)
	if err != nil {
		return "", err
	}
	state, reason := l.words()
	var b strings.Builder
	fmt.Fprintf(&b, "<domstatus state='%s' reason='%s' pid='%d' since='%d'>\n", state, reason, run.pid, run.since)
	fmt.Fprintf(&b, "  <monitor path='%s' type='unix'/>\n", escape(run.monitor))
	b.WriteString("  <vcpus>\n")
	for i, pid := range run.vcpus {
		fmt.Fprintf(&b, "    <vcpu id='%d' pid='%d'/>\n", i, pid)
	}
	b.WriteString("  </vcpus>\n")
	if len(run.flags) > 0 {
		b.WriteString("  <qemuCaps>\n")
		for _, f := range run.flags {
			fmt.Fprintf(&b, "    <flag name='%s'/>\n", f)
		}
		b.WriteString("  </qemuCaps>\n")
	}
	fmt.Fprintf(&b, "  <libDir path='%s'/>\n", escape(run.dir))
	fmt.Fprintf(&b, "  <channelTargetDir path='%s'/>\n", escape(run.channels))
	if run.job != "" {
		fmt.Fprintf(&b, "  <job type='none' async='%s' phase='none' flags='0x0'/>\n", run.job)
	}
	b.WriteString("  <chardevStdioLogd/>\n  <rememberOwner/>\n")
	fmt.Fprintf(&b, "  <nodename index='%d'/>\n", run.newest)
	b.WriteString(run.blockJobs)
	if run.agentWait != nil {
		fmt.Fprintf(&b, "  <agentTimeout>%d</agentTimeout>\n", *run.agentWait)
	}
	if run.rebooting {
		b.WriteString("  <fakereboot/>\n")
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("</domstatus>\n")
	return b.String(), nil
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// instanceFacts is the part of an instance that is written down. It is a value.
type instanceFacts struct {
	pid       int
	since     uint64
	monitor   string
	dir       string
	channels  string   // folder of the channels' sockets
	flags     []string // what the guest's QEMU can, in libvirt's words
	newest    uint     // number of the newest image
	blockJobs string   // the jobs on its disks, as an element
	vcpus     []int
	job       string // the async job that runs
	agentWait *int32
	rebooting bool
}

// saveStatus writes the status file in a job; changes that come meanwhile are written by the next one.
func (d *domain) saveStatus(ctx actor.Context) {
	if d.run == nil || !d.run.started || d.run.ending || d.live == nil {
		return
	}
	if d.run.saving {
		d.run.dirty = true
		return
	}
	def, err := d.live.Def()
	if err != nil {
		return
	}
	run := d.run
	noted := run.noted
	run.saving, run.dirty, run.noted = true, false, false
	facts := &instanceFacts{
		pid: run.proc.pid, since: run.proc.since, monitor: run.dir + "/monitor.sock", dir: run.dir,
		vcpus: d.rt.vcpus, rebooting: run.rebooting, newest: max(run.devices.nextNode, firstNode(def)) - 1,
		channels: filepath.Join(d.drv.env.Paths.DriverLib("qemu"), "channel", "target", filepath.Base(run.dir)),
	}
	if facts.blockJobs, err = noteBlockJobs(d.blockJobs, def); err != nil {
		d.log.Error().Err(err).Msg("cannot note the block jobs")
	}
	if d.async != nil {
		facts.job = d.async.name
	}
	facts.agentWait = d.agentWait
	l, drv, path := d.life, d.drv, d.drv.statusPath(d.name)
	done := func(d *domain, ctx actor.Context) {
		if d.run == run {
			run.saving = false
			if run.dirty {
				d.saveStatus(ctx)
			}
		}
	}
	d.aside(ctx, &task{
		name: "save status",
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if c, err := drv.caps.Get(jc, def.Devices.Emulator); err == nil {
				facts.flags = c.LibvirtFlags()
			}
			text, err := statusText(l, facts, def)
			if err != nil {
				return nil, err
			}
			if !facts.alive() {
				return nil, nil // it ended while this was on its way; its file is gone for good
			}
			text = header(def.Name) + text
			if noted {
				if there, err := os.ReadFile(path); err == nil && string(there) == text {
					return nil, nil
				}
			}
			return nil, disk.WriteVolatile(path, []byte(text), 0o600)
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			done(d, ctx)
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot write the status file")
			done(d, ctx)
			return err
		},
	})
}

// alive tells whether the process that the facts describe still runs.
func (f *instanceFacts) alive() bool {
	since, err := startTime(f.pid)
	return err == nil && since == f.since
}

// parseStatus reads a status file, ours or libvirt's.
func parseStatus(text string) (*status, error) {
	var s status
	text = stripHeader(text)
	if start, end, ok := domainSpan(text); ok {
		text = text[:start] + text[end:] // which is most of it, and domxml's
	}
	if err := xml.Unmarshal([]byte(text), &s); err != nil {
		return nil, err
	}
	if s.PID <= 0 || s.Monitor.Path == "" {
		return nil, fmt.Errorf("status file names no process or no monitor")
	}
	return &s, nil
}

// domainText cuts the definition out of a status file as it stands, attributes included.
func domainText(text string) string {
	start, end, _ := domainSpan(text)
	return text[start:end]
}

// domainSpan is where it stands.
func domainSpan(text string) (start, end int, ok bool) {
	start, end = strings.Index(text, "<domain "), strings.LastIndex(text, "</domain>")
	if start < 0 || end < start {
		return 0, 0, false
	}
	return start, end + len("</domain>"), true
}
