package caps

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// schema is query-qmp-schema, by the masked names QEMU gives its types.
type schema map[string]*schemaType

type schemaType struct {
	Name     string   `json:"name"`
	Meta     string   `json:"meta-type"`
	Arg      string   `json:"arg-type"`
	Ret      string   `json:"ret-type"`
	Element  string   `json:"element-type"`
	Tag      string   `json:"tag"`
	Values   []string `json:"values"`
	Features []string `json:"features"`
	Members  []struct {
		Name     string   `json:"name"`
		Type     string   `json:"type"`
		Features []string `json:"features"`
	} `json:"members"`
	Variants []struct {
		Case string `json:"case"`
		Type string `json:"type"`
	} `json:"variants"`
}

func parseSchema(raw json.RawMessage) (schema, error) {
	var list []*schemaType
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	s := make(schema, len(list))
	for _, t := range list {
		if t == nil {
			return nil, errors.New("a schema with a hole")
		}
		s[t.Meta+" "+t.Name] = t // a command and a type may share a name
		if t.Meta != "command" && t.Meta != "event" {
			s[t.Name] = t
		}
	}
	return s, nil
}

// args maps each command to the names of its arguments, those of a union's branches left out.
func (s schema) args() map[string]Props {
	m := make(map[string]Props)
	for key, t := range s {
		if !strings.HasPrefix(key, "command ") {
			continue
		}
		names := Props{}
		if arg := s[t.Arg]; arg != nil {
			for _, member := range arg.Members {
				names[member.Name] = true
			}
		}
		m[t.Name] = names
	}
	return m
}

// events names all events.
func (s schema) events() map[string]bool {
	m := make(map[string]bool)
	for key, t := range s {
		if strings.HasPrefix(key, "event ") {
			m[t.Name] = true
		}
	}
	return m
}

// has answers one of schemaQueries.
func (s schema) has(query string) bool {
	parts := strings.Split(query, "/")
	command := s["command "+parts[0]]
	if command == nil {
		return false
	}
	parts = parts[1:]
	if len(parts) == 1 && strings.HasPrefix(parts[0], "!") {
		return slices.Contains(command.Features, parts[0][1:])
	}
	if len(parts) > 0 && parts[0] == "->" {
		return s.walk(s[command.Ret], parts[1:])
	}
	return s.walk(s[command.Arg], parts)
}

func (s schema) walk(t *schemaType, parts []string) bool {
	for depth := 0; t != nil && t.Meta == "array"; depth++ {
		if depth > 8 {
			return false // an array of itself
		}
		t = s[t.Element]
	}
	if len(parts) == 0 {
		return true
	}
	if t == nil {
		return false
	}
	part := parts[0]
	if part == "" {
		return false
	}
	switch part[0] {
	case '^':
		return slices.Contains(t.Values, part[1:])
	case '!':
		return slices.Contains(t.Features, part[1:])
	case '+':
		for _, v := range t.Variants {
			if v.Case == part[1:] {
				return len(parts) == 1 || s.walk(s[v.Type], parts[1:])
			}
		}
	default:
		for _, m := range t.Members {
			if m.Name == part {
				return s.walk(s[m.Type], parts[1:])
			}
		}
	}
	return false
}
