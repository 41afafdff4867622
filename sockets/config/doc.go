// Package config reads libvirt's configuration files: the syntax that all of them share, and as a typed value the keys that all
// daemons have (libvirtd.conf, virtproxyd.conf, virtXd.conf, virtlogd.conf, virtlockd.conf).
//
// A file is read once, at start or reload, and is constant afterwards. A missing file is an empty file. Unknown keys are kept
// and no error: deployments share one file between daemons. A value of the wrong type is an error that names file and line.
//
// Drivers read their own files (qemu.conf, network.conf) with [Read] and the getters of [File]. The libvirt
// counterpart is virconf.
package config
