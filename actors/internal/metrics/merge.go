package metrics

import (
	"bytes"
	"maps"
	"slices"
)

// block is a family on one page or more.
type block struct {
	head []byte // its HELP and TYPE lines, as the first page has them
	body [][]byte
}

// Merge makes one page of the pages of several processes: a name may head only one block. The pages are ours, so that
// their lines need not be understood: a comment names the family of the lines behind it.
func Merge(pages [][]byte) []byte {
	families, size := map[string]*block{}, 0
	for _, page := range pages {
		size += len(page)
		for len(page) > 0 {
			head, rest := cut(page, true)
			body, rest := cut(rest, false)
			page = rest
			name := nameOf(head)
			f := families[name]
			if f == nil {
				f = &block{head: head}
				families[name] = f
			}
			f.body = append(f.body, body)
		}
	}
	out := make([]byte, 0, size)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		out = append(out, f.head...)
		for _, b := range f.body {
			out = append(out, b...)
		}
	}
	return out
}

// cut splits off the lines at the start of a page that are comments, or those that are not. Comments about another
// family than the first one's stay.
func cut(page []byte, comments bool) (lines, rest []byte) {
	name := ""
	end := 0
	for end < len(page) && (page[end] == '#') == comments {
		stop := len(page)
		if i := bytes.IndexByte(page[end:], '\n'); i >= 0 {
			stop = end + i + 1
		}
		if comments {
			n := nameOf(page[end:stop])
			if name != "" && n != name {
				break
			}
			name = n
		}
		end = stop
	}
	return page[:end], page[end:]
}

// nameOf is the family that a comment is about: its third word.
func nameOf(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if f := bytes.Fields(line); len(f) > 2 {
		return string(f[2])
	}
	return ""
}
