// Command stream measures how fast the data of volumes move: upload and download by virsh, whole and with holes, beside libvirtd in
// the same run.
//
//	libvirtd  Debian's, in a box of its own
//	single    virtree in one process
//	direct    virtree split, at virtstoraged's own socket
//	proxy     virtree split, at libvirt-sock, which is how an ordinary client gets to its storage
//
// The systems take turns in an order that changes from round to round, and only neighbours in time are compared. What
// arrives is compared with what was sent, byte by byte, in every transfer. The daemons' peak of resident memory is taken before and
// after: it may not grow with the size.
//
// -size is in MiB. The default is small enough for a test machine; 4096 is the size that the promises are about. -check
// makes a broken promise an exit code.
package main
