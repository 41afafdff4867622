package command

import (
	"bytes"
	"encoding/json"
)

// Prop is one member of Props.
type Prop struct {
	Name  string
	Value any // string, bool, integer, Props, []Props, []string, []int or nil
}

// Props is a JSON object that keeps the order in which its members were set, so that the same definition always gives
// the same command line.
type Props []Prop

// Set adds a member, or replaces it in its place.
func (p *Props) Set(name string, value any) {
	for i := range *p {
		if (*p)[i].Name == name {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Prop{name, value})
}

// Get returns a member.
func (p Props) Get(name string) (any, bool) {
	for _, m := range p {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Remove drops a member.
func (p *Props) Remove(name string) {
	for i := range *p {
		if (*p)[i].Name == name {
			*p = append((*p)[:i:i], (*p)[i+1:]...)
			return
		}
	}
}

// text sets a string member unless it is empty.
func (p *Props) text(name, value string) {
	if value != "" {
		p.Set(name, value)
	}
}

// flag sets a boolean member from a definition's on/off or yes/no; other values leave it out.
func (p *Props) flag(name, state string) {
	switch state {
	case "on", "yes":
		p.Set(name, true)
	case "off", "no":
		p.Set(name, false)
	}
}

// count sets an integer member unless it is zero.
func (p *Props) count(name string, value uint) {
	if value != 0 {
		p.Set(name, value)
	}
}

// optional sets an integer member when the definition has it.
func (p *Props) optional(name string, value *uint) {
	if value != nil {
		p.Set(name, *value)
	}
}

// MarshalJSON writes the members in their order.
func (p Props) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := encode(&out, m.Name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := encode(&out, m.Value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// String is the JSON text. Props hold only values that can be encoded.
func (p Props) String() string {
	var out bytes.Buffer
	if err := encode(&out, p); err != nil {
		panic(err)
	}
	return out.String()
}

// encode writes compact JSON without escaping <, > and &, which QEMU would take but a reader of the log would not.
func encode(out *bytes.Buffer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode ends with a newline
	return nil
}
