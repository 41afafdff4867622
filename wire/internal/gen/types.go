package main

import (
	"fmt"
	"strings"
)

// wireType is one parsed TYPE of the schema.
type wireType struct {
	kind  string // int, string, opaque, fixedopaque, opt, array, fixed, uuid, named ...
	name  string // of a named type, as the schema spells it
	limit string // constant name or number
	elem  *wireType
}

func parseType(s string) wireType {
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "opt "):
		e := parseType(s[4:])
		return wireType{kind: "opt", elem: &e}
	case strings.HasPrefix(s, "array<"), strings.HasPrefix(s, "fixed<"):
		kind, rest, _ := strings.Cut(strings.TrimSuffix(s, ">"), "<")
		elem, limit, _ := strings.Cut(rest, ",")
		if elem == "string" {
			elem = "string<" + "REMOTE_STRING_MAX>"
		}
		e := parseType(elem)
		return wireType{kind: kind, elem: &e, limit: limit}
	case strings.HasPrefix(s, "string<"):
		return wireType{kind: "string", limit: strings.TrimSuffix(s[7:], ">")}
	case strings.HasPrefix(s, "opaque<"):
		return wireType{kind: "opaque", limit: strings.TrimSuffix(s[7:], ">")}
	case strings.HasPrefix(s, "opaque["):
		return wireType{kind: "fixedopaque", limit: strings.TrimSuffix(s[7:], "]")}
	case scalars[s].goType != "" || s == "uuid":
		return wireType{kind: s}
	}
	return wireType{kind: "named", name: s}
}

type scalar struct{ goType, method, conv string }

// scalars maps a wire type to its Go type, the xdr method that carries it, and the type that method
// takes (char, short and the like travel in a whole unit).
var scalars = map[string]scalar{
	"int": {"int32", "Int32", ""}, "uint": {"uint32", "Uint32", ""},
	"hyper": {"int64", "Int64", ""}, "uhyper": {"uint64", "Uint64", ""},
	"double": {"float64", "Float64", ""},
	"char":   {"byte", "Uint8", "uint32"}, "uchar": {"byte", "Uint8", "uint32"},
	"short": {"int16", "Int16", "uint32"}, "ushort": {"uint16", "Uint16", "uint32"},
}

func (t wireType) goType() string {
	switch t.kind {
	case "uuid":
		return "UUID"
	case "string":
		return "string"
	case "opaque":
		return "[]byte"
	case "fixedopaque":
		return "[" + t.limit + "]byte"
	case "opt":
		return "*" + t.elem.goType()
	case "array":
		return "[]" + t.elem.goType()
	case "fixed":
		return "[" + t.limit + "]" + t.elem.goType()
	case "named":
		return typeName(t.name)
	}
	return scalars[t.kind].goType
}

// minSize is the least number of bytes the type takes on the wire; it bounds array lengths.
func (t wireType) minSize(all []*program) int {
	switch t.kind {
	case "hyper", "uhyper", "double":
		return 8
	case "uuid":
		return 16
	case "named":
		d := typeNamed(all, t.name)
		if d.Kind != "struct" {
			return 4
		}
		n := 0
		for _, f := range d.Fields {
			n += parseType(f.Type).minSize(all)
		}
		return max(n, 1)
	}
	return 4
}

func limitExpr(l string) string {
	if l == "" {
		return "0"
	}
	if l[0] >= '0' && l[0] <= '9' {
		return l
	}
	return constName(l)
}

// isEnum tells whether a named type travels as a plain int.
func isEnum(all []*program, name string) bool {
	d := typeNamed(all, name)
	return d != nil && d.Kind == "enum"
}

func encode(o *out, all []*program, t wireType, v string) {
	switch t.kind {
	case "uuid":
		o.f("b = append(b, %s[:]...)\n", v)
	case "string":
		o.f("b = xdr.AppendString(b, %s)\n", v)
	case "opaque":
		o.f("b = xdr.AppendOpaque(b, %s)\n", v)
	case "fixedopaque":
		o.f("b = xdr.AppendFixedOpaque(b, %s[:])\n", v)
	case "opt":
		o.f("b = xdr.AppendBool(b, %s != nil)\nif %s != nil {\n", v, v)
		inner := "*" + v
		if t.elem.kind == "named" {
			inner = v
		}
		encode(o, all, *t.elem, inner)
		o.f("}\n")
	case "array":
		o.f("b = xdr.AppendUint32(b, uint32(len(%s)))\nfor i := range %s {\n", v, v)
		encode(o, all, *t.elem, v+"[i]")
		o.f("}\n")
	case "fixed":
		o.f("for i := range %s {\n", v)
		encode(o, all, *t.elem, v+"[i]")
		o.f("}\n")
	case "named":
		if isEnum(all, t.name) {
			o.f("b = xdr.AppendInt32(b, int32(%s))\n", v)
		} else {
			o.f("b = %s.AppendXDR(b)\n", v)
		}
	default:
		s := scalars[t.kind]
		if s.conv != "" {
			o.f("b = xdr.AppendUint32(b, uint32(%s))\n", v)
		} else {
			o.f("b = xdr.Append%s(b, %s)\n", s.method, v)
		}
	}
}

