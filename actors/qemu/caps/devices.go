package caps

// probedDevices are the device types whose properties are asked for. Asking for all is not safe: QEMU ends itself when
// a type's instance needs another type whose module is not installed (virtio-gpu-gl-pci without its GL module).
var probedDevices = []string{
	// machine parts
	"ICH9-LPC", "PIIX4_PM", "mch", "i8042", "q35-pcihost", "i440FX-pcihost", "kvm-pit", "isa-pit", "mc146818rtc",
	"hpet", "vmcoreinfo", "vmgenid", "pvpanic", "pvpanic-pci", "fw_cfg_io", "intel-iommu", "amd-iommu",
	"virtio-iommu-pci", "tpm-tis", "tpm-crb", "tpm-tis-device", "tpm-spapr", "kvmclock", "isa-fdc", "floppy",
	// buses
	"pci-bridge", "pcie-root-port", "pcie-pci-bridge", "ioh3420", "x3130-upstream", "xio3130-downstream", "pxb",
	"pxb-pcie", "i82801b11-bridge", "gpex-pcihost", "virtio-mmio", "spapr-pci-host-bridge",
	"piix3-usb-uhci", "piix4-usb-uhci", "usb-ehci", "ich9-usb-ehci1", "ich9-usb-uhci1", "ich9-usb-uhci2",
	"ich9-usb-uhci3", "pci-ohci", "nec-usb-xhci", "qemu-xhci", "usb-hub",
	"ich9-ahci", "piix3-ide", "piix4-ide", "lsi53c895a", "megasas", "megasas-gen2", "mptsas1068", "pvscsi",
	"am53c974", "dc390", "usb-ccid", "virtio-serial-pci", "virtio-serial-pci-non-transitional",
	"virtio-scsi-pci", "virtio-scsi-pci-non-transitional", "virtio-scsi-ccw",
	// disks
	"virtio-blk-pci", "virtio-blk-pci-non-transitional", "virtio-blk-ccw", "ide-hd", "ide-cd", "scsi-hd", "scsi-cd",
	"scsi-block", "scsi-generic", "usb-storage", "usb-bot", "usb-uas", "sd-card", "nvme", "nvme-ns",
	"vhost-user-blk-pci", "vhost-user-fs-pci", "vhost-scsi-pci", "virtio-9p-pci",
	// network
	"virtio-net-pci", "virtio-net-pci-non-transitional", "virtio-net-ccw", "e1000", "e1000-82544gc", "e1000e",
	"rtl8139", "pcnet", "ne2k_pci", "vmxnet3", "i82550", "i82551", "i82557b", "i82559er", "tulip", "usb-net",
	"virtio-vsock-pci", "vhost-vsock-pci", "vhost-vsock-ccw",
	// characters
	"isa-serial", "pci-serial", "pci-serial-2x", "usb-serial", "isa-parallel", "isa-debugcon", "virtconsole", "virtserialport",
	// display, input, sound
	"VGA", "cirrus-vga", "vmware-svga", "qxl", "qxl-vga", "virtio-gpu-pci", "virtio-gpu-ccw", "virtio-vga",
	"bochs-display", "ramfb", "secondary-vga", "vhost-user-gpu-pci", "vhost-user-vga", "ati-vga",
	"usb-kbd", "usb-mouse", "usb-tablet", "virtio-keyboard-pci", "virtio-mouse-pci", "virtio-tablet-pci",
	"virtio-input-host-pci", "vhost-user-input-pci",
	"intel-hda", "ich9-intel-hda", "hda-duplex", "hda-micro", "hda-output", "AC97", "ES1370", "sb16", "usb-audio",
	// memory, random numbers, crypto, watchdogs, pass-through
	"virtio-balloon-pci", "virtio-balloon-pci-non-transitional", "virtio-balloon-ccw", "pc-dimm", "nvdimm",
	"virtio-mem-pci", "virtio-pmem-pci", "sgx-epc", "virtio-rng-pci", "virtio-rng-pci-non-transitional",
	"virtio-rng-ccw", "virtio-crypto-pci", "i6300esb", "ib700", "ivshmem-plain", "ivshmem-doorbell",
	"vfio-pci", "vfio-ccw", "vfio-ap", "usb-host", "usb-redir", "ccid-card-emulated", "ccid-card-passthru", "u2f-passthru",
}

// probedObjects is the same for user creatable objects.
var probedObjects = []string{
	"memory-backend-file", "memory-backend-memfd", "memory-backend-ram", "memory-backend-epc", "iothread", "secret", "tls-creds-x509",
	"rng-random", "rng-egd", "rng-builtin", "throttle-group", "filter-dump", "input-linux", "sev-guest",
	"pr-manager-helper", "cryptodev-backend-builtin", "thread-context", "main-loop",
}

// schemaQueries are the questions put to the schema beyond "which commands, with which arguments": a command, then
// members of its argument by name, "+branch" of a union, ending in a member, in "^value" of an enumeration, or
// in "!feature". "->" first walks the answer instead of the argument.
var schemaQueries = []string{
	"blockdev-add/driver/^nvme",
	"blockdev-add/driver/^virtio-blk-vhost-vdpa",
	"blockdev-add/driver/^io_uring",
	"blockdev-add/+file/aio/^io_uring",
	"blockdev-add/+file/aio/^native",
	"blockdev-add/+file/drop-cache",
	"blockdev-add/+file/dynamic-auto-read-only",
	"blockdev-add/+host_device/pr-manager",
	"blockdev-add/+nbd/reconnect-delay",
	"blockdev-add/+nbd/open-timeout",
	"blockdev-add/+nbd/tls-hostname",
	"blockdev-add/+qcow2/discard-no-unref",
	"blockdev-add/+rbd/encrypt",
	"blockdev-add/+ssh/password-secret",
	"blockdev-reopen/options",
	"block-stream/base-node",
	"blockdev-backup/target",
	"chardev-add/backend/+socket/data/addr/+fd",
	"chardev-add/backend/+spicevmc",
	"chardev-add/backend/+dbus",
	"chardev-add/backend/+qemu-vdagent",
	"chardev-add/backend/+file/data/logappend",
	"device_add/!json-cli",
	"device_add/!json-cli-hotplug",
	"migrate-set-parameters/tls-authz",
	"migrate-set-parameters/max-bandwidth",
	"migrate-set-parameters/compress-level",
	"netdev_add/+vhost-vdpa",
	"netdev_add/+user/ipv6-net",
	"netdev_add/+stream",
	"netdev_add/+dgram",
	"object-add/+iothread/thread-pool-max",
	"object-add/+memory-backend-file/align",
	"object-add/+memory-backend-file/pmem",
	"object-add/+memory-backend-memfd/prealloc-threads",
	"object-add/+memory-backend-file/prealloc-context",
	"object-add/+sev-guest/kernel-hashes",
	"object-add/+secret",
	"screendump/device",
	"screendump/format/^png",
	"send-key/keys/+number",
	"set_password/display",
	"set-numa-node/+hmat-lb",
	"query-named-block-nodes/flat",
	"query-display-options/->/type/^sdl",
	"query-display-options/->/type/^egl-headless",
	"query-display-options/->/type/^dbus",
	"query-display-options/->/type/^gtk",
	"query-blockstats/query-nodes",
	"transaction/actions/+blockdev-snapshot",
	"calc-dirty-rate/mode",
}
