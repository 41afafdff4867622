package def

// Kind is a kind of pool. Its place in Kinds is libvirt's number of it.
type Kind struct {
	Name          string
	Source        []string // formats of the pool's source
	Volume        []string // formats of its volumes
	DefaultSource string
	DefaultVolume string
	Discovery     Discovery

	shows parts // parts of the source that its documents have
	needs parts // those that must be there
}

// Discovery is whether sources of a kind can be found.
type Discovery int

// ByHost is on a host that must be named.
const (
	ByBackend Discovery = iota
	ByHost
	Never
)

type parts uint

const (
	partHost parts = 1 << iota
	partDevice
	partDir
	partAdapter
	partName
	partInitiator
	partNetwork // the volumes are not files: there is no target path
)

// FileFormats are the formats of a volume that is a file.
var FileFormats = []string{"none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow", "qcow2", "qed", "vmdk"}

// Kinds are all kinds that libvirt knows.
var Kinds = []Kind{
	{Name: "dir", Discovery: Never, Volume: FileFormats, DefaultVolume: "raw"},
	{Name: "fs", Discovery: Never, Volume: FileFormats, DefaultVolume: "raw", DefaultSource: "auto", shows: partDevice, needs: partDevice,
		Source: []string{"auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2", "vmfs"}},
	{Name: "netfs", Discovery: ByHost, Volume: FileFormats, DefaultVolume: "raw", DefaultSource: "auto", Source: []string{"auto", "nfs", "glusterfs", "cifs"},
		shows: partHost | partDir, needs: partHost | partDir},
	{Name: "logical", DefaultSource: "lvm2", Source: []string{"unknown", "lvm2"}, shows: partName | partDevice},
	{Name: "disk", Discovery: Never, DefaultSource: "unknown", Source: []string{"unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"},
		DefaultVolume: "none", Volume: []string{"none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"}, shows: partDevice, needs: partDevice},
	{Name: "iscsi", Discovery: ByHost, shows: partHost | partDevice | partInitiator, needs: partHost},
	{Name: "iscsi-direct", Discovery: ByHost, shows: partHost | partDevice | partInitiator | partNetwork, needs: partHost | partDevice},
	{Name: "scsi", Discovery: Never, shows: partAdapter, needs: partAdapter},
	{Name: "mpath", Discovery: Never},
	{Name: "rbd", Discovery: Never, DefaultVolume: "raw", shows: partHost | partName | partNetwork, needs: partHost},
	{Name: "sheepdog", shows: partHost | partName | partNetwork, needs: partHost},
	{Name: "gluster", Discovery: ByHost, Volume: FileFormats, DefaultVolume: "raw", shows: partHost | partName | partDir | partNetwork, needs: partHost | partDir},
	{Name: "zfs", Discovery: Never, shows: partName | partDevice},
	{Name: "vstorage", Volume: FileFormats, DefaultVolume: "raw", shows: partName},
}

// KindNamed returns the kind of that name and libvirt's number of it; nil when there is none.
func KindNamed(name string) (*Kind, int) {
	for i := range Kinds {
		if Kinds[i].Name == name {
			return &Kinds[i], i
		}
	}
	return nil, -1
}

func has(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
