package command

// step is one thing QEMU is told, in a form that can be rendered as an argument or as a QMP command.
type step struct {
	option string // "-device"; "" for a step that exists only in QMP
	value  string // argument text; "" with bare
	bare   bool   // the option takes no argument
	props  Props  // JSON argument; the text when set

	command string // QMP command; "" when there is none
	args    Props  // QMP arguments
	file    *File  // descriptor that goes with the command
	undo    *QMP   // takes the step back
}

// QMP is one command for QEMU's monitor.
type QMP struct {
	Execute   string
	Arguments Props
}

func (b *builder) add(s step) { b.steps = append(b.steps, s) }

// arg adds an option with a plain value.
func (b *builder) arg(option, value string) { b.add(step{option: option, value: value}) }

// bare adds an option without a value.
func (b *builder) bare(option string) { b.add(step{option: option, bare: true}) }

// device adds -device / device_add of a type the binary has.
func (b *builder) device(p Props) error {
	if name := driverName(p); !b.hasDevice(name) {
		return missingDevice(name)
	}
	b.addDevice(p)
	return nil
}

func (b *builder) addDevice(p Props) {
	b.override(&p)
	s := step{option: "-device", props: p, command: "device_add", args: p}
	if b.without["device.json+hotplug"] {
		s.value, s.props = keyvalOf("driver", p), nil
	}
	if id, ok := p.Get("id"); ok {
		s.undo = &QMP{"device_del", Props{{"id", id}}}
	}
	b.add(s)
}

// deviceAliases are second names that QEMU takes for some device types but does not list.
var deviceAliases = map[string]string{
	"ahci": "ich9-ahci", "lsi": "lsi53c895a", "virtio-iommu": "virtio-iommu-pci",
}

func (b *builder) hasDevice(name string) bool {
	return b.caps.HasDevice(name) || b.caps.HasDevice(deviceAliases[name])
}

// object adds -object / object-add.
func (b *builder) object(p Props) error {
	kind, _ := p.Get("qom-type")
	if name, _ := kind.(string); !b.caps.HasObject(name) && !b.caps.HasDevice(name) {
		return unsupported("%s is not supported by this QEMU binary", name)
	}
	b.addObject(p)
	return nil
}

// addObject adds an object of a type every QEMU has.
func (b *builder) addObject(p Props) {
	id, _ := p.Get("id")
	b.add(step{option: "-object", props: p, command: "object-add", args: p, undo: &QMP{"object-del", Props{{"id", id}}}})
}

// blockdev adds -blockdev / blockdev-add.
func (b *builder) blockdev(p Props) {
	node, _ := p.Get("node-name")
	b.add(step{option: "-blockdev", props: p, command: "blockdev-add", args: p,
		undo: &QMP{"blockdev-del", Props{{"node-name", node}}}})
}

// netdev adds -netdev / netdev_add.
func (b *builder) netdev(p Props) {
	id, _ := p.Get("id")
	b.add(step{option: "-netdev", props: p, command: "netdev_add", args: p, undo: &QMP{"netdev_del", Props{{"id", id}}}})
}

// render gives the arguments of the steps.
func render(steps []step) []string {
	var out []string
	for _, s := range steps {
		switch {
		case s.option == "":
		case s.bare:
			out = append(out, s.option)
		case s.props != nil:
			out = append(out, s.option, s.props.String())
		default:
			out = append(out, s.option, s.value)
		}
	}
	return out
}
