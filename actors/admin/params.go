package admin

import (
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func uintParam(name string, v uint32) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: v}}
}

func intParam(name string, v int32) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamInt, I: v}}
}

func boolParam(name string, v bool) protocol.TypedParam {
	p := protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamBoolean}}
	if v {
		p.Value.B = 1
	}
	return p
}

func stringParam(name, v string) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamString, S: v}}
}

var typeNames = map[int32]string{
	virt.TypedParamInt: "int", virt.TypedParamUint: "uint", virt.TypedParamLlong: "llong", virt.TypedParamUllong: "ullong",
	virt.TypedParamDouble: "double", virt.TypedParamBoolean: "boolean", virt.TypedParamString: "string",
}

// uints takes unsigned parameters of known names, each at most once, into their places.
func uints(params []protocol.TypedParam, known map[string]*uint32) error {
	seen := map[string]bool{}
	for _, p := range params {
		place := known[p.Field]
		switch {
		case seen[p.Field]:
			return liberr.New(liberr.FromNone, liberr.InvalidArg, "parameter '%s' occurs multiple times", p.Field)
		case place == nil:
			return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "parameter '%s' not supported", p.Field)
		case p.Value.Type != virt.TypedParamUint:
			return liberr.New(liberr.FromNone, liberr.InvalidArg, "invalid type '%s' for parameter '%s', expected 'uint'", typeNames[p.Value.Type], p.Field)
		}
		seen[p.Field] = true
		*place = p.Value.UI
	}
	return nil
}
