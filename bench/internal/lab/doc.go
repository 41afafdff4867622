// Package lab sets up what the end-to-end tests and the benchmarks measure: a
// daemon under test (virtree in one process, virtree split, or Debian's libvirtd as
// the reference) in a box of its own, and the small guest it runs.
//
// A box is a process with its own mount and network namespaces that adopts every
// orphan born in it. That gives three promises:
//
//   - a daemon sees no other daemon's files, links or firewall, and its VNC ports
//     start at 5900, so that two daemons answer alike;
//   - QEMU outlives its daemon inside the box, as it does on a real host, and is
//     reaped when it ends;
//   - when the box closes, or whoever opened it dies, everything in it is killed.
//
// The test binary or benchmark is itself the box: it runs again as one when Enter
// finds the environment saying so, which is why Enter comes first in TestMain and
// main. Opening a box needs root.
//
// Sockets of a daemon in a box are plain files below its directory, so clients run
// outside: virsh -c 'qemu:///system?socket=DIR/run/libvirt/libvirt-sock'.
package lab
