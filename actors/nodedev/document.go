package nodedev

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/xmltree"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// newDevice is what libvirt's messages call a device that is to be made, whatever name it was given.
const newDevice = "new device"

const schema = "/usr/share/libvirt/schemas/nodedev.rng"

// schemaPatience is how long the check of a document against the schema may take.
const schemaPatience = 30 * time.Second

// wanted is a device that a client wants to be made or defined.
type wanted struct {
	kind   kind
	name   string
	parent string
	mdev   *mdevDef // of a mediated device; its parent's address is filled in when the parent was found
	vport  wantedPort
}

// wantedPort is a virtual port: its names, and those by which the host that is to make it may be told.
type wantedPort struct {
	fc                                   bool // it is to be of a fibre channel host
	wwnn, wwpn                           string
	parentWWNN, parentWWPN, parentFabric string
}

// needs are the elements that a device of a kind which cannot be made must have nevertheless before that is said, and what is
// said when one is missing.
var needs = map[kind][]struct{ element, message string }{
	kindSystem:    {{"hardware/uuid", "no system UUID supplied for '%s'"}},
	kindPCI:       {{"domain", "no PCI domain ID supplied for '%s'"}, {"bus", "no PCI bus ID supplied for '%s'"}, {"slot", "no PCI slot ID supplied for '%s'"}, {"function", "no PCI function ID supplied for '%s'"}},
	kindUSBDevice: {{"bus", "no USB bus number supplied for '%s'"}, {"device", "no USB device number supplied for '%s'"}},
	kindUSB: {{"number", "no USB interface number supplied for '%s'"}, {"class", "no USB interface class supplied for '%s'"},
		{"subclass", "no USB interface subclass supplied for '%s'"}, {"protocol", "no USB interface protocol supplied for '%s'"}},
	kindNet:        {{"interface", "no network interface supplied for '%s'"}},
	kindSCSITarget: {{"target", "no target name supplied for '%s'"}},
	kindSCSI: {{"host", "no SCSI host ID supplied for '%s'"}, {"bus", "no SCSI bus ID supplied for '%s'"}, {"target", "no SCSI target ID supplied for '%s'"},
		{"lun", "no SCSI LUN ID supplied for '%s'"}},
	kindStorage: {{"block", "no block device path supplied for '%s'"}},
}

// needsUnsupported are the same of kinds whose complaint is of another class.
var needsUnsupported = map[kind][]struct{ element, message string }{
	kindCCW:     {{"cssid", "missing cssid value for '%s'"}, {"ssid", "missing ssid value for '%s'"}, {"devno", "missing devno value for '%s'"}},
	kindCSS:     {{"cssid", "missing cssid value for '%s'"}, {"ssid", "missing ssid value for '%s'"}, {"devno", "missing devno value for '%s'"}},
	kindAPCard:  {{"ap-adapter", "missing ap-adapter value for '%s'"}},
	kindAPQueue: {{"ap-adapter", "missing ap-adapter value for '%s'"}, {"ap-domain", "missing ap-domain value for '%s'"}},
	kindDRM:     {{"type", "unknown drm type '(null)' for '%s'"}},
}

// numbers are libvirt's of the kinds that no document can have; its message names them so.
var numbers = map[kind]int{kindSCSIGeneric: 11, kindVDPA: 17, capFCHost: 9, capVports: 10, capMdevTypes: 13, capVPD: 21}

func parseDocument(doc string) (*wanted, error) {
	root, err := xmltree.Reader{Origin: "(node_device_definition)", From: from, Root: "device"}.Read(doc)
	if err != nil {
		return nil, err
	}
	w := &wanted{name: newDevice}
	if p := root.Kid("parent"); p != nil {
		w.parent = p.Content()
		w.vport.parentWWNN, w.vport.parentWWPN, w.vport.parentFabric = p.Get("wwnn"), p.Get("wwpn"), p.Get("fabric_wwn")
	}
	switch v := w.vport; {
	case v.parentWWNN != "" && v.parentWWPN == "":
		return nil, liberr.New(from, liberr.XMLError, "when providing parent wwnn='%s', the wwpn must also be provided", v.parentWWNN)
	case v.parentWWPN != "" && v.parentWWNN == "":
		return nil, liberr.New(from, liberr.XMLError, "when providing parent wwpn='%s', the wwnn must also be provided", v.parentWWPN)
	}
	c := root.Kid("capability")
	if c == nil {
		return nil, liberr.New(from, liberr.InternalError, "no device capabilities for '%s'", newDevice)
	}
	typ, ok := c.Lookup("type")
	if !ok {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute '%s' in element '%s'", "type", "capability")
	}
	w.kind = kind(typ)
	if _, known := listFlag[w.kind]; !known {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element '%s': '%s'.", "type", "capability", typ)
	}
	if n, never := numbers[w.kind]; never {
		return nil, liberr.New(from, liberr.InternalError, "unknown capability type '%d' for '%s'", n, newDevice)
	}
	for _, n := range needs[w.kind] {
		if c.KidText(n.element) == "" {
			return nil, liberr.New(from, liberr.InternalError, n.message, newDevice)
		}
	}
	for _, n := range needsUnsupported[w.kind] {
		if c.KidText(n.element) == "" {
			return nil, liberr.New(from, liberr.ConfigUnsupported, n.message, newDevice)
		}
	}
	switch w.kind {
	case kindMdev:
		return w, w.readMdev(c)
	case kindSCSIHost:
		return w, w.readPort(c)
	}
	return w, nil
}

