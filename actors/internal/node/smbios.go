package node

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// Entry is a named value of a block.
type Entry struct{ Name, Value string }

// SysinfoBlock is one element of the sysinfo document: "bios", "system", "baseBoard", ...
type SysinfoBlock struct {
	Name    string
	Entries []Entry
}

// maxSMBIOS bounds the tables; the kernel's own limit is far lower.
const maxSMBIOS = 1 << 20

// Sysinfo is virConnectGetSysinfo: what the firmware says of the machine, in libvirt's form.
func (n Node) Sysinfo() (string, error) {
	raw, err := n.smbios()
	if err != nil {
		return "", liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "Host SMBIOS information is not available")
	}
	return formatSysinfo(sysinfoBlocks(parseSMBIOS(raw))), nil
}

func (n Node) smbios() ([]byte, error) {
	b, err := os.ReadFile(n.path("/sys/firmware/dmi/tables/DMI"))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSMBIOS {
		b = b[:maxSMBIOS]
	}
	return b, nil
}

// structure is one SMBIOS structure: its formatted area with header, and its strings.
type structure struct {
	kind    byte
	data    []byte
	strings []string
}

// parseSMBIOS cuts the table into structures. It stops where the table is damaged.
func parseSMBIOS(b []byte) []structure {
	var list []structure
	for len(b) >= 4 {
		kind, length := b[0], int(b[1])
		if length < 4 || length > len(b) {
			break
		}
		s := structure{kind: kind, data: b[:length]}
		b = b[length:]
		// Strings end with a zero each; a further zero ends the set, and an empty set is two zeros.
		for {
			end := strings.IndexByte(string(b), 0)
			if end < 0 {
				return list
			}
			text := b[:end]
			b = b[end+1:]
			if len(text) == 0 {
				break
			}
			s.strings = append(s.strings, string(text))
		}
		if len(s.strings) == 0 && len(b) > 0 && b[0] == 0 {
			b = b[1:]
		}
		list = append(list, s)
		if kind == 127 {
			break
		}
	}
	return list
}

func (s structure) byteAt(off int) byte {
	if off < len(s.data) {
		return s.data[off]
	}
	return 0
}

func (s structure) wordAt(off int) uint16 {
	if off+2 <= len(s.data) {
		return binary.LittleEndian.Uint16(s.data[off:])
	}
	return 0
}

func (s structure) longAt(off int) uint32 {
	if off+4 <= len(s.data) {
		return binary.LittleEndian.Uint32(s.data[off:])
	}
	return 0
}

// text is the string that the byte at off numbers, with unprintable bytes made dots as dmidecode does.
func (s structure) text(off int) string {
	if off >= len(s.data) {
		return ""
	}
	i := int(s.data[off])
	if i == 0 {
		return "Not Specified"
	}
	if i > len(s.strings) {
		return "<BAD INDEX>"
	}
	b := []byte(s.strings[i-1])
	for j, c := range b {
		if c < 32 || c >= 127 {
			b[j] = '.'
		}
	}
	return strings.TrimSpace(string(b))
}

// field is an entry whose value is a string of the structure.
type field struct {
	name string
	off  int
}

func (s structure) block(name string, fields ...field) SysinfoBlock {
	b := SysinfoBlock{Name: name}
	for _, f := range fields {
		b.add(f.name, s.text(f.off))
	}
	return b
}

func (b *SysinfoBlock) add(name, value string) {
	if value != "" {
		b.Entries = append(b.Entries, Entry{name, value})
	}
}

