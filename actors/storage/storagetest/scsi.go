package storagetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/storage/backend"
)

// SCSI makes a host whose SCSI host 7 has two disks and what else hangs on a bus. With session, they are behind a session of
// iSCSI that comes with a login.
func SCSI(t *testing.T, session bool) (*backend.Host, *Tools) {
	host, tools := NewHost(t, map[string]Program{
		"scsi_id": func(args []string, _ string) (string, error) {
			return "3600" + filepath.Base(args[len(args)-1]) + "\n", nil
		},
	})
	const dir = "/sys/bus/scsi/devices/"
	for path, text := range map[string]string{
		"/sys/class/scsi_host/host7/scan":   "",
		dir + "7:0:0:0/type":                "0\n",
		dir + "7:0:0:0/block/sdp/size":      "1",
		dir + "7:0:0:1/type":                "0\n",
		dir + "7:0:0:1/block/sdq/size":      "1",
		dir + "7:0:0:2/type":                "5\n", // a drive with nothing in it
		dir + "7:0:0:2/block/sr7/size":      "1",
		dir + "7:0:0:3/type":                "12\n", // a controller
		dir + "6:0:0:0/type":                "0\n",  // another host's
		dir + "6:0:0:0/block/sdz/size":      "1",
		dir + "target7:0:0/uevent":          "",
		dir + "host7/uevent":                "",
		"/dev/disk/by-path/pci-1-lun-1.txt": "",
	} {
		if err := tools.File(path, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"sdp", "sdq", "sdz"} {
		if err := tools.Device("/dev/"+d, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../sdq", filepath.Join(tools.Root, "/dev/disk/by-path/pci-1-lun-1")); err != nil {
		t.Fatal(err)
	}
	if session {
		tools.Programs["iscsiadm"] = iscsiadm(tools)
	}
	return host, tools
}

// iscsiadm speaks as open-iscsi 2.1 does.
func iscsiadm(tools *Tools) Program {
	sessions := map[string]bool{}
	return func(args []string, _ string) (string, error) {
		values, _ := flagged(args, "--mode", "--portal", "--targetname", "--op", "--name", "--value", "--interface", "-r", "--type")
		switch values["--mode"] {
		case "discovery":
			return "10.0.0.1:3260,1 iqn.2013-06.com.x:t\n10.0.0.1:3260,1 iqn.2013-06.com.x:other\n", nil
		case "session":
			if len(sessions) == 0 {
				return "", fail(21, "iscsiadm: No active sessions.\n")
			}
			out := ""
			for s := range sessions {
				out += "tcp: [3] 10.0.0.1:3260,1 " + s + " (non-flash)\n"
			}
			return out, nil
		case "node":
			target := values["--targetname"]
			dir := "/sys/class/iscsi_session/session3/device/target7:0:0"
			switch {
			case values["--login"] != "":
				if strings.HasSuffix(target, "refused") {
					return "", fail(24, "iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)\n")
				}
				sessions[target] = true
				return "", tools.File(dir+"/uevent", "")
			case values["--logout"] != "":
				delete(sessions, target)
				return "", os.RemoveAll(filepath.Join(tools.Root, dir))
			}
		}
		return "", nil
	}
}

// Multipath makes a host with two multipath devices, and a mapped device that is none.
func Multipath(t *testing.T) (*backend.Host, *Tools) {
	host, tools := NewHost(t, map[string]Program{
		"dmsetup": func([]string, string) (string, error) { return "mpatha\t(dm-0)\nmpathb\t(dm-2)\n", nil },
	})
	for path, text := range map[string]string{"/dev/mapper/control": "", "/sys/block/dm-0/dm/uuid": "mpath-3600a\n", "/sys/block/dm-2/dm/uuid": "mpath-3600b\n"} {
		if err := tools.File(path, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"mpatha", "mpathb"} {
		if err := tools.Device("/dev/mapper/"+d, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	return host, tools
}
