package actors

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/supervisors/paths"
)

func TestStockIsInstalledOnceAndOverwritesNothing(t *testing.T) {
	root := t.TempDir()
	p := paths.System(root)
	var out bytes.Buffer
	if err := InstallStock(p, &out); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "network default defined\n") || !strings.Contains(s, "24 network filters defined\n") {
		t.Errorf("first: %s", s)
	}
	net := filepath.Join(p.DriverConfig("network"), "default.xml")
	text, err := os.ReadFile(net)
	if err != nil || !strings.Contains(string(text), "<uuid>") || !strings.Contains(string(text), "<mac address=") {
		t.Errorf("%s, %v", text, err)
	}
	if err := os.WriteFile(net, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := InstallStock(p, &out); err != nil || out.Len() > 0 {
		t.Errorf("again: %q, %v", out.String(), err)
	}
	if text, _ := os.ReadFile(net); string(text) != "mine" {
		t.Errorf("overwritten with %s", text)
	}
}