// sysinfoBlocks picks what libvirt shows: firmware, system, the first chassis, all boards, processors and memory.
func sysinfoBlocks(list []structure) []SysinfoBlock {
	var blocks []SysinfoBlock
	each := func(kind byte, once bool, f func(structure) (SysinfoBlock, bool)) {
		for _, s := range list {
			if s.kind != kind {
				continue
			}
			if b, ok := f(s); ok && len(b.Entries) > 0 {
				blocks = append(blocks, b)
			}
			if once {
				return
			}
		}
	}
	each(0, true, func(s structure) (SysinfoBlock, bool) {
		b := s.block("bios", field{"vendor", 4}, field{"version", 5}, field{"date", 8})
		if major, minor := s.byteAt(0x14), s.byteAt(0x15); len(s.data) > 0x15 && major != 0xff && minor != 0xff {
			b.add("release", fmt.Sprintf("%d.%d", major, minor))
		}
		return b, true
	})
	each(1, true, func(s structure) (SysinfoBlock, bool) {
		b := s.block("system", field{"manufacturer", 4}, field{"product", 5}, field{"version", 6}, field{"serial", 7})
		b.add("uuid", s.uuid(8))
		b.add("sku", s.text(0x19))
		b.add("family", s.text(0x1a))
		return b, true
	})
	each(2, false, func(s structure) (SysinfoBlock, bool) {
		return s.block("baseBoard", field{"manufacturer", 4}, field{"product", 5}, field{"version", 6}, field{"serial", 7},
			field{"asset", 8}, field{"location", 0xa}), true
	})
	each(3, true, func(s structure) (SysinfoBlock, bool) {
		b := s.block("chassis", field{"manufacturer", 4}, field{"version", 6}, field{"serial", 7}, field{"asset", 8})
		// The SKU follows the list of what the chassis contains.
		sku := 0x15 + int(s.byteAt(0x13))*int(s.byteAt(0x14))
		if len(s.data) > sku && len(s.data) > 0x15 {
			b.add("sku", s.text(sku))
		}
		return b, true
	})
	each(4, false, func(s structure) (SysinfoBlock, bool) { return s.processor(), true })
	each(17, false, func(s structure) (SysinfoBlock, bool) { return s.memoryDevice() })
	each(11, true, func(s structure) (SysinfoBlock, bool) {
		b := SysinfoBlock{Name: "oemStrings"}
		for _, text := range s.strings {
			b.Entries = append(b.Entries, Entry{"", text})
		}
		return b, true
	})
	return blocks
}

// uuid of SMBIOS 2.6 and later: the first three fields have their low byte first.
func (s structure) uuid(off int) string {
	if off+16 > len(s.data) {
		return ""
	}
	u := s.data[off : off+16]
	if strings.Count(string(u), "\x00") == 16 {
		return "Not Settable"
	}
	if strings.Count(string(u), "\xff") == 16 {
		return "Not Present"
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(u), binary.LittleEndian.Uint16(u[4:]),
		binary.LittleEndian.Uint16(u[6:]), u[8:10], u[10:])
}

func pick(list []string, i int) string {
	if i >= 0 && i < len(list) && list[i] != "" {
		return list[i]
	}
	return "<OUT OF SPEC>"
}

var processorTypes = []string{1: "Other", 2: "Unknown", 3: "Central Processor", 4: "Math Processor", 5: "DSP Processor", 6: "Video Processor"}

var processorStates = []string{0: "Unknown", 1: "Enabled", 2: "Disabled By User", 3: "Disabled By BIOS", 4: "Idle", 7: "Other"}

// processorFamilies are those of machines that can run KVM, and the placeholders.
var processorFamilies = map[uint16]string{
	0x01: "Other", 0x02: "Unknown", 0x28: "Core Duo", 0x2b: "Atom", 0x2c: "Core M", 0x2d: "Core m3", 0x2e: "Core m5",
	0x2f: "Core m7", 0x38: "Turion II Ultra Dual-Core Mobile M", 0x3b: "Athlon II Dual-Core M", 0x3c: "Opteron 6100",
	0x3d: "Opteron 4100", 0x3e: "Opteron 6200", 0x3f: "Opteron 4200", 0x46: "C-Series", 0x47: "E-Series", 0x48: "A-Series",
	0x49: "G-Series", 0x4a: "Z-Series", 0x4d: "Opteron 6300", 0x4e: "Opteron 3300", 0x6b: "Zen", 0x83: "Athlon 64",
	0x84: "Opteron", 0x8c: "Phenom", 0x8d: "Embedded Opteron", 0x8e: "Phenom Triple-Core", 0xa1: "Quad-Core Xeon 3200",
	0xa2: "Dual-Core Xeon 3000", 0xa3: "Quad-Core Xeon 5300", 0xa4: "Dual-Core Xeon 5100", 0xa8: "Dual-Core Xeon 7100",
	0xac: "Quad-Core Xeon 5400", 0xad: "Quad-Core Xeon", 0xb3: "Xeon", 0xbf: "Core 2 Duo", 0xc0: "Core 2 Solo",
	0xc1: "Core 2 Extreme", 0xc2: "Core 2 Quad", 0xc6: "Core i7", 0xc7: "Dual-Core Celeron", 0xcd: "Core i5", 0xce: "Core i3",
	0xcf: "Core i9", 0xd6: "Multi-Core Xeon", 0x100: "ARMv7", 0x101: "ARMv8",
}

