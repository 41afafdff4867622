package main

import (
	"fmt"
	"strings"
)

// objectOf tells which object a procedure's arguments name first: its Go constant in package protocol,
// so that a branch can route the call without decoding it.
func objectOf(all []*program, args string) string {
	d := typeNamed(all, args)
	if d == nil || len(d.Fields) == 0 {
		return ""
	}
	t := strings.TrimPrefix(d.Fields[0].Type, "opt ")
	if strings.HasPrefix(d.Fields[0].Type, "opt ") {
		return ""
	}
	return map[string]string{
		"remote_nonnull_domain": "ObjectDomain", "remote_nonnull_network": "ObjectNetwork",
		"remote_nonnull_network_port": "ObjectNetworkPort", "remote_nonnull_nwfilter": "ObjectNwfilter",
		"remote_nonnull_nwfilter_binding": "ObjectNwfilterBinding", "remote_nonnull_interface": "ObjectInterface",
		"remote_nonnull_storage_pool": "ObjectStoragePool", "remote_nonnull_storage_vol": "ObjectStorageVol",
		"remote_nonnull_node_device": "ObjectNodeDevice", "remote_nonnull_secret": "ObjectSecret",
		"remote_nonnull_domain_checkpoint": "ObjectDomainCheckpoint", "remote_nonnull_domain_snapshot": "ObjectDomainSnapshot",
	}[t]
}

// goMessage is the type parameter of an argument or result struct.
func goMessage(wire string) string {
	if wire == "-" {
		return "Void"
	}
	return typeName(wire)
}

func writeProcs(o *out, all []*program, p *program) error {
	prog := strings.ToUpper(p.Name[:1]) + p.Name[1:]
	o.f("// %sProgram and %sVersion identify the program in a packet header.\nconst (\n\t%sProgram uint32 = %#x\n\t%sVersion uint32 = %d\n)\n\n", prog, prog, prog, p.Number, prog, p.Version)
	o.f("// Procedures of the %s program.\nvar (\n", p.Name)
	for _, pr := range p.Procs {
		s, err := procLiteral(all, prog, p.Name, pr)
		if err != nil {
			return fmt.Errorf("%s: %w", pr.Name, err)
		}
		o.f("\t%s\n", s)
	}
	o.f(")\n\n")
	o.f("func init() {\n\tregister(%sProgram, %sVersion,\n", prog, prog)
	for _, pr := range p.Procs {
		o.f("\t\t%s.Procedure,\n", procName(p.Name, pr.Name))
	}
	o.f("\t)\n}\n")
	writeConditions(o, p)
	if len(p.Events) > 0 {
		writeEvents(o, p)
	}
	return nil
}

var kinds = map[string]string{"call": "KindCall", "event": "KindEvent", "message": "KindMessage",
	"stream-in": "KindStreamIn", "stream-out": "KindStreamOut", "stream-bidi": "KindStreamBidi"}

