// Package network holds what is promised of virtual networks with numbers: how long lists, definitions and starts take,
// against libvirtd in the same run on the same machine, and that a stop leaves nothing behind. The tests fail when a
// promise is broken.
package network