func (s structure) processor() SysinfoBlock {
	b := SysinfoBlock{Name: "processor"}
	b.add("socket_destination", s.text(4))
	b.add("type", pick(processorTypes, int(s.byteAt(5))))
	family := uint16(s.byteAt(6))
	if family == 0xfe && len(s.data) >= 0x2a {
		family = s.wordAt(0x28)
	}
	name, ok := processorFamilies[family]
	if !ok {
		name = fmt.Sprintf("0x%X", family)
	}
	b.add("family", name)
	b.add("manufacturer", s.text(7))
	b.add("signature", s.signature(family))
	b.add("version", s.text(0x10))
	clock := func(mhz uint16) string {
		if mhz == 0 {
			return "Unknown"
		}
		return fmt.Sprintf("%d MHz", mhz)
	}
	b.add("external_clock", clock(s.wordAt(0x12)))
	b.add("max_speed", clock(s.wordAt(0x14)))
	if state := s.byteAt(0x18); state&0x40 != 0 {
		b.add("status", "Populated, "+pick(processorStates, int(state&7)))
	} else {
		b.add("status", "Unpopulated")
	}
	b.add("serial_number", s.text(0x20))
	b.add("part_number", s.text(0x22))
	return b
}

// signature is the processor's CPUID in words, which differ by maker.
func (s structure) signature(family uint16) string {
	eax := s.longAt(8)
	in := func(ranges ...uint16) bool {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= family && family <= ranges[i+1] {
				return true
			}
		}
		return false
	}
	intel := in(0x0b, 0x15, 0x28, 0x2f, 0xa1, 0xb3, 0xb5, 0xb5, 0xb9, 0xc7, 0xcd, 0xcf, 0xd2, 0xdb, 0xdd, 0xe0)
	amd := in(0x18, 0x1d, 0x1f, 0x1f, 0x38, 0x3f, 0x46, 0x4f, 0x66, 0x6b, 0x83, 0x8f, 0xb6, 0xb7, 0xe4, 0xef)
	if family == 1 || family == 2 { // not told: the maker's name in the version decides
		version := s.text(0x10)
		intel = strings.HasPrefix(version, "Intel") || strings.HasPrefix(version, "Pentium III MMX")
		amd = strings.HasPrefix(version, "AMD")
	}
	number := eax>>8&15 + eax>>20&0xff
	model := eax>>4&15 | eax>>12&0xf0
	switch {
	case intel:
		return fmt.Sprintf("Type %d, Family %d, Model %d, Stepping %d", eax>>12&3, number, model, eax&15)
	case amd:
		if eax>>8&15 != 15 { // the high parts count for the last family only
			number, model = eax>>8&15, eax>>4&15
		}
		return fmt.Sprintf("Family %d, Model %d, Stepping %d", number, model, eax&15)
	}
	return ""
}

var memoryForms = []string{1: "Other", 2: "Unknown", 3: "SIMM", 4: "SIP", 5: "Chip", 6: "DIP", 7: "ZIP", 8: "Proprietary Card",
	9: "DIMM", 10: "TSOP", 11: "Row Of Chips", 12: "RIMM", 13: "SODIMM", 14: "SRIMM", 15: "FB-DIMM", 16: "Die"}

