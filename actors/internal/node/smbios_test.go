package node

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// smbiosStructure builds one: the formatted area after the header, then the strings.
func smbiosStructure(kind byte, handle uint16, body []byte, texts ...string) []byte {
	b := append([]byte{kind, byte(4 + len(body)), byte(handle), byte(handle >> 8)}, body...)
	for _, s := range texts {
		b = append(append(b, s...), 0)
	}
	if len(texts) == 0 {
		b = append(b, 0)
	}
	return append(b, 0)
}

func machineTable() []byte {
	var b []byte
	bios := make([]byte, 0x14)
	bios[0], bios[1], bios[4] = 1, 2, 3
	bios[0x10], bios[0x11], bios[0x12], bios[0x13] = 2, 17, 0xff, 0xff
	b = append(b, smbiosStructure(0, 0, bios, "SeaBIOS", "1.16.2-debian", "04/01/2014")...)
	system := make([]byte, 0x17)
	system[0], system[1], system[2], system[3] = 1, 2, 3, 4
	copy(system[4:], []byte{0x69, 0xc3, 0x2f, 0x4a, 0xc6, 0x52, 0x94, 0x4c, 0x81, 0xc9, 0x83, 0x3f, 0xed, 0xbc, 0x8f, 0x9a})
	system[0x15], system[0x16] = 5, 6
	b = append(b, smbiosStructure(1, 0x100, system, "QEMU <&>", "Standard PC", "pc-i440fx-7.2", "S 1", "sku7", "fam")...)
	b = append(b, smbiosStructure(2, 0x200, []byte{1, 2, 3, 4, 5, 1, 6, 0, 3, 10, 0}, "Maker", "Board", "v1", "B-1", "tag", "slot")...)
	chassis := []byte{1, 1, 2, 3, 4, 3, 3, 3, 2, 0, 0, 0, 0, 0, 1, 0, 0, 5}
	b = append(b, smbiosStructure(3, 0x300, chassis, "Maker", "cv", "C-1", "ca", "csku")...)
	cpu := make([]byte, 0x26)
	cpu[0], cpu[1], cpu[2], cpu[3] = 1, 3, 0x6b, 2
	binary.LittleEndian.PutUint32(cpu[4:], 0x00a00f11)
	cpu[0xc] = 3
	binary.LittleEndian.PutUint16(cpu[0xe:], 100)
	binary.LittleEndian.PutUint16(cpu[0x10:], 2450)
	cpu[0x14] = 0x41
	cpu[0x1c], cpu[0x1e] = 4, 5
	b = append(b, smbiosStructure(4, 0x400, cpu, "CPU 0", "AMD", "EPYC", "P-1", "PN")...)
	memory := make([]byte, 0x1e)
	binary.LittleEndian.PutUint16(memory[8:], 16384)
	memory[0xa] = 9
	memory[0xc], memory[0xd] = 1, 2
	memory[0xe] = 0x1a
	binary.LittleEndian.PutUint16(memory[0xf:], 1<<7|1<<13)
	binary.LittleEndian.PutUint16(memory[0x11:], 3200)
	memory[0x13], memory[0x14], memory[0x16] = 3, 4, 5
	b = append(b, smbiosStructure(17, 0x1100, memory, "DIMM 0", "BANK 0", "Samsung", "M-1", "MP")...)
	empty := make([]byte, 0x1e)
	empty[0xc] = 1
	b = append(b, smbiosStructure(17, 0x1101, empty, "DIMM 1")...)
	b = append(b, smbiosStructure(11, 0xb00, []byte{2}, "hello", "world")...)
	return append(b, smbiosStructure(127, 0x7f00, nil)...)
}

