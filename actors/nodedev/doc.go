// Package nodedev is the branch of the host's devices: virtnodedevd, and the node device driver of libvirtd.
//
// In: call.Call for the node device procedures, call.Subscribe. Out: call.Reply, call.Event (created, deleted).
//
//	kernel --uevent--> watcher --news--> driver --scan job--> sysfs, udev's data
//	                                       \--diff of two scans--> events
//
// The driver keeps only who is there: name, kind, folder in sysfs, parent. A scan is a few hundred reads; one runs at the
// start (calls that come before its end wait for it), and one after each burst of the kernel's news, never two at once.
// Two scans that differ make the events, so a device that came and went in between makes none. The XML of a device is
// made when it is asked for, in a job, from what sysfs says then: it is never stale. What udev adds (links, serials,
// types of drives) is read from its data when udevd runs; the names of PCI and USB devices come from the ids files.
//
// Kinds: system, pci, usb_device, usb, net, scsi_host, scsi_target, scsi, storage, scsi_generic, drm, mdev, vdpa, and a
// mainframe's ccw, css, ap_card, ap_queue, ap_matrix. testdata/hardware.sysfs has one of each, testdata/hardware.golden what
// libvirtd says of them.
//
// Detaching, reattaching and resetting devices belong to the hypervisor driver, as in libvirt.
//
// A restart loses nothing: the first scan finds everything again.
//
// Counterpart: src/node_device/node_device_udev.c, src/node_device/node_device_driver.c, src/conf/node_device_conf.c.
package nodedev