func (w *wanted) readMdev(c *xmltree.Node) error {
	m := &mdevDef{typ: c.Kid("type").Get("id")}
	if m.typ == "" {
		return liberr.New(from, liberr.ConfigUnsupported, "missing type id attribute for '%s'", newDevice)
	}
	if text := c.KidText("uuid"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return liberr.New(from, liberr.InternalError, "Invalid uuid '%s' for new mdev device", text)
		}
		m.uuid = id.String()
	}
	for _, a := range c.All("attr") { // one without a name or a value is passed over
		n, named := a.Lookup("name")
		v, valued := a.Lookup("value")
		if named && valued {
			m.attrs = append(m.attrs, mdevAttr{n, v})
		}
	}
	w.mdev = m
	return nil
}

func (w *wanted) readPort(c *xmltree.Node) error {
	for _, inner := range c.All("capability") {
		typ, ok := inner.Lookup("type")
		switch {
		case !ok:
			return liberr.New(from, liberr.InternalError, "missing SCSI host capability type for '%s'", newDevice)
		case typ == "fc_host":
			w.vport.fc = true
			w.vport.wwnn, w.vport.wwpn = first(inner.KidText("wwnn"), randomWWN()), first(inner.KidText("wwpn"), randomWWN())
		case typ != "vport_ops":
			return liberr.New(from, liberr.InternalError, "unknown SCSI host capability type '%s' for '%s'", typ, newDevice)
		}
	}
	return nil
}

// randomWWN makes a name of the range that belongs to QEMU.
func randomWWN() string { return fmt.Sprintf("5001a4a%09x", rand.Uint64N(1<<36)) }

// parsed reads a document, against the schema if that is asked for, and hands it on in Receive; the error that then gives is
// the answer to the call.
func (d *driver) parsed(ctx actor.Context, r *call.Request, doc string, validate bool, then func(actor.Context, *wanted) error) {
	finish := func(ctx actor.Context) error {
		w, err := parseDocument(doc)
		if err != nil {
			return err
		}
		if w.kind == kindMdev {
			if err := d.placeMdev(w); err != nil {
				return err
			}
		}
		return then(ctx, w)
	}
	if !validate {
		if err := finish(ctx); err != nil {
			r.Fail(err)
		}
		return
	}
	job := kit.Job[any]{Name: "validate", Timeout: schemaPatience, Run: func(jc context.Context, _ *kit.Undo) (any, error) {
		return nil, domxml.ValidateSchema(jc, []byte(doc), schema)
	}}
	d.desk.Do(ctx, job, func(ctx actor.Context, _ any, err error) {
		if err == nil {
			err = finish(ctx)
		}
		if err != nil {
			r.Fail(liberr.From(from, err))
		}
	})
}

// placeMdev finds the address of a mediated device's parent.
func (d *driver) placeMdev(w *wanted) error {
	if w.parent == "" {
		return liberr.New(from, liberr.ConfigUnsupported, "missing parent device")
	}
	parent := d.byName[w.parent]
	if parent == nil {
		return liberr.New(from, liberr.ConfigUnsupported, "invalid parent device '%s'", w.parent)
	}
	switch parent.kind {
	case kindPCI, kindCSS, kindAPMatrix:
		w.mdev.parent = filepath.Base(parent.dir)
		return nil
	}
	return liberr.New(from, liberr.ParseFailed, "Unable to find address for parent device '%s'", w.parent)
}
