package diff

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Step is one line of a scenario.
type Step struct {
	Line    int
	Text    string // as it stands in the scenario
	Verb    string
	Args    []string
	Match   *regexp.Regexp // of until and await
	Differs string         // reason why the whole step may differ, or ""
	Ignore  []*regexp.Regexp
}

// Scenario is one file.
type Scenario struct {
	Name    string
	Shallow bool
	Steps   []Step
	Files   []txtar.File
}

// Command is the virsh command that a step runs, or "".
func (s *Step) Command() string {
	if !strings.HasPrefix(s.Verb, "virsh") {
		return ""
	}
	for _, a := range s.Args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// Load parses one scenario.
func Load(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(path), ".txtar")
	s, err := parse(name, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parse(name string, data []byte) (*Scenario, error) {
	ar := txtar.Parse(data)
	s := &Scenario{Name: name, Files: ar.Files}
	var next Step // collects what applies to the next command
	for i, line := range strings.Split(string(ar.Comment), "\n") {
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fail := func(format string, a ...any) error {
			return fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, a...))
		}
		verb, rest, _ := strings.Cut(text, " ")
		switch verb {
		case "shallow":
			s.Shallow = true
			continue
		case "differs":
			if rest == "" {
				return nil, fail("differs needs a reason")
			}
			next.Differs = rest
			continue
		case "ignore":
			pattern, reason, _ := strings.Cut(rest, " : ")
			if strings.TrimSpace(reason) == "" {
				return nil, fail("ignore needs a reason after ' : '")
			}
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fail("%v", err)
			}
			next.Ignore = append(next.Ignore, re)
			continue
		}
		st := next
		next = Step{}
		st.Line, st.Text, st.Verb = i+1, text, verb
		args, err := words(rest)
		if err != nil {
			return nil, fail("%v", err)
		}
		min := map[string]int{"virsh": 1, "virsh-ro": 1, "python": 1, "image": 3, "until": 3, "background": 3, "await": 2, "stop": 1, "box": 1}
		n, known := min[verb]
		if !known {
			return nil, fail("unknown verb %q", verb)
		}
		if len(args) < n {
			return nil, fail("%s needs %d arguments", verb, n)
		}
		var pattern string
		switch verb {
		case "until":
			pattern, st.Verb, args = args[0], "until-"+args[1], args[2:]
			if st.Verb != "until-virsh" {
				return nil, fail("until runs virsh only")
			}
		case "await":
			pattern = args[1]
		case "background":
			if args[1] != "virsh" && args[1] != "virsh-ro" {
				return nil, fail("background runs virsh only")
			}
		}
		if pattern != "" {
			if st.Match, err = regexp.Compile("(?m)" + pattern); err != nil {
				return nil, fail("%v", err)
			}
		}
		st.Args = args
		s.Steps = append(s.Steps, st)
	}
	return s, nil
}

// words splits a line as a shell would, without expansion.
func words(s string) ([]string, error) {
	var all []string
	var word strings.Builder
	in, quote := false, rune(0)
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			in, quote = true, r
		case r == ' ' || r == '\t':
			if in {
				all = append(all, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unclosed %c", quote)
	}
	if in {
		all = append(all, word.String())
	}
	return all, nil
}
