package command

import (
	"os"
	"strings"
	"testing"

	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/domxml"
)

// otherwise are documents that package domxml completes in another way than the reference.
var otherwise = map[string]string{
	"disk-many-buses": "the alias of a disk on an LSI controller has no target: scsi0-0-0",
	"disk-scsi-lsi":   "the alias of a disk on an LSI controller has no target: scsi0-0-0",
	"leftovers":       "a doorbell without <msi> gets one with ioeventfd on",
	"tpm-external":    "the source of an external TPM is lost",
}

// TestFromDocument goes the whole way from what a client sends to the command line: package domxml completes the
// document instead of the reference, and the outcome must be the same.
func TestFromDocument(t *testing.T) {
	real := realCaps(t)
	recorded := testCaps(t)
	env := domxml.Env{Caps: func(string) (*caps.Caps, error) { return real, nil }}
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/in/" + name + ".xml")
			if err != nil {
				t.Fatal(err)
			}
			def, err := domxml.Parse(text, env, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := domxml.AssignAliases(def); err != nil {
				t.Fatal(err)
			}
			AssignNodes(def)
			if def.OS.Firmware != "" {
				if err := selectForTest(def); err != nil {
					t.Skip(err)
				}
			}
			want := golden(t, name)
			cmd, err := Build(def, recorded, testRuntime(t, def))
			got := ""
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = lines(cmd)
			}
			if d := diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
				if why := otherwise[name]; why != "" {
					t.Skip(why)
				}
				t.Errorf("by the reference's definition (-) and by our own (+):\n%s", d)
			}
		})
	}
}

func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".args")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