func decode(o *out, all []*program, t wireType, v string) {
	switch t.kind {
	case "uuid":
		o.f("d.FixedOpaque(%s[:])\n", v)
	case "string":
		o.f("%s = d.String(%s)\n", v, limitExpr(t.limit))
	case "opaque":
		o.f("%s = d.Opaque(%s)\n", v, limitExpr(t.limit))
	case "fixedopaque":
		o.f("d.FixedOpaque(%s[:])\n", v)
	case "opt":
		o.f("%s = nil\nif d.Bool() {\n%s = new(%s)\n", v, v, t.elem.goType())
		inner := "*" + v
		if t.elem.kind == "named" {
			inner = v
		}
		decode(o, all, *t.elem, inner)
		o.f("}\n")
	case "array":
		o.f("%s = make([]%s, d.Len(%s, %d))\nfor i := range %s {\n", v, t.elem.goType(), limitExpr(t.limit), t.elem.minSize(all), v)
		decode(o, all, *t.elem, v+"[i]")
		o.f("}\n")
	case "fixed":
		o.f("for i := range %s {\n", v)
		decode(o, all, *t.elem, v+"[i]")
		o.f("}\n")
	case "named":
		if isEnum(all, t.name) {
			o.f("%s = %s(d.Int32())\n", v, typeName(t.name))
		} else {
			o.f("%s.DecodeXDR(d)\n", v)
		}
	default:
		if t.kind == "short" {
			o.f("%s = int16(d.Uint16())\n", v)
			return
		}
		o.f("%s = d.%s()\n", v, scalars[t.kind].method)
	}
}

func writeTypes(o *out, all []*program, p *program) error {
	o.f("import \"virtree/wire/xdr\"\n\n")
	if len(p.Consts) > 0 {
		o.f("// Limits of the %s program.\nconst (\n", p.Name)
		for _, c := range p.Consts {
			o.f("\t%s = %d\n", constName(c.Name), c.Value)
		}
		o.f(")\n\n")
	}
	for _, t := range p.Types {
		name := typeName(t.Name)
		switch t.Kind {
		case "enum":
			o.f("// %s is %s.\ntype %s int32\n\n// Values of %s.\nconst (\n", name, t.Name, name, name)
			for _, v := range t.Values {
				o.f("\t%s %s = %d\n", constName(v.Name), name, v.Value)
			}
			o.f(")\n\n")
		case "struct":
			writeStruct(o, all, t)
		case "union":
			writeUnion(o, all, t)
		default:
			return fmt.Errorf("%s: kind %q", t.Name, t.Kind)
		}
	}
	return nil
}

func writeStruct(o *out, all []*program, t typeDef) {
	name := typeName(t.Name)
	o.f("// %s is %s.\ntype %s struct {\n", name, t.Name, name)
	for _, f := range t.Fields {
		o.f("\t%s %s\n", camel(f.Name), parseType(f.Type).goType())
	}
	o.f("}\n\n// AppendXDR appends the wire form to b.\nfunc (v *%s) AppendXDR(b []byte) []byte {\n", name)
	for _, f := range t.Fields {
		encode(o, all, parseType(f.Type), "v."+camel(f.Name))
	}
	o.f("return b\n}\n\n// DecodeXDR reads the wire form.\nfunc (v *%s) DecodeXDR(d *xdr.Decoder) {\n", name)
	for _, f := range t.Fields {
		decode(o, all, parseType(f.Type), "v."+camel(f.Name))
	}
	o.f("}\n\n")
}

func writeUnion(o *out, all []*program, t typeDef) {
	name := typeName(t.Name)
	o.f("// %s is %s: Type tells which of the other fields counts.\ntype %s struct {\n\tType int32\n", name, t.Name, name)
	for _, f := range t.Fields {
		o.f("\t%s %s\n", camel(f.Name), parseType(f.Type).goType())
	}
	o.f("}\n\n// AppendXDR appends the wire form to b.\nfunc (v *%s) AppendXDR(b []byte) []byte {\nb = xdr.AppendInt32(b, v.Type)\nswitch v.Type {\n", name)
	for _, f := range t.Fields {
		o.f("case %d:\n", f.Case)
		encode(o, all, parseType(f.Type), "v."+camel(f.Name))
	}
	o.f("}\nreturn b\n}\n\n// DecodeXDR reads the wire form.\nfunc (v *%s) DecodeXDR(d *xdr.Decoder) {\nv.Type = d.Int32()\nswitch v.Type {\n", name)
	for _, f := range t.Fields {
		o.f("case %d:\n", f.Case)
		decode(o, all, parseType(f.Type), "v."+camel(f.Name))
	}
	o.f("default:\nd.Fail(xdr.ErrUnion)\n}\n}\n\n")
}
