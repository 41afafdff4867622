package domxml

import (
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
	"virtree/actors/qemu/caps"
	"virtree/wire/liberr"
)

// ParseFlags say how a document is read.
type ParseFlags uint32

const (
	// ParseTrusted is for documents this daemon wrote itself: nothing is refused for what the binary cannot do.
	ParseTrusted ParseFlags = 1 << iota
	// ParseLive keeps what only running domains have: id, aliases, runtime labels.
	ParseLive
	// ParseNoCaps reads without asking Env.Caps: no defaults that need the binary, no addresses.
	ParseNoCaps
)

// definition is a document on its way from text to struct.
type definition struct {
	root    *node
	devices *node
	env     *Env
	flags   ParseFlags
	caps    *caps.Caps
	machine caps.Machine
	arch    string
	memory  memory
}

var document = xmltree.Reader{Origin: "(domain_definition)", From: liberr.FromDomain, Root: "domain"}

// Parse reads a domain document as virDomainDefineXML does: checked, defaults filled in, devices addressed.
// Errors are *liberr.Error with libvirt's code and wording.
func Parse(doc []byte, env Env, flags ParseFlags) (*libvirtxml.Domain, error) {
	root, err := document.Read(string(doc))
	if err != nil {
		return nil, err
	}
	if err := process(root, &env, flags); err != nil {
		return nil, err
	}
	return toStruct(root)
}

// process takes a scanned tree through every step up to the finished definition.
func process(root *node, env *Env, flags ParseFlags) error {
	adoptNamespaces(root)
	if err := checkFeatureNames(root); err != nil {
		return err
	}
	if err := refuseExtras(root); err != nil {
		return err
	}
	grammar["domain"].arrange(root)
	def := &definition{root: root, env: env, flags: flags, devices: root.Kid("devices")}
	if def.devices == nil {
		def.devices = xmltree.Elem("devices")
		root.Add(def.devices)
	}
	if flags&ParseTrusted == 0 {
		def.sortDisks()
	}
	steps := []func() error{
		def.checkGeneral,
		def.checkDevices,
		def.defaultsBasic,
	}
	if flags&ParseNoCaps == 0 {
		steps = append(steps,
			def.findCaps,
			def.defaultsDomain,
			def.defaultsDevices,
			def.assignAddresses,
			def.mirrorConsole,
		)
		if flags&ParseTrusted == 0 {
			steps = append(steps, def.validate)
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	grammar["domain"].arrange(root)
	return nil
}
