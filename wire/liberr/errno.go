package liberr

import (
	"errors"
	"strings"
	"syscall"
)

// Errno returns the text of the system error within err as the C library writes it ("No such file or
// directory"), since that is what libvirt's messages end in; other errors keep their own text.
func Errno(err error) string {
	if err == nil {
		return "Success"
	}
	var n syscall.Errno
	if !errors.As(err, &n) {
		return err.Error()
	}
	if s, ok := cText[n]; ok {
		return s
	}
	s := n.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// cText lists the texts in which the C library and Go differ in more than the first letter.
var cText = map[syscall.Errno]string{
	syscall.EIO:    "Input/output error",
	syscall.EEXIST: "File exists",
	syscall.ENOSPC: "No space left on device",
	syscall.EAGAIN: "Resource temporarily unavailable",
	syscall.ELOOP:  "Too many levels of symbolic links",
	syscall.EXDEV:  "Invalid cross-device link",
	syscall.EDOM:   "Numerical argument out of domain",
}
