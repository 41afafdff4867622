package qemu

import (
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Typed parameters: libvirt's lists of names with values of several types.

func paramInt(name string, v int32) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamInt, I: v}}
}

func paramUInt(name string, v uint32) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: v}}
}

func paramLLong(name string, v int64) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamLlong, L: v}}
}

func paramULLong(name string, v uint64) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamUllong, Ul: v}}
}

func paramBool(name string, v bool) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamBoolean, B: truth(v)}}
}

func paramString(name, v string) protocol.TypedParam {
	return protocol.TypedParam{Field: name, Value: protocol.TypedParamValue{Type: virt.TypedParamString, S: v}}
}

// paramSpec is the names that a call takes, with the type of each.
type paramSpec map[string]int32

var paramTypes = []string{"unknown", "int", "uint", "llong", "ullong", "double", "boolean", "string"}

func paramType(t int32) string {
	if t < 0 || int(t) >= len(paramTypes) {
		return "unknown"
	}
	return paramTypes[t]
}

// checkParams refuses names, types and repetitions that the specification does not have, in libvirt's
// words and order: names are looked at in sorted order there, so repetitions are noticed first.
func checkParams(params []protocol.TypedParam, spec paramSpec) error {
	seen := map[string]bool{}
	for _, p := range params {
		if seen[p.Field] {
			return liberr.New(liberr.FromNone, liberr.InvalidArg, "parameter '%s' occurs multiple times", p.Field)
		}
		seen[p.Field] = true
	}
	for _, p := range params {
		want, ok := spec[p.Field]
		if !ok {
			return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "parameter '%s' not supported", p.Field)
		}
		if want != p.Value.Type {
			return liberr.New(liberr.FromNone, liberr.InvalidArg, "invalid type '%s' for parameter '%s', expected '%s'",
				paramType(p.Value.Type), p.Field, paramType(want))
		}
	}
	return nil
}

// counted answers in the two steps that clients of typed parameters take: how many are there, then which.
// n is how many the client has room for; 0 asks for the number.
func counted(params []protocol.TypedParam, n int32) ([]protocol.TypedParam, int32) {
	if n == 0 {
		return nil, int32(len(params))
	}
	return params[:min(int(n), len(params))], 0
}
