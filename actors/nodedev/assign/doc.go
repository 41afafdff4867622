// Package assign takes PCI devices from the host's drivers for guests, resets them, and gives them back. It is the one
// piece of code for the calls of node devices (detach, reattach, reset) and for the host devices of guests, in whichever
// process those are served.
//
//	host's driver --Detach--> detached --Take--> in use by a guest
//	host's driver <-Reattach- detached <-Give--- in use by a guest
//	host's driver ----------Take (managed)-----> in use by a guest, and back by Give
//
// What is not the host's has a record in a folder below /run, which is written before the device is touched and removed after
// it is back: a branch that is started again, or another process, finds it as it is, and a reboot forgets it together with
// the kernel. Changes hold a lock on the folder, so that two processes do not bind one device.
//
// The kernel's part is sysfs: driver_override, unbind, drivers_probe, reset. No driver is unbound from a device that the
// host's driver has already, so that to reattach what was never detached disturbs nobody.
//
// Counterpart: src/util/virpci.c, src/hypervisor/virhostdev.c.
package assign
