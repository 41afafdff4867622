package storage

import (
	"strings"

	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
)

// capabilitiesXML is the answer of pool-capabilities: every kind with its formats.
//
// Compat: supported means that the programs are there that pools of the kind need; for libvirt, that it was built with them.
func capabilitiesXML(host *backend.Host) string {
	var b strings.Builder
	b.WriteString("<storagepoolCapabilities>\n")
	for i := range def.Kinds {
		k := &def.Kinds[i]
		supported := "no"
		if missing, known := host.Missing(k); known && missing == "" {
			supported = "yes"
		}
		b.WriteString("  <pool type='" + k.Name + "' supported='" + supported + "'>\n")
		options(&b, "poolOptions", k.DefaultSource, "sourceFormatType", k.Source)
		options(&b, "volOptions", k.DefaultVolume, "targetFormatType", k.Volume)
		b.WriteString("  </pool>\n")
	}
	b.WriteString("</storagepoolCapabilities>\n")
	return b.String()
}

func options(b *strings.Builder, element, def, enum string, values []string) {
	if def == "" {
		return
	}
	b.WriteString("    <" + element + ">\n      <defaultFormat type='" + def + "'/>\n      <enum name='" + enum + "'>\n")
	for _, v := range values {
		b.WriteString("        <value>" + v + "</value>\n")
	}
	b.WriteString("      </enum>\n    </" + element + ">\n")
}
