// Package conf is the host's configuration of its interfaces: the files of ifupdown (/etc/network/interfaces and what it
// sources) or of systemd-networkd (*.network and *.netdev in /etc/systemd/network), below the root of the tree.
//
// Which of the two a host goes by: ifupdown where its file declares more than the loopback, else networkd where it has
// files, else ifupdown where its file exists at all. Where neither is, there is no Store, and nothing can be defined.
// Only files in /etc are read: what distributions and boots put below /usr/lib and /run is not the administrator's.
//
// A Store reads definitions out of the files and writes them back. It touches what concerns the interface that is
// defined, and leaves everything else as it stands, comments included. What a format cannot say gets lost on the way,
// and the documents tell: ifupdown has no start mode "none" beside its absence; networkd has no carrier of miimon.
//
// Every change of files is covered by a copy of all of them (copy.go): each definition by one of its own, which is taken
// back when the change does not come to its end, and all between Begin and Commit by another.
//
// Everything here is plain code that blocks, for jobs; two changes at once are the caller's to prevent.
//
// Counterpart: netcf, the library behind libvirt's defining interface driver.
package conf
