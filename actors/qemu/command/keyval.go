package command

import (
	"fmt"
	"strings"
)

// keyval is QEMU's older option syntax: "kvm,dirty-ring-size=4096". A comma inside a value is doubled.
type keyval []string

func escapeComma(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// word adds a bare word.
func (k *keyval) word(s string) { *k = append(*k, escapeComma(s)) }

// set adds key=value.
func (k *keyval) set(key, value string) { *k = append(*k, key+"="+escapeComma(value)) }

// text adds key=value unless the value is empty.
func (k *keyval) text(key, value string) {
	if value != "" {
		k.set(key, value)
	}
}

// setf adds key=value with the value formatted.
func (k *keyval) setf(key, format string, args ...any) { k.set(key, fmt.Sprintf(format, args...)) }

// flag adds key=on or key=off for a definition's on/off or yes/no; other values leave it out.
func (k *keyval) flag(key, state string) {
	switch state {
	case "on", "yes":
		k.set(key, "on")
	case "off", "no":
		k.set(key, "off")
	}
}

func (k keyval) String() string { return strings.Join(k, ",") }

// keyvalOf renders flat properties in the older syntax, for a device whose JSON form is switched off.
func keyvalOf(first string, p Props) string {
	k := keyval{}
	if v, ok := p.Get(first); ok {
		k.word(fmt.Sprint(v))
	}
	for _, m := range p {
		switch v := m.Value.(type) {
		case bool:
			if m.Name != first {
				k.set(m.Name, onOff(v))
			}
		default:
			if m.Name != first {
				k.set(m.Name, fmt.Sprint(v))
			}
		}
	}
	return k.String()
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// isOn says whether a definition's switch is on.
func isOn(state string) bool { return state == "on" || state == "yes" }
