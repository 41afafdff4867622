// Package command turns a live domain definition into the way QEMU is started, and single devices into the QMP commands
// that plug them.
//
// It is pure: no file, process or socket is touched. What is decided before a start (paths, ports, open descriptors,
// encrypted secrets) comes in with Runtime; what the binary can do comes in with caps.Caps; the definition must be
// complete (defaults, addresses and aliases assigned). The outcome is a Command: binary, arguments, environment and the
// descriptors QEMU inherits.
//
// Every device is built once, as a list of steps (step.go) that hold ordered properties. Build renders the steps as
// arguments (-device JSON, -blockdev JSON, ...), Plug renders the same steps as QMP commands (device_add, blockdev-add,
// ...), so that a plugged device is the device a cold start would have made.
//
// Files: build.go has the order of everything on the command line; one file per group of options or devices; address.go,
// virtio.go and chardev.go are what they share; firmware.go chooses firmware images by their descriptors; plug.go and
// throttle.go are for running guests.
//
// Compat: the guest ABI (device models, ids, buses, addresses, properties, machine and CPU options) is that of libvirt
// 9.0.0 with QEMU 7.2; there the counterpart is src/qemu/qemu_command.c, qemu_block.c and qemu_firmware.c.
package command
