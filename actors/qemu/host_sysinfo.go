package qemu

import (
	"context"
	"os/exec"
	"strings"
)

// sysinfoSection is one kind of record that dmidecode prints, and the element it becomes.
type sysinfoSection struct {
	title, element string
	entries        [][2]string // dmidecode's name, ours
}

// sysinfoSections are in the order in which the document lists them.
var sysinfoSections = []sysinfoSection{
	{"BIOS Information", "bios", [][2]string{
		{"Vendor", "vendor"}, {"Version", "version"}, {"Release Date", "date"}, {"BIOS Revision", "release"}}},
	{"System Information", "system", [][2]string{
		{"Manufacturer", "manufacturer"}, {"Product Name", "product"}, {"Version", "version"}, {"Serial Number", "serial"},
		{"UUID", "uuid"}, {"SKU Number", "sku"}, {"Family", "family"}}},
	{"Base Board Information", "baseBoard", [][2]string{
		{"Manufacturer", "manufacturer"}, {"Product Name", "product"}, {"Version", "version"}, {"Serial Number", "serial"},
		{"Asset Tag", "asset"}, {"Location In Chassis", "location"}}},
	{"Chassis Information", "chassis", [][2]string{
		{"Manufacturer", "manufacturer"}, {"Version", "version"}, {"Serial Number", "serial"}, {"Asset Tag", "asset"}, {"SKU Number", "sku"}}},
	{"Processor Information", "processor", [][2]string{
		{"Socket Designation", "socket_destination"}, {"Type", "type"}, {"Family", "family"}, {"Manufacturer", "manufacturer"},
		{"Signature", "signature"}, {"Version", "version"}, {"External Clock", "external_clock"}, {"Max Speed", "max_speed"},
		{"Status", "status"}, {"Serial Number", "serial_number"}, {"Part Number", "part_number"}}},
	{"Memory Device", "memory_device", [][2]string{
		{"Size", "size"}, {"Form Factor", "form_factor"}, {"Locator", "locator"}, {"Bank Locator", "bank_locator"}, {"Type", "type"},
		{"Type Detail", "type_detail"}, {"Speed", "speed"}, {"Manufacturer", "manufacturer"}, {"Serial Number", "serial_number"},
		{"Part Number", "part_number"}}},
}

// readSysinfo asks dmidecode for the host's SMBIOS tables; ok is false on a host that has none.
func readSysinfo(ctx context.Context) (doc string, ok bool) {
	out, err := exec.CommandContext(ctx, "dmidecode", "-q", "-t", "0,1,2,3,4,11,17").Output()
	if err != nil {
		return "", false
	}
	return sysinfoDocument(string(out))
}

// sysinfoDocument turns dmidecode's text into libvirt's document.
func sysinfoDocument(text string) (doc string, ok bool) {
	records := map[string][]map[string]string{}
	var oem []string
	var title string
	var fields map[string]string
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			continue
		}
		if line[0] != '\t' {
			title, fields = strings.TrimSpace(line), map[string]string{}
			records[title] = append(records[title], fields)
			continue
		}
		name, value, found := strings.Cut(strings.TrimSpace(line), ":")
		if fields == nil || !found {
			continue
		}
		value = strings.TrimSpace(value)
		if title == "OEM Strings" && strings.HasPrefix(name, "String ") {
			oem = append(oem, value)
		}
		if _, twice := fields[name]; !twice {
			fields[name] = value
		}
	}
	var b strings.Builder
	for _, s := range sysinfoSections {
		for _, f := range records[s.title] {
			var entries strings.Builder
			for _, e := range s.entries {
				if v := f[e[0]]; v != "" {
					entries.WriteString("    <entry name='" + e[1] + "'>" + escape(v) + "</entry>\n")
				}
			}
			if s.element == "memory_device" && strings.HasPrefix(f["Size"], "No Module") || entries.Len() == 0 {
				continue
			}
			b.WriteString("  <" + s.element + ">\n" + entries.String() + "  </" + s.element + ">\n")
		}
	}
	if len(oem) > 0 {
		b.WriteString("  <oemStrings>\n")
		for _, s := range oem {
			b.WriteString("    <entry>" + escape(s) + "</entry>\n")
		}
		b.WriteString("  </oemStrings>\n")
	}
	if b.Len() == 0 {
		return "", false
	}
	return "<sysinfo type='smbios'>\n" + b.String() + "</sysinfo>\n", true
}
