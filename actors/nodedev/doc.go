// Package nodedev is the branch of the host's devices: virtnodedevd, and the node device driver of libvirtd.
//
// In: call.Call for the node device procedures, call.Subscribe. Out: call.Reply, call.Event (created, deleted, defined,
// undefined, updated).
//
//	kernel, udevd --uevent--> watcher --news--> driver --scan job--> sysfs, udev's data
//	                                               \--diff of two scans--> events
//	/etc/mdevctl.d --inotify--> mdevWatcher --> driver --task--> mdevctl
//
// The driver keeps who is there: name, kind, folder in sysfs, parent. The first scan looks at everything but what is slow to
// read (product data of PCI devices), and then the first calls are answered; what is left out is filled in by the next one.
// A later scan looks only at folders that are new or that news named, never two scans at once. Two scans that differ make
// the events, so a device that came and went in between makes none; the driver listens before it looks, and has what it
// told of in its list, so a client that registers and then lists misses nothing. Where udevd runs its messages count, for
// then its rules have seen to the device; elsewhere the kernel's do. The XML of a device is made when it is asked for, in a
// job, from what sysfs says then: it is never stale. Names of PCI devices come from pci.ids, those of USB devices from udev
// or usb.ids.
//
// Kinds: system, pci, usb_device, usb, net, scsi_host, scsi_target, scsi, storage, scsi_generic, drm, mdev, vdpa, and a
// mainframe's ccw, css, ap_card, ap_queue, ap_matrix. testdata/hardware.sysfs has one of each, testdata/hardware.golden what
// libvirtd says of them, mounted as its machine.
//
//	scan.go      which folders are devices, and what they are called       xml.go, caps.go, pci.go, vpd.go, storage.go,
//	driver.go    the actor: scans, definitions, events                     fibre.go, mainframe.go, net_linux.go: documents
//	mdevctl.go   the tool that keeps definitions of mediated devices       document.go  what clients want to be made
//	change.go    calls that make and remove devices                        vport.go     virtual ports, lookups by WWN
//
// Mediated devices: mdevctl defines, starts and stops them. Uses of it follow one another, so that its lists are never
// older than a change before them. What it writes is synced before a call is answered; a definition that others write
// appears through the watch. A call that makes a device is answered when the device shows in sysfs, or after a minute.
//
// Detaching, reattaching and resetting devices are calls of the hypervisor driver, as in libvirt; package assign does it.
//
// A restart loses nothing: the first scan and mdevctl's list find everything again.
//
// Compat: a device's number of blocks is that of the kernel's sectors, and its size the product with its own block size, as
// libvirt counts them. Product data are escaped in documents, which libvirt forgets.
//
// Counterpart: src/node_device/node_device_udev.c, src/node_device/node_device_driver.c, src/conf/node_device_conf.c.
package nodedev
