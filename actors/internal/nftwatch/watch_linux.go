package nftwatch

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Watch is a running watch. A nil one does nothing.
type Watch struct{ stop chan struct{} }

// retry is the wait after the kernel ended a watch, as it does when it could not keep up.
const retry = time.Second

// Start watches until Close. touched is called from a goroutine with the tables from which another program has removed
// something in one transaction; without any when anything may have happened: at the start, and when news were lost.
func Start(log zerolog.Logger, touched func(tables []string)) *Watch {
	w := &Watch{stop: make(chan struct{})}
	own := self()
	go func() {
		for {
			err := w.listen(own, touched)
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

// initPIDs is the inode of the first PID namespace, to which the kernel's numbers of processes belong.
const initPIDs = "pid:[4026531836]"

// self makes what tells this process, by the name and the number of the thread that the kernel tells. In a PID namespace
// of our own the number says nothing.
func self() func(name string, thread uint32) bool {
	own, _ := os.ReadFile("/proc/self/comm")
	pids, _ := os.Readlink("/proc/self/ns/pid")
	return func(name string, thread uint32) bool {
		if name != strings.TrimSpace(string(own)) {
			return false
		}
		if pids != initPIDs {
			return true
		}
		_, err := os.Stat("/proc/self/task/" + strconv.FormatUint(uint64(thread), 10))
		return err == nil
	}
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
func (w *Watch) listen(own func(string, uint32) bool, touched func(tables []string)) error {
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
		for _, tables := range t.read(buffer[:n], own) {
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

// read takes a packet and returns the tables from which something was removed, by transaction, but not by ourselves.
func (t *transaction) read(b []byte, own func(name string, thread uint32) bool) (out [][]string) {
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
			if name := text(body[familyHeader:], attrTable); len(t.tables) == 0 || t.tables[len(t.tables)-1] != name {
				t.tables = append(t.tables, name)
			}
		case unix.NFT_MSG_NEWGEN:
			if len(t.tables) > 0 && !own(text(body[familyHeader:], unix.NFTA_GEN_PROC_NAME), number(body[familyHeader:], unix.NFTA_GEN_PROC_PID)) {
				out = append(out, t.tables)
			}
			t.tables = nil
		}
	}
	return out
}

func text(b []byte, kind uint16) string { return strings.TrimRight(string(attr(b, kind)), "\x00") }

func number(b []byte, kind uint16) uint32 {
	if v := attr(b, kind); len(v) == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// attr is an attribute's value; nil when it is missing.
func attr(b []byte, kind uint16) []byte {
	for len(b) >= attrHeader {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrHeader || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED == kind {
			return b[attrHeader:size]
		}
		b = b[min(align(size), len(b)):]
	}
	return nil
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
