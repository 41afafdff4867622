package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// program is one schema file.
type program struct {
	Name    string
	Number  uint32
	Version uint32
	Consts  []constant
	Types   []typeDef
	Procs   []procedure
	Events  []eventID
}

type constant struct {
	Name  string
	Value int64
}

// typeDef is a struct, union or enum; Fields holds struct fields or union arms, Values enum values.
type typeDef struct {
	Kind   string
	Name   string
	Fields []field
	Values []constant
}

// field is a struct field, or a union arm that stands for discriminant value Case.
type field struct {
	Name string
	Type string
	Case int32
}

type procedure struct {
	Kind   string
	Number int32
	Name   string
	API    string
	Args   string
	Ret    string
	Attrs  map[string]string
}

type eventID struct {
	Object string
	Name   string
	Value  string
	Proc   string
	Legacy string
}

// parseProgram reads one schema file; an error names its line.
func parseProgram(path string) (*program, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &program{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return p, sc.Err()
}

func (p *program) line(line string) error {
	w := strings.Fields(line)
	if strings.HasPrefix(line, " ") {
		return p.member(w)
	}
	switch w[0] {
	case "program":
		num, err := strconv.ParseUint(w[2], 0, 32)
		if err != nil {
			return err
		}
		ver, err := strconv.ParseUint(w[3], 10, 32)
		p.Name, p.Number, p.Version = w[1], uint32(num), uint32(ver)
		return err
	case "const":
		v, err := strconv.ParseInt(w[2], 10, 64)
		p.Consts = append(p.Consts, constant{w[1], v})
		return err
	case "struct", "union", "enum":
		p.Types = append(p.Types, typeDef{Kind: w[0], Name: w[1]})
		return nil
	case "call", "event", "message", "stream-in", "stream-out", "stream-bidi":
		return p.procedure(w)
	case "eventid":
		p.Events = append(p.Events, eventID{w[1], w[2], w[3], w[4], w[5]})
		return nil
	}
	return fmt.Errorf("unknown entry %q", w[0])
}

func (p *program) member(w []string) error {
	t := &p.Types[len(p.Types)-1]
	switch t.Kind {
	case "enum":
		v, err := strconv.ParseInt(w[1], 10, 32)
		t.Values = append(t.Values, constant{w[0], v})
		return err
	case "union":
		if w[0] == "discriminant" {
			return nil
		}
		v, err := strconv.ParseInt(w[0], 10, 32)
		t.Fields = append(t.Fields, field{Name: w[1], Type: strings.Join(w[2:], " "), Case: int32(v)})
		return err
	}
	t.Fields = append(t.Fields, field{Name: w[0], Type: strings.Join(w[1:], " ")})
	return nil
}

func (p *program) procedure(w []string) error {
	n, err := strconv.ParseInt(w[1], 10, 32)
	if err != nil {
		return err
	}
	attrs := map[string]string{}
	for _, a := range w[6:] {
		k, v, _ := strings.Cut(a, ":")
		attrs[k] = v
	}
	p.Procs = append(p.Procs, procedure{w[0], int32(n), w[2], w[3], w[4], w[5], attrs})
	return nil
}

// typeNamed returns the definition of name in any of the programs.
func typeNamed(all []*program, name string) *typeDef {
	for _, p := range all {
		for i := range p.Types {
			if p.Types[i].Name == name {
				return &p.Types[i]
			}
		}
	}
	return nil
}
