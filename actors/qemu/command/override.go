package command

import (
	"strconv"
)

// override applies the definition's qemu:override to a device.
func (b *builder) override(p *Props) {
	id, ok := p.Get("id")
	if !ok || b.def.QEMUOverride == nil {
		return
	}
	for _, d := range b.def.QEMUOverride.Devices {
		if d.Alias != id {
			continue
		}
		for _, o := range d.Frontend.Properties {
			switch o.Type {
			case "remove":
				p.Remove(o.Name)
			case "bool":
				p.Set(o.Name, o.Value == "true")
			case "signed":
				if n, err := strconv.ParseInt(o.Value, 0, 64); err == nil {
					p.Set(o.Name, n)
				}
			case "unsigned":
				if n, err := strconv.ParseUint(o.Value, 0, 64); err == nil {
					p.Set(o.Name, n)
				}
			default:
				p.Set(o.Name, o.Value)
			}
		}
	}
}
