package qemu

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Block jobs in status files: QEMU goes on with them while nobody looks.

// blockJobNote is a block job as a status file has it, in libvirt's form.
type blockJobNote struct {
	XMLName   xml.Name  `xml:"blockjob"`
	Name      string    `xml:"name,attr"`
	Type      string    `xml:"type,attr"`
	State     string    `xml:"state,attr"`
	Flags     string    `xml:"jobflags,attr"`
	Disk      noteDisk  `xml:"disk"`
	Base      *noteNode `xml:"base"`
	Top       *noteNode `xml:"top"`
	TopParent *noteNode `xml:"topparent"`
}

type noteDisk struct {
	Target string `xml:"dst,attr"`
	Mirror string `xml:"mirror,attr,omitempty"`
}

type noteNode struct {
	Node string `xml:"node,attr"`
}

// Words for the state of a block job.
const (
	noteRunning  = "running"
	noteReady    = "ready"
	notePivoting = "pivoting"
	noteAborting = "aborting"
)

func (j *blockJob) note(def *libvirtxml.Domain) blockJobNote {
	n := blockJobNote{Name: j.id, Type: blockJobNames[j.kind], State: noteRunning, Flags: fmt.Sprintf("0x%x", j.flags), Disk: noteDisk{Target: j.disk}}
	switch {
	case j.pivot:
		n.State = notePivoting
	case j.abort:
		n.State = noteAborting
	case j.ready:
		n.State = noteReady
	}
	if j.mirror != nil {
		n.Disk.Mirror = "yes"
	}
	n.Base, n.Top = nodeNote(j.base), nodeNote(j.top)
	if disk := findDisk(def, j.disk); disk != nil && j.kind == virt.DomainBlockJobTypeCommit {
		layers := chain(disk)
		if i := slices.IndexFunc(layers, func(l chainLayer) bool { return l.index == j.top }); i > 0 {
			n.TopParent = nodeNote(layers[i-1].index)
		}
	}
	return n
}

func nodeNote(index uint) *noteNode {
	if index == 0 {
		return nil
	}
	return &noteNode{chainLayer{index: index}.node()}
}

// layer is the number in the name of a node.
func (n *noteNode) layer() (index uint) {
	if n != nil {
		_, _ = fmt.Sscanf(n.Node, "libvirt-%d-format", &index)
	}
	return index
}

// noteBlockJobs is the element of the status file.
func noteBlockJobs(jobs map[string]*blockJob, def *libvirtxml.Domain) (string, error) {
	if len(jobs) == 0 {
		return "  <blockjobs active='no'/>\n", nil
	}
	all := struct {
		XMLName xml.Name `xml:"blockjobs"`
		Active  string   `xml:"active,attr"`
		Jobs    []blockJobNote
	}{Active: "yes"}
	for _, j := range jobs {
		all.Jobs = append(all.Jobs, j.note(def))
	}
	slices.SortFunc(all.Jobs, func(a, b blockJobNote) int { return strings.Compare(a.Name, b.Name) })
	b, err := xml.MarshalIndent(all, "  ", "  ")
	return string(b) + "\n", err
}

// notedBlockJobs reads them again. What cannot be understood is left out: it is of a kind that we do not make.
func notedBlockJobs(notes []blockJobNote, def *libvirtxml.Domain) map[string]*blockJob {
	jobs := map[string]*blockJob{}
	for _, n := range notes {
		kind := slices.Index(blockJobNames, n.Type)
		disk := findDisk(def, n.Disk.Target)
		if kind <= 0 || disk == nil {
			continue
		}
		j := &blockJob{
			id: n.Name, disk: n.Disk.Target, kind: int32(kind), base: n.Base.layer(), top: n.Top.layer(),
			ready: n.State == noteReady || n.State == notePivoting, pivot: n.State == notePivoting, abort: n.State == noteAborting,
		}
		_, _ = fmt.Sscanf(n.Flags, "0x%x", &j.flags)
		if m := disk.Mirror; m != nil && j.kind == virt.DomainBlockJobTypeCopy {
			j.mirror, j.backing = m.Source, m.BackingStore
			if m.Format != nil {
				j.format = m.Format.Type
			}
		}
		jobs[j.disk] = j
	}
	return jobs
}

// reviewBlockJobs asks QEMU how the jobs of an adopted guest are doing. One that QEMU does not know any more was
// dismissed before we could note its end, or never began: it is over without success.
func (d *domain) reviewBlockJobs(ctx actor.Context) {
	if len(d.blockJobs) == 0 {
		return
	}
	run := d.run
	mon := run.mon
	d.aside(ctx, &task{
		name: "look after block jobs",
		run:  func(jc context.Context, _ *kit.Undo) (any, error) { return qmp.QueryJobs(jc, mon) },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			if d.run != run || d.live == nil {
				return nil, nil
			}
			for _, job := range d.blockJobs {
				status := ""
				for _, now := range out.([]qmp.Job) {
					if now.ID == job.id {
						status = now.Status
					}
				}
				if status == "" {
					d.lostBlockJob(ctx, job)
				} else {
					d.blockJobStatus(ctx, job, status)
				}
			}
			return nil, nil
		},
		failed: func(d *domain, _ actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot ask for the guest's block jobs")
			return err
		},
	})
}

// lostBlockJob forgets a job that QEMU does not know.
func (d *domain) lostBlockJob(ctx actor.Context, job *blockJob) {
	d.log.Warn().Str("job", job.id).Msg("QEMU does not know the block job any more")
	if _, disk, err := d.blockDisk(job.disk); err == nil {
		s := &settled{complaint: "the job is not known to QEMU"}
		s.disk, s.dropped = job.outcome(disk, false)
		d.settledBlockJob(ctx, job, s)
		return
	}
	delete(d.blockJobs, job.disk)
}
