package command

import "virtree/wire/liberr"

// unsupported is the answer to what this QEMU, or QEMU at all, cannot do.
func unsupported(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, format, args...)
}

// internal is the answer to a definition that should not have come this far.
func internal(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.InternalError, format, args...)
}

// missing is libvirt's wording for devices that a binary may be built without.
var missing = map[string]string{
	"ahci":            "SATA is not supported with this QEMU binary",
	"am53c974":        "This QEMU doesn't support the AM53C974 (ESP) controller",
	"dc390":           "This QEMU doesn't support the DC390 (ESP) controller",
	"ich9-intel-hda":  "The ich9-intel-hda audio controller is not supported in this QEMU binary",
	"intel-iommu":     "IOMMU device: 'intel' is not supported with this QEMU binary",
	"lsi":             "This QEMU doesn't support the LSI 53C895A SCSI controller",
	"megasas":         "This QEMU doesn't support the LSI SAS1078 (MegaRAID) controller",
	"mptsas1068":      "This QEMU doesn't support the LSI SAS1068 (MPT Fusion) controller",
	"nvdimm":          "nvdimm isn't supported by this QEMU binary",
	"pc-dimm":         "memory hotplug isn't supported by this QEMU binary",
	"pvscsi":          "This QEMU doesn't support the pvscsi (VMware paravirtual SCSI) controller",
	"scsi-block":      "This QEMU doesn't support scsi-block for lun passthrough",
	"usb-storage":     "This QEMU doesn't support '-device usb-storage'",
	"vhost-scsi-pci":  "This QEMU doesn't support vhost-scsi devices",
	"virtio-iommu":    "IOMMU device: 'virtio' is not supported with this QEMU binary",
	"virtio-scsi-pci": "This QEMU doesn't support virtio scsi controller",
}

// missingDevice is the answer where the binary lacks a device.
func missingDevice(driver string) error {
	if text := missing[driver]; text != "" {
		return unsupported("%s", text)
	}
	return unsupported("The '%s' device is not supported by this QEMU binary", driver)
}
