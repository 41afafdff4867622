package command

import (
	"os"
	"path"
	"strconv"
	"time"
)

// Runtime is what was decided or opened before a start. All of it is owned by the caller; descriptors stay open here.
type Runtime struct {
	LibDir     string // the domain's own folder: monitor.sock, master-key.aes, ...
	ChannelDir string // sockets of channels whose definition gives no path
	RAMDir     string // files of file backed memory
	Hugepages  []HugepageMount

	Now time.Time // for clocks that start at an offset

	// Monitor is the listening monitor socket; nil lets QEMU make LibDir/monitor.sock itself.
	Monitor *os.File
	// NoMasterKey leaves out the object that decrypts secrets, for a guest that was started without one.
	NoMasterKey bool

	// By the alias of the device they belong to. Descriptors that are missing are replaced by QEMU opening the path.
	Listeners map[string]*os.File // listening UNIX socket of a character device
	// QEMU opens these two by path, for writing only, so that the descriptors must be just that.
	Outputs map[string]*os.File // of a file character device, held by the log daemon
	Logs    map[string]*os.File // of a character device's <log>

	NICs      map[string]NIC
	VSock     *os.File
	TPMs      map[string]TPM
	HostSCSI  map[string]string // SCSI host device: path of its generic device, "/dev/sg0"
	VHostSCSI map[string]*os.File
	FSSockets map[string]string // virtiofs daemon sockets that are not in the definition

	Secrets map[string]Secret // by object id, see SecretsOf

	// NextNode and NextFDSet are the first numbers that are free in a running QEMU, for plugging.
	NextNode  uint
	NextFDSet int

	VNC   VNCServer
	Spice SpiceServer
	// DBusAddress is the bus the daemon started for displays and chardevs that name none.
	DBusAddress string
	RenderNode  string // the host's DRM render node, for graphics that ask for GL and name none
	ChardevTLS  TLS
	DiskTLS     TLS

	// HostCDROMs are the block devices of the host that are CD drives.
	HostCDROMs map[string]bool

	HostSMBIOS *SMBIOS // facts of the host for <smbios mode='host'/>

	// Incoming is the URI of -incoming; "" for a cold start.
	Incoming string
	// NoSandbox leaves out -sandbox (seccomp_sandbox = 0).
	NoSandbox bool
	// NoTimestamps leaves out -msg timestamp=on.
	NoTimestamps bool
	// DumpGuestCore is what -machine says where the definition says nothing.
	DumpGuestCore bool
	// Environment is the inherited part: PATH and what the daemon passes on.
	Environment []string
}

// HugepageMount is one mounted hugetlbfs.
type HugepageMount struct {
	SizeKiB uint64
	Path    string // folder that belongs to this domain, below the mount
	Default bool   // of the kernel's default huge page size
}

// NIC is what a network device was connected to.
type NIC struct {
	Tap   []*os.File // one per queue
	VHost []*os.File // one per queue; none: no vhost
	VDPA  *os.File
	Passt string // socket of the process that serves a user network instead of QEMU
}

// TPM is the other end of a TPM.
type TPM struct {
	Socket         string   // control socket of the emulator
	Device, Cancel *os.File // of a passed through TPM
	CancelPath     string
}

// VNCServer is the daemon's configuration for VNC.
type VNCServer struct {
	Listen   string // address where the definition gives none; "" is 127.0.0.1
	Password bool   // the definition has none, but the configuration does
	TLS      TLS    // offered when its folder is set
	SASL     bool   //
	SASLDir  string // SASL_CONF_PATH
}

// SpiceServer is the daemon's configuration for SPICE.
type SpiceServer struct {
	Listen   string // address where the definition gives none; "" is 127.0.0.1
	Password bool
	X509Dir  string // allows the TLS port
	SASL     bool
	SASLDir  string
}

// TLS is a set of certificates.
type TLS struct {
	Dir        string
	VerifyPeer bool
	SecretUUID string // the secret that the key is encrypted with; "" for a plain key
}

// SecretObject is the id of the object that all other secrets are encrypted with.
const SecretObject = "masterKey0"

// ShortName names a started domain's own files: its id and the first twenty characters of its name.
func ShortName(id int, name string) string {
	short := []rune(name)
	if len(short) > 20 {
		short = short[:20]
	}
	return strconv.Itoa(id) + "-" + string(short)
}

// MonitorPath is where the monitor listens.
func (rt *Runtime) MonitorPath() string { return path.Join(rt.LibDir, "monitor.sock") }

// MasterKeyPath is the file with the key of all secrets.
func (rt *Runtime) MasterKeyPath() string { return path.Join(rt.LibDir, "master-key.aes") }
