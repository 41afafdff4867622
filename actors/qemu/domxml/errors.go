package domxml

import (
	"virtree/wire/liberr"
)

func xmlError(format string, args ...any) error {
	return liberr.New(liberr.FromDomain, liberr.XMLError, format, args...)
}

func unsupported(format string, args ...any) error {
	return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, format, args...)
}

func qemuUnsupported(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, format, args...)
}

func internalError(format string, args ...any) error {
	return liberr.New(liberr.FromDomain, liberr.InternalError, format, args...)
}

func noSource(device string) error {
	return liberr.New(liberr.FromDomain, liberr.NoSource, "%s", device)
}

func noTarget(source string) error {
	if source == "" {
		return liberr.Plain(liberr.FromDomain, liberr.NoTarget)
	}
	return liberr.New(liberr.FromDomain, liberr.NoTarget, "%s", source)
}
