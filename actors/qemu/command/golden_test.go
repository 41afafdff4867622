package command

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.args from what the code gives")

// TestGolden pins the command line of every recorded definition. The .args files were compared with the reference by
// TestReference when they were written.
func TestGolden(t *testing.T) {
	c := testCaps(t)
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			def := parse(t, "testdata/"+name+".xml")
			cmd, err := Build(def, c, testRuntime(t, def))
			got := ""
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = lines(cmd)
			}
			file := "testdata/" + name + ".args"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := golden(t, name); want != got {
				t.Errorf("command line changed:\n%s", diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
		})
	}
}

// lines is a command with one option per line.
func lines(cmd *Command) string {
	var b strings.Builder
	for _, e := range cmd.Env {
		b.WriteString(e + "\n")
	}
	b.WriteString(cmd.Binary)
	for _, a := range cmd.Args {
		if strings.HasPrefix(a, "-") {
			b.WriteString("\n" + a)
		} else {
			b.WriteString(" " + a)
		}
	}
	return b.String() + "\n"
}

// TestProbed: capabilities asked from the binary lead to the same command lines as the recorded ones.
func TestProbed(t *testing.T) {
	c := realCaps(t)
	if c.Version/1000 != 7002 {
		t.Skip("the .args files are of QEMU 7.2")
	}
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			def := parse(t, "testdata/"+name+".xml")
			cmd, err := Build(def, c, testRuntime(t, def))
			if err != nil {
				if want := golden(t, name); want != "error: "+err.Error()+"\n" {
					t.Fatal(err)
				}
				return
			}
			if want, got := golden(t, name), lines(cmd); want != got {
				t.Errorf("recorded (-) and probed (+):\n%s", diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
		})
	}
}
