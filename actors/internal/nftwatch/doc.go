// Package nftwatch hears of other programs that remove firewall rules: Docker, firewalld at a reload, an administrator.
//
// The kernel tells of every transaction of nftables, also those of iptables-nft, with the name of the program. Of these
// only what is removed matters here, and only the tables it was in. A driver that has tables of its own starts a watch,
// and puts back what is missing when it is told.
package nftwatch
