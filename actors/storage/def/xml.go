package def

import (
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

const from = liberr.FromStorage

type node = xmltree.Node

// read reads a document whose root must have that name. origin is what libvirt calls a document that came with a call.
func read(doc, root, origin string) (*node, error) {
	return xmltree.Reader{Origin: origin, From: from, Root: root}.Read(doc)
}

func badXML(format string, args ...any) error {
	return liberr.New(from, liberr.XMLError, format, args...)
}

var units = map[byte]uint{'k': 10, 'm': 20, 'g': 30, 't': 40, 'p': 50, 'e': 60}

// scale multiplies a number by its unit, as virScaleInteger does: KiB and K are 1024, KB is 1000.
func scale(n uint64, unit string) (uint64, error) {
	low := strings.ToLower(unit)
	var factor uint64 = 1
	switch {
	case low == "" || low == "b" || low == "byte" || low == "bytes":
		return n, nil
	case units[low[0]] != 0 && (len(low) == 1 || low[1:] == "ib"):
		factor = 1 << units[low[0]]
	case units[low[0]] != 0 && low[1:] == "b":
		for range units[low[0]] / 10 {
			factor *= 1000
		}
	default:
		return 0, liberr.New(liberr.FromNone, liberr.InvalidArg, "unknown suffix '%s'", unit)
	}
	if n > (1<<64-1)/factor {
		return 0, liberr.New(liberr.FromNone, liberr.Overflow, "value too large: %d%s", n, unit)
	}
	return n * factor, nil
}

// size reads a scaled number out of an element.
func size(e *node, what string) (uint64, error) {
	s := strings.TrimSpace(e.Text)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, badXML("malformed %s element", what)
	}
	return scale(n, e.Get("unit"))
}

// cleanPath is libvirt's tidying of a path: no doubled slashes (but two at the front stay), none at the end.
func cleanPath(p string) string {
	lead := ""
	if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
		lead = "/"
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '/' && i > 0 && p[i-1] == '/' {
			continue
		}
		b.WriteByte(p[i])
	}
	out := b.String()
	if len(out) > 1 {
		out = strings.TrimSuffix(out, "/")
	}
	return lead + out
}

// CleanPath is cleanPath for paths that come with calls.
func CleanPath(p string) string { return cleanPath(p) }
