package def

import (
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// Adapter is a SCSI host adapter: one of the host by its name or by the PCI device it belongs to, or a virtual one of a
// Fibre Channel host by its names in the fabric.
type Adapter struct {
	Type       string // "scsi_host" or "fc_host"
	Name       string
	Parent     string
	ParentPCI  *PCI // of scsi_host; with UniqueID
	UniqueID   uint32
	ParentWWNN string
	ParentWWPN string
	ParentWWN  string // of the fabric
	Managed    string // "", "yes" or "no"
	WWNN, WWPN string
}

// PCI is the address of a device.
type PCI struct{ Domain, Bus, Slot, Function uint64 }

// String is how sysfs names the device.
func (a PCI) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.Domain, a.Bus, a.Slot, a.Function)
}

func parseAdapter(e *node) (a *Adapter, err error) {
	a = &Adapter{Type: "scsi_host"}
	if t, ok := e.Lookup("type"); ok {
		if t != "scsi_host" && t != "fc_host" {
			return nil, e.BadValue("type", t, "")
		}
		a.Type = t
	}
	if a.Type == "fc_host" {
		return a, a.parseFC(e)
	}
	if a.Name = e.Get("name"); a.Name == "" {
		a.Name = e.Get("parent") // what the earliest documents had
	}
	parent := e.Kid("parentaddr")
	if parent == nil {
		return a, nil
	}
	address := parent.Kid("address")
	if address == nil {
		return nil, badXML("Missing scsi_host PCI address element")
	}
	id, err := strconv.ParseUint(parent.Get("unique_id"), 10, 32)
	if err != nil {
		return nil, badXML("Missing or invalid scsi adapter 'unique_id' value")
	}
	a.UniqueID = uint32(id)
	a.ParentPCI, err = parsePCI(address)
	return a, err
}

func (a *Adapter) parseFC(e *node) (err error) {
	a.Parent = e.Get("parent")
	if a.Managed, err = yesNo(e, "managed"); err != nil {
		return err
	}
	a.ParentWWNN, a.ParentWWPN, a.ParentWWN = e.Get("parent_wwnn"), e.Get("parent_wwpn"), e.Get("parent_fabric_wwn")
	a.WWNN, a.WWPN = e.Get("wwnn"), e.Get("wwpn")
	for _, w := range []string{a.ParentWWNN, a.ParentWWPN, a.ParentWWN, a.WWNN, a.WWPN} {
		if w != "" && !validWWN(w) {
			return liberr.New(liberr.FromNone, liberr.InternalError, "Malformed wwn: %s", w)
		}
	}
	return nil
}

// validWWN tells whether a name in a fabric is 16 hexadecimal digits.
func validWWN(s string) bool {
	s = strings.TrimPrefix(s, "0x")
	_, err := strconv.ParseUint(s, 16, 64)
	return len(s) == 16 && err == nil
}

func parsePCI(e *node) (*PCI, error) {
	p := &PCI{}
	for _, f := range []struct {
		name  string
		value *uint64
		limit uint64
		most  string
	}{{"domain", &p.Domain, 0xffffffff, ""}, {"bus", &p.Bus, 0xff, "='0x%x', must be <= 0xFF"}, {"slot", &p.Slot, 0x1f, "='0x%x', must be <= 0x1F"}, {"function", &p.Function, 7, "=0x%x, must be <= 7"}} {
		text, there := e.Lookup(f.name)
		if !there {
			continue
		}
		n, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return nil, e.BadValue(f.name, text, " Expected non-negative integer value")
		}
		if n > f.limit {
			return nil, liberr.New(liberr.FromNone, liberr.XMLError, "Invalid PCI address "+f.name+f.most, n)
		}
		*f.value = n
	}
	return p, nil
}

// check refuses adapters that cannot be told from others. A nil adapter is for the caller to judge.
func (a *Adapter) check(kind *Kind) error {
	switch {
	case a == nil || kind.shows&partAdapter == 0:
		return nil
	case a.Type == "scsi_host":
		switch {
		case a.Name == "" && a.ParentPCI == nil:
			return badXML("Either 'name' or 'parent' must be specified for the 'scsi_host' adapter")
		case a.Name != "" && a.ParentPCI != nil:
			return badXML("Both 'name' and 'parent' cannot be specified for the 'scsi_host' adapter")
		}
		return nil
	case a.WWNN == "" || a.WWPN == "":
		return badXML("'wwnn' and 'wwpn' must be specified for adapter type 'fchost'")
	case a.ParentWWNN != "" && a.ParentWWPN == "":
		return badXML("when providing parent_wwnn='%s', the parent_wwpn must also be provided", a.ParentWWNN)
	case a.ParentWWPN != "" && a.ParentWWNN == "":
		return badXML("when providing parent_wwpn='%s', the parent_wwnn must also be provided", a.ParentWWPN)
	}
	return nil
}

func (a *Adapter) format(line func(string, ...any)) {
	var s strings.Builder
	attr := func(name, value string) {
		if value != "" {
			s.WriteString(" " + name + "='" + xmltree.Escape(value) + "'")
		}
	}
	if a.Type == "fc_host" {
		attr("parent", a.Parent)
		attr("parent_wwnn", a.ParentWWNN)
		attr("parent_wwpn", a.ParentWWPN)
		attr("parent_fabric_wwn", a.ParentWWN)
		attr("managed", a.Managed)
		attr("wwnn", a.WWNN)
		attr("wwpn", a.WWPN)
		line("<adapter type='fc_host'%s/>", s.String())
		return
	}
	attr("name", a.Name)
	if p := a.ParentPCI; p != nil {
		line("<adapter type='scsi_host'>")
		line("  <parentaddr unique_id='%d'>", a.UniqueID)
		line("    <address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", p.Domain, p.Bus, p.Slot, p.Function)
		line("  </parentaddr>")
		line("</adapter>")
		return
	}
	line("<adapter type='scsi_host'%s/>", s.String())
}
