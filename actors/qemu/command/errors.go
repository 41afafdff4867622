package command

import "virtree/wire/liberr"

// unsupported is the answer to what this QEMU, or QEMU at all, cannot do.
func unsupported(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, format, args...)
}

// internal is the answer to a definition that should not have come this far.
func internal(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.InternalError, format, args...)
}
