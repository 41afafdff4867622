package domxml

// assignAddresses gives an address to every device that needs one, in libvirt's order: virtio-serial ports first, then
// PCI, then USB, whose controllers and hubs have PCI addresses by then, then memory slots.
func (def *definition) assignAddresses() error {
	if err := def.virtioSerialAddresses(); err != nil {
		return err
	}
	if err := def.pciAddresses(); err != nil {
		return err
	}
	if err := def.usbAddresses(); err != nil {
		return err
	}
	return def.memorySlots()
}
