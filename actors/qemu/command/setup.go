package command

import (
	"libvirt.org/go/libvirtxml"
)

// Setup gives the commands that finish a start while the guest is still stopped: what a definition says but a command
// line cannot, or what must be changed later by the same command.
func Setup(def *libvirtxml.Domain) []QMP {
	var out []QMP
	reboot := "reset"
	if def.OnReboot == "destroy" {
		reboot = "shutdown"
	}
	out = append(out, QMP{"set-action", Props{{"reboot", reboot}}})
	if def.Devices == nil {
		return out
	}
	if ids := def.IOThreadIDs; ids != nil {
		for _, t := range ids.IOThreads {
			out = append(out, iothreadPolling(&t)...)
		}
	}
	for i := range def.Devices.Disks {
		if q := Throttle(&def.Devices.Disks[i]); q != nil {
			out = append(out, *q)
		}
	}
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		if n.Link != nil && n.Link.State == "down" {
			out = append(out, LinkState(n, false))
		}
	}
	if m := def.Devices.MemBalloon; m != nil && m.Model != "none" {
		out = append(out, balloonSetup(def, m)...)
	}
	return out
}

// LinkState plugs or pulls a NIC's cable.
func LinkState(n *libvirtxml.DomainInterface, up bool) QMP {
	return QMP{"set_link", Props{{"name", aliasOf(n.Alias)}, {"up", up}}}
}

func iothreadPolling(t *libvirtxml.DomainIOThread) []QMP {
	if t.Poll == nil {
		return nil
	}
	var out []QMP
	for _, v := range []struct {
		name  string
		value *uint
	}{{"poll-max-ns", t.Poll.Max}, {"poll-grow", t.Poll.Grow}, {"poll-shrink", t.Poll.Shrink}} {
		if v.value != nil {
			out = append(out, QMP{"qom-set", Props{{"path", "/objects/" + iothreadName(t.ID)}, {"property", v.name}, {"value", *v.value}}})
		}
	}
	return out
}

func balloonSetup(def *libvirtxml.Domain, m *libvirtxml.DomainMemBalloon) []QMP {
	var out []QMP
	if m.Stats != nil && m.Stats.Period > 0 {
		out = append(out, QMP{"qom-set", Props{{"path", "/machine/peripheral/" + aliasOf(m.Alias)},
			{"property", "guest-stats-polling-interval"}, {"value", m.Stats.Period}}})
	}
	if cur := def.CurrentMemory; cur != nil && def.Memory != nil {
		now, all := kib(uint64(cur.Value), cur.Unit), kib(uint64(def.Memory.Value), def.Memory.Unit)
		if now < all {
			out = append(out, QMP{"balloon", Props{{"value", now * 1024}}})
		}
	}
	return out
}
