package apart

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
)

// distant are the kinds of file systems that answer only as long as somebody else does. Those of FUSE are distant too.
var distant = []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "beegfs", "glusterfs", "gfs2", "ocfs2", "autofs", "fuse", "fuseblk", "virtiofs", "vboxsf"}

// Of returns the backend of a pool, apart where it may hang.
func Of(host *backend.Host, p *def.Pool) (backend.Backend, error) {
	b, err := host.For(p.Kind)
	if err != nil {
		return nil, err
	}
	always := func(*def.Pool) bool { return true }
	switch p.Kind.Name {
	case "dir", "fs":
		return &Backend{Local: b, Hangs: onDistant, Run: host.Run}, nil
	case "netfs", "gluster", "vstorage":
		return &Backend{Local: b, Hangs: always, Run: host.Run}, nil
	case "iscsi", "mpath", "scsi":
		return &Backend{Local: b, Hangs: always, Run: host.Run, Starts: true}, nil
	}
	return b, nil // disks of this host, and what only starts programs
}

// onDistant tells whether a pool's folder is on a file system of another host. It looks into the table of mounts, which
// touches none of them.
func onDistant(p *def.Pool) bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	kind := fileSystem(f, p.Path)
	return slices.Contains(distant, kind) || strings.HasPrefix(kind, "fuse.")
}

// fileSystem finds the kind of file system that a path is on: ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS ... - KIND SOURCE ...
// Links are not followed, for that would touch them: a path through a link to a distant folder counts as near.
func fileSystem(table io.Reader, path string) (kind string) {
	path = filepath.Clean(path)
	longest := -1
	for lines := bufio.NewScanner(table); lines.Scan(); {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 1 {
			continue
		}
		at := plain.Replace(l[4])
		if within(path, at) && len(at) >= longest { // the last one is on top
			longest, kind = len(at), r[0]
		}
	}
	return kind
}

var plain = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func within(path, folder string) bool {
	return folder == "/" || path == folder || strings.HasPrefix(path, folder+"/")
}