func procLiteral(all []*program, prog, program string, pr procedure) (string, error) {
	var b strings.Builder
	name := procName(program, pr.Name)
	fmt.Fprintf(&b, "%s = Proc[%s, %s]{&Procedure{Program: %sProgram, Version: %sVersion, Number: %d, Name: %q, Kind: %s",
		name, goMessage(pr.Args), goMessage(pr.Ret), prog, prog, pr.Number, pr.Name, kinds[pr.Kind])
	if pr.API != "-" {
		fmt.Fprintf(&b, ", API: %q", pr.API)
	}
	if _, ok := pr.Attrs["high"]; ok {
		b.WriteString(", Priority: true")
	}
	if _, ok := pr.Attrs["noauth"]; ok {
		b.WriteString(", NoAuth: true")
	}
	switch ro := pr.Attrs["ro"]; {
	case ro == "refused":
		b.WriteString(", ReadOnly: ReadOnlyRefused")
	case strings.ContainsAny(ro, "&="):
		fmt.Fprintf(&b, ", ReadOnly: ReadOnlyConditional, refused: refuse%s", name)
	}
	if a := pr.Attrs["acl"]; a != "" && a != "none" {
		b.WriteString(", ACL: []ACLRule{")
		for _, r := range strings.Split(a, ",") {
			s, err := aclRule(r)
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		}
		b.WriteString("}")
	}
	if f := pr.Attrs["filter"]; f != "" {
		obj, perm, _ := strings.Cut(f, ":")
		fmt.Fprintf(&b, ", Filter: &ACLRule{Object: %q, Perm: %q}", obj, perm)
	}
	for _, fd := range strings.Split(pr.Attrs["fds"], ",") {
		dir, n, ok := strings.Cut(fd, ":")
		if !ok {
			continue
		}
		field := map[string]string{"in": "FDsIn", "out": "FDsOut"}[dir]
		if n == "n" {
			n = "AnyFDs"
		}
		fmt.Fprintf(&b, ", %s: %s", field, n)
	}
	if s := pr.Attrs["sparse"]; s != "" {
		fmt.Fprintf(&b, ", SparseFlag: %s", s)
	}
	if d := pr.Attrs["driver"]; d != "" {
		fmt.Fprintf(&b, ", Driver: %q", d)
	}
	if obj := objectOf(all, pr.Args); obj != "" && pr.Kind != "event" {
		fmt.Fprintf(&b, ", Object: %s", obj)
	}
	if s := pr.Attrs["since"]; s != "" {
		fmt.Fprintf(&b, ", Since: %q", s)
	}
	b.WriteString("}}")
	return b.String(), nil
}

// aclRule renders OBJECT:PERM[:CONDITION].
func aclRule(r string) (string, error) {
	p := strings.SplitN(r, ":", 3)
	if len(p) < 2 {
		return "", fmt.Errorf("acl rule %q", r)
	}
	s := fmt.Sprintf("{Object: %q, Perm: %q", p[0], p[1])
	if len(p) == 3 {
		switch {
		case strings.HasPrefix(p[2], "flags!&"):
			s += ", UnlessFlags: " + p[2][7:]
		case strings.HasPrefix(p[2], "flags&"):
			s += ", IfFlags: " + p[2][6:]
		default:
			f, v, _ := strings.Cut(p[2], "=")
			s += fmt.Sprintf(", IfField: %q, IfValue: %s", f, v)
		}
	}
	return s + "}, ", nil
}

// writeConditions writes the functions that decide the conditional read-only refusals.
func writeConditions(o *out, p *program) {
	for _, pr := range p.Procs {
		ro := pr.Attrs["ro"]
		if !strings.ContainsAny(ro, "&=") {
			continue
		}
		cond := ""
		if f, m, ok := strings.Cut(ro, "&"); ok {
			cond = fmt.Sprintf("a.%s&%s != 0", camel(f), m)
		} else if f, v, ok := strings.Cut(ro, "="); ok {
			cond = fmt.Sprintf("a.%s == %s", camel(f), v)
		}
		o.f("\nfunc refuse%s(args []byte) bool {\n\tvar a %s\n\treturn UnmarshalArgs(args, &a) == nil && %s\n}\n", procName(p.Name, pr.Name), typeName(pr.Args), cond)
	}
}

func writeEvents(o *out, p *program) {
	o.f("\nfunc init() {\n\tregisterEvents(\n")
	for _, e := range p.Events {
		if e.Value == "-" {
			continue
		}
		legacy := "nil"
		if e.Legacy != "-" {
			legacy = procName(p.Name, e.Legacy) + ".Procedure"
		}
		o.f("\t\tEventID{Object: %q, ID: %s, Name: %q, Message: %s.Procedure, Legacy: %s},\n", e.Object, e.Value, e.Name, procName(p.Name, e.Proc), legacy)
	}
	o.f("\t)\n}\n")
}
