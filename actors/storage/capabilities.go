package storage

import "strings"

// kind is a kind of pool. Its place in kinds is libvirt's number of it.
type kind struct {
	name          string
	source        []string // formats of the pool's source
	volume        []string // formats of its volumes
	defaultSource string
	defaultVolume string
	discovery     discovery
}

// discovery is whether sources of a kind can be found.
type discovery int

const (
	byBackend discovery = iota
	byHost              // on a host that must be named
	never
)

// fileFormats are the formats of a volume that is a file.
var fileFormats = []string{"none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow", "qcow2", "qed", "vmdk"}

var kinds = []kind{
	{name: "dir", discovery: never, volume: fileFormats, defaultVolume: "raw"},
	{name: "fs", discovery: never, volume: fileFormats, defaultVolume: "raw", defaultSource: "auto",
		source: []string{"auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2", "vmfs"}},
	{name: "netfs", discovery: byHost, volume: fileFormats, defaultVolume: "raw", defaultSource: "auto", source: []string{"auto", "nfs", "glusterfs", "cifs"}},
	{name: "logical", defaultSource: "lvm2", source: []string{"unknown", "lvm2"}},
	{name: "disk", discovery: never, defaultSource: "unknown", source: []string{"unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"},
		defaultVolume: "none", volume: []string{"none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"}},
	{name: "iscsi", discovery: byHost},
	{name: "iscsi-direct"},
	{name: "scsi", discovery: never},
	{name: "mpath", discovery: never},
	{name: "rbd", defaultVolume: "raw"},
	{name: "sheepdog"},
	{name: "gluster", volume: fileFormats, defaultVolume: "raw"},
	{name: "zfs"},
	{name: "vstorage", volume: fileFormats, defaultVolume: "raw"},
}

// capabilitiesXML is the answer of pool-capabilities.
func capabilitiesXML() string {
	var b strings.Builder
	b.WriteString("<storagepoolCapabilities>\n")
	for _, k := range kinds {
		b.WriteString("  <pool type='" + k.name + "' supported='no'>\n")
		options(&b, "poolOptions", k.defaultSource, "sourceFormatType", k.source)
		options(&b, "volOptions", k.defaultVolume, "targetFormatType", k.volume)
		b.WriteString("  </pool>\n")
	}
	b.WriteString("</storagepoolCapabilities>\n")
	return b.String()
}

func options(b *strings.Builder, element, def, enum string, values []string) {
	if def == "" {
		return
	}
	b.WriteString("    <" + element + ">\n      <defaultFormat type='" + def + "'/>\n      <enum name='" + enum + "'>\n")
	for _, v := range values {
		b.WriteString("        <value>" + v + "</value>\n")
	}
	b.WriteString("      </enum>\n    </" + element + ">\n")
}
