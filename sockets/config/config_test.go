package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtree/wire/liberr"
)

func TestParse(t *testing.T) {
	f, err := Parse("x.conf", `
# a comment
number = 12
negative=-3 # behind a value
text = "with # and ' in it"
single = 'with " in it'
lines = """one
two"""
list = [ "a", 'b' , # comment
   "c",
]
empty = []
number = 99
last = "no newline"`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Value{
		"number": {3, int64(12)}, "negative": {4, int64(-3)}, "text": {5, "with # and ' in it"}, "single": {6, `with " in it`},
		"lines": {7, "one\ntwo"}, "list": {9, []string{"a", "b", "c"}}, "empty": {12, []string{}}, "last": {14, "no newline"},
	}
	if d := cmp.Diff(want, f.values, cmp.AllowUnexported(Value{})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"number", "negative", "text", "single", "lines", "list", "empty", "last"}, f.Keys); d != "" {
		t.Error(d)
	}
}

// The complaints and their lines are those of libvirtd 9.0.0 for the same input; ours name the line also for a wrong type.
func TestComplaints(t *testing.T) {
	const syntax, internal, unsupported = "configuration file syntax error: x.conf:", "internal error: x.conf:", "unsupported configuration: x.conf:"
	for _, c := range []struct{ text, want string }{
		{"a = \n", syntax + "1: expecting a value"},
		{"a", syntax + "1: expecting an assignment"},
		{"a 3\n", syntax + "1: expecting an assignment"},
		{"3 = 3\n", syntax + "1: expecting a name"},
		{"a = \"x\n\"\n", syntax + "1: unterminated string"},
		{"a = \"\"\"x\n", syntax + "1: unterminated string"},
		{"a = [\"b\" \"c\"]\n", syntax + "1: expecting a separator in list"},
		{"a = [\"b\"\n", syntax + "2: list is not closed with ]"},
		{"a = [\n\n", syntax + "3: list is not closed with ]"},
		{"a = 3 4\n", syntax + "1: expecting a separator"},
		{"a = \"x\" \"y\"\n", syntax + "1: expecting a separator"},
		{"a = -\n", syntax + "1: unterminated number"},
		{"\n\na = 99999999999999999999\n", syntax + "3: unterminated number"},
		{"a = x\n", syntax + "1: expecting a value"},
		{"a = [ , \"x\" ]", syntax + "1: expecting a value"},
		{"\nlisten_tls = \"x\"\n", internal + "2: expected a bool for 'listen_tls' parameter"},
		{"listen_tls = 3", internal + "1: value for 'listen_tls' parameter must be 0 or 1"},
		{"unix_sock_group = 3\n", internal + "1: expected a string for 'unix_sock_group' parameter"},
		{"max_clients = -1\n", internal + "1: expected an unsigned integer for 'max_clients' parameter"},
		{"max_clients = 5000000000", internal + "1: value for 'max_clients' parameter must be in range 0:4294967295"},
		{"keepalive_interval = 'x'", internal + "1: expected a signed integer for 'keepalive_interval' parameter"},
		{"keepalive_interval = -3000000000", internal + "1: value for 'keepalive_interval' parameter must be in range -2147483648:2147483647"},
		{"access_drivers = \"x\"\n", internal + "1: expected a string list for 'access_drivers' parameter"},
		{"access_drivers = [ 1 ]\n", internal + "1: expected a string list for 'access_drivers' parameter"},
		{"auth_tls = \"foo\"\n", unsupported + "1: auth_tls: unsupported auth foo"},
		{"unix_sock_rw_perms = \"9\"", internal + "1: Failed to parse mode '9'"},
		{"unix_sock_rw_perms = \"7777777\"", internal + "1: Failed to parse mode '7777777'"},
		{"host_uuid_source = \"dice\"", internal + "1: invalid UUID source: dice"},
	} {
		f, err := Parse("x.conf", c.text)
		if err == nil {
			d := Default("libvirtd", true, true)
			err = d.apply(f)
		}
		if e, ok := err.(*liberr.Error); !ok || e.Message != c.want || e.Domain != liberr.FromConf {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestGoodSyntaxThatNoKeyWants(t *testing.T) {
	for _, text := range []string{"a = [[\"x\"]]", "a = [1, \"x\"]", "listen_tls_ = 0\nno_such.key-at/all? = 1"} {
		f, err := Parse("x", text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		d := Default("virtqemud", true, true)
		if err := d.apply(f); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	root, user, proxy := Default("libvirtd", true, true), Default("libvirtd", false, true), Default("virtproxyd", true, false)
	if root.SockRWMode != 0o777 || root.AuthUnixRW != AuthPolkit || root.AuthUnixRO != AuthPolkit || !root.ListenTLS {
		t.Errorf("root with polkit: %+v", root)
	}
	if user.SockRWMode != 0o700 || user.AuthUnixRW != AuthNone {
		t.Errorf("session: %+v", user)
	}
	if proxy.SockRWMode != 0o700 || proxy.ListenTLS || proxy.AuthUnixRW != AuthNone || proxy.SockROMode != 0o777 {
		t.Errorf("proxy without polkit: %+v", proxy)
	}
	if l := Default("virtlogd", true, true); l.Server.MaxClients != 1024 || l.LogMaxSize != 2097152 {
		t.Errorf("virtlogd: %+v", l)
	}
}

func TestSocketClosesWhenPolkitIsTurnedOff(t *testing.T) {
	for text, want := range map[string]os.FileMode{
		"":                        0o777,
		`auth_unix_rw = "none"`:   0o700,
		`auth_unix_rw = "sasl"`:   0o700,
		`auth_unix_rw = "polkit"`: 0o777,
		"auth_unix_rw = \"none\"\nunix_sock_rw_perms = \"0770\"": 0o770,
		`unix_sock_rw_perms = "0770"`:                            0o770,
	} {
		f, _ := Parse("x", text)
		d := Default("virtqemud", true, true)
		if err := d.apply(f); err != nil || d.SockRWMode != want {
			t.Errorf("%q: mode %v, %v", text, d.SockRWMode, err)
		}
	}
}

func TestCertificateLists(t *testing.T) {
	for text, want := range map[string][]string{
		`cert_file = "a"`:                             {"a"},
		`cert_files = ["a", "b"]`:                     {"a", "b"},
		"cert_file = \"x\"\ncert_files = [\"a\"]":     {"a"},
		`key_file = "only the key"`:                   nil,
		`tls_allowed_dn_list = []` + "\ncert_file=''": nil,
	} {
		f, _ := Parse("x", text)
		d := Default("virtproxyd", true, true)
		if err := d.apply(f); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, d.CertFiles); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestMissingFileIsEmpty(t *testing.T) {
	d, err := Load(filepath.Join(t.TempDir(), "none.conf"), "virtqemud", true, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default("virtqemud", true, true), d); diff != "" {
		t.Error(diff)
	}
}

// TestLibvirtsOwnFiles reads what libvirt ships: as it is, and with every suggestion switched on.
func TestLibvirtsOwnFiles(t *testing.T) {
	files, _ := filepath.Glob("/etc/libvirt/*.conf")
	if len(files) == 0 {
		t.Skip("libvirt's configuration files are not installed")
	}
	suggestion := regexp.MustCompile(`(?m)^#([a-z0-9_]+ *= *("[^"\n]*"|[0-9-]+|\[[^\[\]\n]*\]))$`)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(name, string(b)); err != nil {
			t.Error(err)
		}
		on := suggestion.ReplaceAllString(string(b), "$1")
		f, err := Parse(name, on)
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(name, "/libvirtd.conf") {
			if len(f.Keys) < 45 {
				t.Errorf("only %d suggestions found in %s", len(f.Keys), name)
			}
			d := Default("libvirtd", true, true)
			if err := d.apply(f); err != nil {
				t.Error(err)
			}
			if d.SockGroup != "libvirt" || d.SockRWMode != 0o770 || d.TCPMinSSF != 112 || d.LogOutputs != "3:syslog:libvirtd" {
				t.Errorf("%+v", d)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a = [\"b\", 1, [2]]\nb = '''x'''\nc = -1 # d")
	f.Add("a = \"\"\"x\ny\"\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("x", text)
		if err == nil {
			d := Default("libvirtd", true, true)
			d.apply(file)
		}
	})
}
