package sample

import (
	"maps"
	"slices"
	"time"

	"virtree/actors/internal/metrics"
)

// write writes the figures of all guests, family by family as the text format wants it.
func (r *Round) write(p *metrics.Page) {
	p.Family("virtree_domains", metrics.Gauge, "Domains by state.")
	for _, state := range slices.Sorted(maps.Keys(r.States)) {
		p.Value(float64(r.States[state]), "state", state)
	}
	each := func(name string, kind metrics.Kind, help string, write func(g *Guest)) {
		p.Family("virtree_domain_"+name, kind, help)
		for i := range r.Guests {
			write(&r.Guests[i])
		}
	}
	each("info", metrics.Gauge, "A running guest, with its UUID.", func(g *Guest) { p.Count(1, "domain", g.Name, "uuid", g.UUID) })
	each("monitor_up", metrics.Gauge, "Whether the guest's monitor has answered in time; without it there are no figures of disks.", func(g *Guest) {
		switch g.Monitor {
		case Answered:
			p.Count(1, "domain", g.Name)
		case Late, Failed:
			p.Count(0, "domain", g.Name)
		}
	})
	each("cpu_seconds_total", metrics.Counter, "Processor time that the guest's process has used.", func(g *Guest) { p.Value(g.CPU.Seconds(), "domain", g.Name) })
	each("vcpus", metrics.Gauge, "Virtual processors that the guest has now.", func(g *Guest) { p.Count(uint64(g.VCPUs), "domain", g.Name) })
	each("memory_bytes", metrics.Gauge, "Memory that the guest has now, after its balloon.", func(g *Guest) { p.Count(g.Current, "domain", g.Name) })
	each("memory_max_bytes", metrics.Gauge, "Memory that the guest may have.", func(g *Guest) { p.Count(g.Maximum, "domain", g.Name) })
	each("memory_resident_bytes", metrics.Gauge, "Memory of the host that the guest's process occupies.", func(g *Guest) { p.Count(g.Resident, "domain", g.Name) })

	disks := func(name, help string, value func(d *Disk) uint64) {
		each("block_"+name+"_total", metrics.Counter, help, func(g *Guest) {
			for i := range g.Disks {
				p.Count(value(&g.Disks[i]), "device", g.Disks[i].Target, "domain", g.Name)
			}
		})
	}
	times := func(name, help string, value func(d *Disk) time.Duration) {
		each("block_"+name+"_seconds_total", metrics.Counter, help, func(g *Guest) {
			for i := range g.Disks {
				p.Value(value(&g.Disks[i]).Seconds(), "device", g.Disks[i].Target, "domain", g.Name)
			}
		})
	}
	disks("read_bytes", "Bytes that the guest has read from a disk.", func(d *Disk) uint64 { return d.ReadBytes })
	disks("reads", "Read requests of the guest to a disk.", func(d *Disk) uint64 { return d.Reads })
	times("read", "Time that read requests have taken.", func(d *Disk) time.Duration { return d.ReadTime })
	disks("written_bytes", "Bytes that the guest has written to a disk.", func(d *Disk) uint64 { return d.WrittenBytes })
	disks("writes", "Write requests of the guest to a disk.", func(d *Disk) uint64 { return d.Writes })
	times("write", "Time that write requests have taken.", func(d *Disk) time.Duration { return d.WriteTime })
	disks("flushes", "Flush requests of the guest to a disk.", func(d *Disk) uint64 { return d.Flushes })
	times("flush", "Time that flush requests have taken.", func(d *Disk) time.Duration { return d.FlushedTime })

	links := func(way, done string, of func(l *Link) *Traffic) {
		for _, f := range []struct {
			name, help string
			value      func(t *Traffic) uint64
		}{
			{"bytes", "Bytes that the guest has " + done + ".", func(t *Traffic) uint64 { return t.Bytes }},
			{"packets", "Packets that the guest has " + done + ".", func(t *Traffic) uint64 { return t.Packets }},
			{"errors", "Packets that were in error where the guest has " + done + ".", func(t *Traffic) uint64 { return t.Errors }},
			{"drops", "Packets that were dropped where the guest has " + done + ".", func(t *Traffic) uint64 { return t.Drops }},
		} {
			each("network_"+way+"_"+f.name+"_total", metrics.Counter, f.help, func(g *Guest) {
				for i := range g.Links {
					p.Count(f.value(of(&g.Links[i])), "domain", g.Name, "interface", g.Links[i].Name)
				}
			})
		}
	}
	links("receive", "received", func(l *Link) *Traffic { return &l.Received })
	links("transmit", "sent", func(l *Link) *Traffic { return &l.Sent })
}
