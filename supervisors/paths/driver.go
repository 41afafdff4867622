package paths

import "path/filepath"

// A driver's folders. The session layout differs by one level: what system mode keeps in four trees
// (/etc, /run, /var/lib, /var/cache, /var/log) shares two there, hence the extra "run", "lib", "cache" and "log".

// DriverConfig is where a driver keeps its persistent definitions: DriverConfig("qemu") is /etc/libvirt/qemu.
// Networks live below qemu's folder for reasons older than the network driver.
func (p Paths) DriverConfig(driver string) string {
	if driver == "network" {
		return filepath.Join(p.config, "qemu/networks")
	}
	return filepath.Join(p.config, driver)
}

// Autostart is the folder of links to the definitions that start with the host.
func (p Paths) Autostart(driver string) string {
	return filepath.Join(p.DriverConfig(driver), "autostart")
}

// DriverRun is where a driver keeps what ends with the boot (status XML, pid files): /run/libvirt/qemu.
func (p Paths) DriverRun(driver string) string {
	if p.Session {
		return filepath.Join(p.run, driver, "run")
	}
	return filepath.Join(p.run, driver)
}

// DriverLib is where a driver keeps what its objects own (nvram, save images, channels): /var/lib/libvirt/qemu.
func (p Paths) DriverLib(driver string) string {
	if p.Session {
		return filepath.Join(p.state, driver, "lib")
	}
	return filepath.Join(p.state, driver)
}

// DriverCache is /var/cache/libvirt/qemu.
func (p Paths) DriverCache(driver string) string {
	if p.Session {
		return filepath.Join(p.cache, driver, "cache")
	}
	return filepath.Join(p.cache, driver)
}

// DriverLog is the folder of the objects' logs: /var/log/libvirt/qemu.
func (p Paths) DriverLog(driver string) string {
	if p.Session {
		return filepath.Join(p.log, driver, "log")
	}
	return filepath.Join(p.log, driver)
}

// Autostarted is the marker that says: this boot's autostart was done, a restarted daemon must not do it again.
func (p Paths) Autostarted(driver string) string {
	return filepath.Join(p.DriverRun(driver), "autostarted")
}

// Hook is the script (and, with ".d" behind it, the folder of scripts) that is run at the events of a driver.
func (p Paths) Hook(driver string) string { return filepath.Join(p.config, "hooks", driver) }
