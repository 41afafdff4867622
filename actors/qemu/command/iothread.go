package command

import "libvirt.org/go/libvirtxml"

// iothreadName is the id of an IO thread's object.
func iothreadName(id uint) string { return "iothread" + itoa(int(id)) }

func (b *builder) iothreads() error {
	var list []libvirtxml.DomainIOThread
	if ids := b.def.IOThreadIDs; ids != nil {
		list = append(list, ids.IOThreads...)
	}
	// Compat: a bare count gets the lowest free ids.
	used := map[uint]bool{}
	for _, t := range list {
		used[t.ID] = true
	}
	for id := uint(1); uint(len(list)) < b.def.IOThreads; id++ {
		if !used[id] {
			list = append(list, libvirtxml.DomainIOThread{ID: id})
		}
	}
	for i := range list {
		if err := b.object(iothreadProps(&list[i])); err != nil {
			return err
		}
	}
	if d := b.def.DefaultIOThread; d != nil && (d.PoolMin != nil || d.PoolMax != nil) {
		p := Props{{"qom-type", "main-loop"}, {"id", "main-loop"}}
		p.optional("thread-pool-min", d.PoolMin)
		p.optional("thread-pool-max", d.PoolMax)
		return b.object(p)
	}
	return nil
}

// iothreadProps leaves polling out: it is set over the monitor, since changing it later must work too.
func iothreadProps(t *libvirtxml.DomainIOThread) Props {
	p := Props{{"qom-type", "iothread"}, {"id", iothreadName(t.ID)}}
	p.optional("thread-pool-min", t.PoolMin)
	p.optional("thread-pool-max", t.PoolMax)
	return p
}
