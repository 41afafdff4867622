package nftwatch

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Watch is a running watch. A nil one does nothing.
type Watch struct {
	stop chan struct{}
	name string // of this process, as the kernel knows it
}

// retry is the wait after the kernel ended a watch, as it does when it could not keep up.
const retry = time.Second

// Start watches until Close. touched is called from a goroutine with the tables from which another program has removed
// something in one transaction; without any when anything may have happened: at the start, and when news were lost.
func Start(log zerolog.Logger, touched func(tables []string)) *Watch {
	w := &Watch{stop: make(chan struct{})}
	if name, err := os.ReadFile("/proc/self/comm"); err == nil {
		w.name = strings.TrimSpace(string(name))
	}
	go func() {
		for {
			err := w.listen(touched)
			if errors.Is(err, os.ErrPermission) {
				log.Warn().Err(err).Msg("cannot watch the firewall")
				return
			}
			select {
			case <-w.stop:
				return
			case <-time.After(retry):
			}
		}
	}()
	return w
}

// Close ends the watch; it may be called more than once.
func (w *Watch) Close() {
	if w == nil {
		return
	}
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
}

// bufferSize is more than one message of the kernel's.
const bufferSize = 1 << 18

// listen reads until the watch is closed or fails.
func (w *Watch) listen(touched func(tables []string)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "nftables")
	defer f.Close()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16*bufferSize) // else the default
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-w.stop:
			f.Close()
		case <-done:
		}
	}()
	touched(nil)
	var t transaction
	buffer := make([]byte, bufferSize)
	for {
		n, err := f.Read(buffer)
		if err != nil {
			return err
		}
		for _, tables := range t.read(buffer[:n], w.name) {
			touched(tables)
		}
	}
}

// transaction collects what the kernel says of one: removals, then who it was.
type transaction struct{ tables []string }

// Sizes of headers, and the number of the attribute that names the table in all messages that matter.
const (
	familyHeader = 4
	attrHeader   = 4
	attrTable    = 1
)

// read takes a packet and returns the tables that other programs than own removed something from, by transaction.
func (t *transaction) read(b []byte, own string) (out [][]string) {
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			break
		}
		body := b[unix.NLMSG_HDRLEN:size]
		b = b[min(align(size), len(b)):]
		if kind>>8 != unix.NFNL_SUBSYS_NFTABLES || len(body) < familyHeader {
			continue
		}
		switch kind & 0xff {
		case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
			if name := attr(body[familyHeader:], attrTable); len(t.tables) == 0 || t.tables[len(t.tables)-1] != name {
				t.tables = append(t.tables, name)
			}
		case unix.NFT_MSG_NEWGEN:
			if len(t.tables) > 0 && (own == "" || attr(body[familyHeader:], unix.NFTA_GEN_PROC_NAME) != own) {
				out = append(out, t.tables)
			}
			t.tables = nil
		}
	}
	return out
}

// attr is an attribute's text.
func attr(b []byte, kind uint16) string {
	for len(b) >= attrHeader {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrHeader || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED == kind {
			return strings.TrimRight(string(b[attrHeader:size]), "\x00")
		}
		b = b[min(align(size), len(b)):]
	}
	return ""
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