var memoryTypes = []string{1: "Other", 2: "Unknown", 3: "DRAM", 4: "EDRAM", 5: "VRAM", 6: "SRAM", 7: "RAM", 8: "ROM", 9: "Flash",
	10: "EEPROM", 11: "FEPROM", 12: "EPROM", 13: "CDRAM", 14: "3DRAM", 15: "SDRAM", 16: "SGRAM", 17: "RDRAM", 18: "DDR",
	19: "DDR2", 20: "DDR2 FB-DIMM", 21: "Reserved", 22: "Reserved", 23: "Reserved", 24: "DDR3", 25: "FBD2", 26: "DDR4",
	27: "LPDDR", 28: "LPDDR2", 29: "LPDDR3", 30: "LPDDR4", 31: "Logical non-volatile device", 32: "HBM", 33: "HBM2",
	34: "DDR5", 35: "LPDDR5"}

var memoryDetails = []string{1: "Other", 2: "Unknown", 3: "Fast-paged", 4: "Static Column", 5: "Pseudo-static", 6: "RAMBus",
	7: "Synchronous", 8: "CMOS", 9: "EDO", 10: "Window DRAM", 11: "Cache DRAM", 12: "Non-Volatile",
	13: "Registered (Buffered)", 14: "Unbuffered (Unregistered)", 15: "LRDIMM"}

func (s structure) memoryDevice() (SysinfoBlock, bool) {
	b := SysinfoBlock{Name: "memory_device"}
	switch size := s.wordAt(0xc); {
	case size == 0:
		return b, false // an empty slot
	case size == 0xffff:
		b.add("size", "Unknown")
	case size == 0x7fff && len(s.data) >= 0x20:
		mib := s.longAt(0x1c) & 0x7fffffff
		switch {
		case mib&0x3ff != 0:
			b.add("size", fmt.Sprintf("%d MB", mib))
		case mib&0xfffff != 0:
			b.add("size", fmt.Sprintf("%d GB", mib>>10))
		default:
			b.add("size", fmt.Sprintf("%d TB", mib>>20))
		}
	case size&0x8000 != 0:
		b.add("size", fmt.Sprintf("%d kB", size&0x7fff))
	case size&0x3ff != 0:
		b.add("size", fmt.Sprintf("%d MB", size))
	default:
		b.add("size", fmt.Sprintf("%d GB", size>>10))
	}
	b.add("form_factor", pick(memoryForms, int(s.byteAt(0xe))))
	b.add("locator", s.text(0x10))
	b.add("bank_locator", s.text(0x11))
	b.add("type", pick(memoryTypes, int(s.byteAt(0x12))))
	var details []string
	for i, name := range memoryDetails {
		if name != "" && s.wordAt(0x13)>>i&1 != 0 {
			details = append(details, name)
		}
	}
	if len(details) == 0 {
		details = []string{"None"}
	}
	b.add("type_detail", strings.Join(details, " "))
	if len(s.data) > 0x16 {
		speed := "Unknown"
		if v := s.wordAt(0x15); v != 0 {
			speed = fmt.Sprintf("%d MT/s", v)
		}
		b.add("speed", speed)
	}
	b.add("manufacturer", s.text(0x17))
	b.add("serial_number", s.text(0x18))
	b.add("part_number", s.text(0x1a))
	return b, true
}

func formatSysinfo(blocks []SysinfoBlock) string {
	var b strings.Builder
	b.WriteString("<sysinfo type='smbios'>\n")
	for _, block := range blocks {
		fmt.Fprintf(&b, "  <%s>\n", block.Name)
		for _, e := range block.Entries {
			if e.Name == "" {
				fmt.Fprintf(&b, "    <entry>%s</entry>\n", xmltree.Escape(e.Value))
				continue
			}
			fmt.Fprintf(&b, "    <entry name='%s'>%s</entry>\n", e.Name, xmltree.Escape(e.Value))
		}
		fmt.Fprintf(&b, "  </%s>\n", block.Name)
	}
	b.WriteString("</sysinfo>\n")
	return b.String()
}
