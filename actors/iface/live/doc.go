// Package live makes the kernel's interfaces what their definitions say, and takes that back.
//
// Who does it depends on what runs, because an interface that two masters think theirs is soon nobody's:
//
//   - ifup and ifdown, where they are installed and the configuration is ifupdown's: they keep a list of what is up, run
//     the administrator's scripts and start the DHCP client of the host;
//   - networkctl, where networkd runs and the configuration is its own: it would undo by itself what others change;
//   - else, and always below a --root (both know the host's own files only), the kernel is spoken to directly by netlink:
//     links, their options and ports, addresses, the default route; DHCP by a client that is installed.
//
// All of it is plain code that blocks, for jobs.
package live
