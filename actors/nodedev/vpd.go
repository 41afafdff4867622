package nodedev

import (
	"encoding/binary"
	"path/filepath"
	"sort"
	"strings"
)

// A PCI device's vital product data: large items (a tag, a length of two bytes, the data) and an end.
//
//	0x82 name | 0x90 fields that only read | 0x91 fields that may be written | 0x78 end
//
// A field is a keyword of two characters, a length of one byte, and its text. RV holds a byte that makes the sum of all
// bytes up to it 0; RW is the room that is left.
const (
	vpdName  = 0x82
	vpdRead  = 0x90
	vpdWrite = 0x91
	vpdEnd   = 0x78
	vpdLimit = 32 << 10 // its addresses have 15 bits
)

type vpd struct {
	name        string
	read, write map[string]string // nil: there is no such part
}

// readVPD returns nil when there are no data, or they are not as they must be.
func readVPD(dir string) *vpd {
	b, err := readHead(filepath.Join(dir, "vpd"), vpdLimit)
	if err != nil {
		return nil
	}
	return parseVPD(b)
}

func parseVPD(b []byte) *vpd {
	v := &vpd{}
	for at := 0; at < len(b); {
		tag := b[at]
		if tag == vpdEnd {
			if v.read == nil {
				return nil
			}
			return v
		}
		if tag&0x80 == 0 || at+3 > len(b) { // only the end is a small item
			return nil
		}
		size := int(binary.LittleEndian.Uint16(b[at+1:]))
		start := at + 3
		if start+size > len(b) {
			return nil
		}
		data := b[start : start+size]
		switch tag {
		case vpdName:
			text := strings.TrimSpace(string(data))
			if !printable(text) {
				return nil
			}
			v.name = text
		case vpdRead:
			v.read = vpdFields(b, start, size, "RV")
			if v.read == nil {
				return nil
			}
		case vpdWrite:
			v.write = vpdFields(b, start, size, "RW")
			if v.write == nil {
				return nil
			}
		default:
			return nil
		}
		at = start + size
	}
	return nil
}

// vpdFields reads the fields of a part, which must end with the one named last; nil when it does not, or lies about its size.
func vpdFields(b []byte, start, size int, last string) map[string]string {
	fields := map[string]string{}
	for at := start; at+3 <= start+size; {
		key, n := string(b[at:at+2]), int(b[at+2])
		if at+3+n > start+size {
			return nil
		}
		data := b[at+3 : at+3+n]
		switch {
		case key == last && last == "RV":
			sum := byte(0)
			for _, c := range b[:at+4] {
				sum += c
			}
			if n < 1 || sum != 0 {
				return nil
			}
			return fields
		case key == last:
			return fields
		case key == "CP" || key == "FG" || key == "LC" || key == "RM" || key == "PG" || key == "RV" || key == "RW":
		default:
			if text := strings.TrimSpace(string(data)); printable(text) {
				fields[key] = text
			}
		}
		at += 3 + n
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func productData(p *printer, d *device) {
	v := readVPD(d.dir)
	if v == nil {
		return
	}
	end := p.open("capability", "type='vpd'")
	p.text("name", v.name)
	part := func(access string, fields map[string]string, named [][2]string, indexed [][2]string) {
		if fields == nil {
			return
		}
		end := p.open("fields", "access='"+access+"'")
		for _, f := range named {
			p.text(f[1], fields[f[0]])
		}
		keys := make([]string, 0, len(fields))
		for k := range fields {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, prefix := range indexed {
			for _, k := range keys {
				if k[0] == prefix[0][0] && k != "YA" {
					p.line("<%s index='%s'>%s</%s>", prefix[1], escape(k[1:]), escape(fields[k]), prefix[1])
				}
			}
		}
		end()
	}
	part("readonly", v.read, [][2]string{{"EC", "change_level"}, {"MN", "manufacture_id"}, {"PN", "part_number"}, {"SN", "serial_number"}}, [][2]string{{"V", "vendor_field"}})
	part("readwrite", v.write, [][2]string{{"YA", "asset_tag"}}, [][2]string{{"V", "vendor_field"}, {"Y", "system_field"}})
	end()
}
