package def

import (
	"reflect"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// Shared gives the filter as the type that package rules takes. Attributes are as printed; priorities are those that
// hold. What libvirtxml has no place for is a rule of which some attributes are negated and some are not: all of them are
// then.
func (f *Filter) Shared() *libvirtxml.NWFilter {
	out := &libvirtxml.NWFilter{
		Name: f.Name, UUID: f.UUID.String(), Chain: f.Chain, Priority: f.Priority,
		Entries: make([]libvirtxml.NWFilterEntry, 0, len(f.Entries)),
	}
	for _, e := range f.Entries {
		if e.Rule != nil {
			out.Entries = append(out.Entries, libvirtxml.NWFilterEntry{Rule: e.Rule.shared()})
			continue
		}
		ref := &libvirtxml.NWFilterRef{Filter: e.Ref.Filter}
		for name, values := range e.Ref.Params {
			for _, v := range values {
				ref.Parameters = append(ref.Parameters, libvirtxml.NWFilterParameter{Name: name, Value: v})
			}
		}
		out.Entries = append(out.Entries, libvirtxml.NWFilterEntry{Ref: ref})
	}
	return out
}

func (r *Rule) shared() *libvirtxml.NWFilterRule {
	out := &libvirtxml.NWFilterRule{Action: r.Action, Direction: r.Direction, Priority: r.Priority}
	if r.NoState {
		out.StateMatch = "false"
	}
	if r.protocol == nil {
		return out
	}
	place := places[r.protocol.name]
	field := reflect.ValueOf(out).Elem().FieldByIndex(place.field)
	details := reflect.New(field.Type().Elem())
	for _, it := range r.items {
		name := r.protocol.attrs[it.at].name
		set(details.Elem().FieldByIndex(place.attrs[name]), it.value)
		if it.negate && name != commentAttr.name {
			set(details.Elem().FieldByIndex(place.attrs["match"]), "no")
		}
	}
	field.Set(details)
	return out
}

// set fills a field, which is a string or libvirtxml's own type.
func set(v reflect.Value, text string) {
	f, ok := v.Addr().Interface().(*libvirtxml.NWFilterField)
	if !ok {
		v.SetString(text)
		return
	}
	f.Str = text
	if name, is := strings.CutPrefix(text, "$"); is {
		f.Var = name
	}
	if digits, is := strings.CutPrefix(text, "0x"); is {
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil {
			u := uint(n)
			f.Uint = &u
		}
	}
}

// place is where libvirtxml's rule has a protocol, and where that has its attributes.
type place struct {
	field []int
	attrs map[string][]int
}

var places = findPlaces()

func findPlaces() map[string]place {
	all := map[string]place{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[libvirtxml.NWFilterRule]()) {
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		p := place{f.Index, map[string][]int{}}
		for _, a := range reflect.VisibleFields(f.Type.Elem()) {
			if name, _, ok := strings.Cut(a.Tag.Get("xml"), ",attr"); ok {
				p.attrs[name] = a.Index
			}
		}
		all[f.Tag.Get("xml")] = p
	}
	return all
}
