package command

// smp is how many virtual CPUs there are. Those that can be unplugged are not on the command line: they are plugged
// before the guest runs.
func (b *builder) smp() error {
	v := b.def.VCPU
	if v == nil {
		return internal("domain without vcpu count")
	}
	online := v.Value
	if v.Current != 0 {
		online = v.Current
	}
	if b.def.VCPUs != nil && len(b.def.VCPUs.VCPU) > 0 {
		online = 0
		for _, c := range b.def.VCPUs.VCPU {
			if c.Enabled == "yes" && c.Hotpluggable != "yes" {
				online++
			}
		}
	}
	k := keyval{}
	k.word(itoa(int(online)))
	if online != v.Value {
		k.setf("maxcpus", "%d", v.Value)
	}
	if b.def.CPU != nil && b.def.CPU.Topology != nil {
		t := b.def.CPU.Topology
		k.setf("sockets", "%d", t.Sockets)
		if t.Dies > 0 {
			k.setf("dies", "%d", t.Dies)
		}
		k.setf("cores", "%d", t.Cores)
		k.setf("threads", "%d", t.Threads)
	} else {
		k.setf("sockets", "%d", v.Value)
		k.set("cores", "1")
		k.set("threads", "1")
	}
	b.arg("-smp", k.String())
	return nil
}
