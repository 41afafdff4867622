package qemu

import (
	"path/filepath"

	"virtree/sockets/config"
)

// ReadConfig reads qemu.conf; a file that is not there means libvirt's defaults.
func ReadConfig(path string) (Config, error) {
	c := DefaultConfig
	f, err := config.Read(path)
	if err != nil {
		return c, err
	}
	minPort, maxPort, queued := uint(c.PortMin), uint(c.PortMax), uint(0)
	for _, get := range []error{
		f.String("vnc_listen", &c.VNCListen),
		f.String("vnc_password", &c.VNCPassword),
		f.String("spice_listen", &c.SpiceListen),
		f.String("user", &c.User),
		f.String("group", &c.Group),
		f.Uint("remote_display_port_min", &minPort),
		f.Uint("remote_display_port_max", &maxPort),
		f.String("save_image_format", &c.SaveImageFormat),
		f.String("dump_image_format", &c.DumpImageFormat),
		f.String("snapshot_image_format", &c.SnapshotImageFormat),
		f.Uint("max_queued", &queued),
	} {
		if get != nil {
			return c, get
		}
	}
	if c.TLS, err = readTLS(f); err != nil {
		return c, err
	}
	if c.locks, err = readLocks(f, filepath.Dir(path)); err != nil {
		return c, err
	}
	c.PortMin, c.PortMax, c.MaxQueued = int(minPort), int(maxPort), int(queued)
	return c, nil
}
