package e2e

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

var against = flag.String("against", "single,split", "what the scripts run against: single, split, direct or libvirtd")

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

func TestScripts(t *testing.T) {
	for _, name := range strings.Split(*against, ",") {
		t.Run(name, func(t *testing.T) {
			kind := lab.Kind(name)
			if why := lab.Missing(kind); why != "" {
				t.Skip(why)
			}
			testscript.RunT(serial{t}, testscript.Params{
				Dir:                 "testdata",
				RequireExplicitExec: true,
				Cmds:                commands,
				Setup:               func(env *testscript.Env) error { return setup(env, kind) },
				Condition: func(c string) (bool, error) {
					switch c {
					case "split":
						return kind == lab.Split || kind == lab.Direct, nil
					case "single":
						return kind == lab.Single, nil
					case "libvirtd":
						return kind == lab.Reference, nil
					case "long":
						return os.Getenv("VIRTREE_LONG") != "", nil
					}
					return false, nil
				},
			})
		})
	}
}

// serial keeps scripts from running side by side: they measure times on a machine
// with few cores.
type serial struct{ *testing.T }

func (s serial) Parallel() {}

func (s serial) Run(name string, f func(t testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{t}) })
}

func (s serial) Verbose() bool { return testing.Verbose() }
