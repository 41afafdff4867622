// Package paths knows where everything lives: the folders, sockets, pid files and logs of every daemon, in one place.
//
// It owns names only. Nothing here opens, reads or listens; the one function that touches the disk is [Paths.Prepare],
// which makes the run-time folders. A Paths is a value: constant after it was made, safe to copy and to share.
//
// Three things decide a path:
//   - the mode: [System] (/etc/libvirt, /var/lib/libvirt, /run/libvirt, ...) or [User] (the XDG folders of one user);
//   - the root: a folder that is put before every path, so that a whole tree can live beside another one;
//   - the daemon's or driver's name, with libvirt's exceptions (libvirtd and virtproxyd share "libvirt-sock").
//
// The layout is libvirt's own, so that a host can switch over and back; only the actor sockets (<run>/virtree) are ours.
package paths