const machineXML = `<sysinfo type='smbios'>
  <bios>
    <entry name='vendor'>SeaBIOS</entry>
    <entry name='version'>1.16.2-debian</entry>
    <entry name='date'>04/01/2014</entry>
    <entry name='release'>2.17</entry>
  </bios>
  <system>
    <entry name='manufacturer'>QEMU &lt;&amp;&gt;</entry>
    <entry name='product'>Standard PC</entry>
    <entry name='version'>pc-i440fx-7.2</entry>
    <entry name='serial'>S 1</entry>
    <entry name='uuid'>4a2fc369-52c6-4c94-81c9-833fedbc8f9a</entry>
    <entry name='sku'>sku7</entry>
    <entry name='family'>fam</entry>
  </system>
  <baseBoard>
    <entry name='manufacturer'>Maker</entry>
    <entry name='product'>Board</entry>
    <entry name='version'>v1</entry>
    <entry name='serial'>B-1</entry>
    <entry name='asset'>tag</entry>
    <entry name='location'>slot</entry>
  </baseBoard>
  <chassis>
    <entry name='manufacturer'>Maker</entry>
    <entry name='version'>cv</entry>
    <entry name='serial'>C-1</entry>
    <entry name='asset'>ca</entry>
    <entry name='sku'>csku</entry>
  </chassis>
  <processor>
    <entry name='socket_destination'>CPU 0</entry>
    <entry name='type'>Central Processor</entry>
    <entry name='family'>Zen</entry>
    <entry name='manufacturer'>AMD</entry>
    <entry name='signature'>Family 25, Model 1, Stepping 1</entry>
    <entry name='version'>EPYC</entry>
    <entry name='external_clock'>100 MHz</entry>
    <entry name='max_speed'>2450 MHz</entry>
    <entry name='status'>Populated, Enabled</entry>
    <entry name='serial_number'>P-1</entry>
    <entry name='part_number'>PN</entry>
  </processor>
  <memory_device>
    <entry name='size'>16 GB</entry>
    <entry name='form_factor'>DIMM</entry>
    <entry name='locator'>DIMM 0</entry>
    <entry name='bank_locator'>BANK 0</entry>
    <entry name='type'>DDR4</entry>
    <entry name='type_detail'>Synchronous Registered (Buffered)</entry>
    <entry name='speed'>3200 MT/s</entry>
    <entry name='manufacturer'>Samsung</entry>
    <entry name='serial_number'>M-1</entry>
    <entry name='part_number'>MP</entry>
  </memory_device>
  <oemStrings>
    <entry>hello</entry>
    <entry>world</entry>
  </oemStrings>
</sysinfo>
`

func TestSysinfo(t *testing.T) {
	n := tree(t, nil)
	dir := n.path("/sys/firmware/dmi/tables")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "DMI"), machineTable(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := n.Sysinfo()
	if err != nil || got != machineXML {
		t.Errorf("%v\n%s", err, got)
	}
}

// libvirt has its words from dmidecode, so each value must be one of dmidecode's for the same table.
func TestSysinfoHasDmidecodesWords(t *testing.T) {
	if _, err := exec.LookPath("dmidecode"); err != nil {
		t.Skip("no dmidecode on this host")
	}
	table := machineTable()
	dump := make([]byte, 32, 32+len(table))
	copy(dump, "_SM3_")
	dump[6], dump[7], dump[8] = 0x18, 3, 2
	dump[10] = 1
	binary.LittleEndian.PutUint32(dump[12:], uint32(len(table)))
	binary.LittleEndian.PutUint64(dump[16:], 32)
	var sum byte
	for _, c := range dump[:0x18] {
		sum += c
	}
	dump[5] = -sum
	file := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(file, append(dump, table...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("dmidecode", "-q", "-t", "0,1,2,3,4,11,17", "--from-dump", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, b := range sysinfoBlocks(parseSMBIOS(table)) {
		for _, e := range b.Entries {
			if !bytes.Contains(out, []byte(e.Value+"\n")) {
				t.Errorf("%s %s: %q is not in dmidecode's output:\n%s", b.Name, e.Name, e.Value, out)
			}
		}
	}
}

func FuzzSMBIOS(f *testing.F) {
	f.Add(machineTable())
	f.Add([]byte{4, 4, 0, 0})
	f.Fuzz(func(t *testing.T, table []byte) { formatSysinfo(sysinfoBlocks(parseSMBIOS(table))) })
}
