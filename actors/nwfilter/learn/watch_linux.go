package learn

import (
	"encoding/binary"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Watch is a packet socket on a link.
type Watch struct {
	file     *os.File
	index    int
	guest    MAC
	onlyDHCP bool
	below    bool
}

// ErrGone tells that the link is not there any more, or that the watch was closed.
var ErrGone = errors.New("the link is gone")

// Open watches a link for a guest's address. onlyDHCP lets the kernel pass on nothing but DHCP. A link that is below the
// guest's sends what the guest's receives.
func Open(link string, guest MAC, onlyDHCP, below bool) (*Watch, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil, ErrGone
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // of no protocol until the filter is in place
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	w := &Watch{file: os.NewFile(uintptr(fd), link), index: i.Index, guest: guest, onlyDHCP: onlyDHCP, below: below}
	program := filter(onlyDHCP)
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: i.Index})
	}
	if err != nil {
		w.file.Close()
		return nil, os.NewSyscallError("watch "+link, err)
	}
	return w, nil
}

// Close ends the watch and Next.
func (w *Watch) Close() { _ = w.file.Close() }

// Next waits for the next packet that says something.
func (w *Watch) Next() (Seen, error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return Seen{}, ErrGone
	}
	frame := make([]byte, 2048)
	for {
		var n int
		var sender unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, sender, failed = unix.Recvfrom(int(fd), frame, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		switch {
		case err != nil: // closed
			return Seen{}, ErrGone
		case errors.Is(failed, unix.EINTR):
			continue
		case errors.Is(failed, unix.ENETDOWN), errors.Is(failed, unix.ENXIO), errors.Is(failed, unix.ENODEV):
			if _, err := net.InterfaceByIndex(w.index); err != nil {
				return Seen{}, ErrGone
			}
			continue // it was set down, and may be set up again
		case failed != nil:
			return Seen{}, os.NewSyscallError("recvfrom", failed)
		}
		from, ok := sender.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		if s, ok := Parse(frame[:min(n, len(frame))], (from.Pkttype == unix.PACKET_OUTGOING) != w.below, w.guest, w.onlyDHCP); ok {
			return s, nil
		}
	}
}

// filter is what the kernel is to pass on: IPv4 and ARP, or of IPv4 what is UDP from the ports of DHCP.
func filter(onlyDHCP bool) []unix.SockFilter {
	const (
		load16 = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		load8  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		bits   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give   = unix.BPF_RET | unix.BPF_K
		header = unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH
		index  = unix.BPF_LD | unix.BPF_H | unix.BPF_IND
		all    = 0x40000
	)
	if !onlyDHCP {
		return []unix.SockFilter{
			{Code: load16, K: 12},
			{Code: equal, K: etherIPv4, Jt: 1},
			{Code: equal, K: etherARP, Jf: 1},
			{Code: give, K: all},
			{Code: give, K: 0},
		}
	}
	return []unix.SockFilter{
		{Code: load16, K: 12},
		{Code: equal, K: etherIPv4, Jf: 9},
		{Code: load8, K: etherHeader + 9},
		{Code: equal, K: protoUDP, Jf: 7},
		{Code: load16, K: etherHeader + 6},
		{Code: bits, K: 0x1fff, Jt: 5},
		{Code: header, K: etherHeader},
		{Code: index, K: etherHeader}, // the source port
		{Code: equal, K: portServer, Jt: 1},
		{Code: equal, K: portClient, Jf: 1},
		{Code: give, K: all},
		{Code: give, K: 0},
	}
}
