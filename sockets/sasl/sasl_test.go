package sasl

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"virtree/sockets"
	"virtree/wire/liberr"
)

func users(t testing.TB, list ...string) Users {
	u := Users{}
	for _, item := range list {
		name, password, _ := strings.Cut(item, ":")
		for _, m := range []string{ScramSHA256, ScramSHA1} {
			v, err := deriveVerifier(m, password, []byte("salt of "+name), 4096)
			if err != nil {
				t.Fatal(err)
			}
			u[name] = append(u[name], v)
		}
	}
	return u
}

func fixed(u Users) *Server { return newServer(func() (Users, error) { return u, nil }, nil) }

// The examples in RFC 5802, section 5, and RFC 7677, section 3.
func TestExamplesOfTheRFCs(t *testing.T) {
	for _, c := range []struct{ mechanism, salt, nonce, first, challenge, final, signature string }{
		{ScramSHA1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{ScramSHA256, "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		salt, _ := base64.StdEncoding.DecodeString(c.salt)
		v, err := deriveVerifier(c.mechanism, "pencil", salt, 4096)
		if err != nil {
			t.Fatal(err)
		}
		s := fixed(Users{"user": {v}})
		s.nonce = func() string { return c.nonce }
		n, out, err := s.Start(sockets.ReadWrite, c.mechanism, []byte(c.first))
		if err != nil || string(out) != c.challenge || n.Complete() {
			t.Fatalf("%s: %q, %v", c.mechanism, out, err)
		}
		out, err = n.Step([]byte(c.final))
		if err != nil || string(out) != c.signature || !n.Complete() || n.User() != "user" {
			t.Errorf("%s: %q, %v", c.mechanism, out, err)
		}
		if _, err := n.Step(nil); err == nil {
			t.Errorf("%s goes on after its end", c.mechanism)
		}
	}
}

func TestPlain(t *testing.T) {
	s := fixed(users(t, "fred:secret"))
	for data, want := range map[string]bool{
		"\x00fred\x00secret": true, "fred\x00fred\x00secret": true, "\x00fred\x00wrong": false, "\x00nobody\x00secret": false,
		"root\x00fred\x00secret": false, "\x00\x00secret": false, "fred": false, "": false, "\x00fred\x00secret\x00": false,
	} {
		n, _, err := s.Start(sockets.TLS, Plain, []byte(data))
		if want != (err == nil && n.Complete() && n.User() == "fred") {
			t.Errorf("%q: %v", data, err)
		}
	}
	// Without data in the first packet the server asks for it.
	n, out, err := s.Start(sockets.TLS, Plain, nil)
	if err != nil || out == nil || len(out) != 0 || n.Complete() {
		t.Fatalf("%q, %v", out, err)
	}
	if _, err := n.Step([]byte("\x00fred\x00secret")); err != nil || !n.Complete() {
		t.Error(err)
	}
}

func TestTransportDecidesWhatIsOffered(t *testing.T) {
	s := fixed(users(t, "fred:secret"))
	for kind, want := range map[sockets.Kind][]string{
		sockets.TCP: nil, sockets.ReadWrite: {ScramSHA256, ScramSHA1}, sockets.ReadOnly: {ScramSHA256, ScramSHA1}, sockets.TLS: {ScramSHA256, ScramSHA1, Plain},
	} {
		if got := s.Mechanisms(kind); !slices.Equal(got, want) {
			t.Errorf("%v: %v", kind, got)
		}
		for _, m := range []string{Plain, ScramSHA1, "GSSAPI", ""} {
			_, _, err := s.Start(kind, m, nil)
			if (err == nil) != slices.Contains(want, m) {
				t.Errorf("%s on %v: %v", m, kind, err)
			}
		}
	}
	if _, err := s.MechanismList(sockets.TCP); !errors.Is(err, liberr.AuthFailed) {
		t.Error(err)
	}
}

// Whatever goes wrong, the client learns the same.
func TestFailuresLookAlike(t *testing.T) {
	first := "n,,n=fred,r=abc"
	for name, c := range map[string]struct {
		first, final string
		cause        error
	}{
		"channel binding":     {first: "p=tls-unique,,n=fred,r=abc", cause: errBinding},
		"another's identity":  {first: "n,a=root,n=fred,r=abc", cause: errAuthzid},
		"unknown extension":   {first: "n,,m=x,n=fred,r=abc", cause: errMalformed},
		"no nonce":            {first: "n,,n=fred,r=", cause: errMalformed},
		"bad escape":          {first: "n,,n=fr=20ed,r=abc", cause: errMalformed},
		"nothing":             {first: "", cause: errMalformed},
		"very long":           {first: strings.Repeat("n", 10000), cause: errTooLong},
		"other nonce":         {first: first, final: "c=biws,r=abcother,p=AAAA", cause: errNonce},
		"other header":        {first: first, final: "c=eSws,r=abcnonce,p=AAAA", cause: errBinding},
		"no proof":            {first: first, final: "c=biws,r=abcnonce", cause: errMalformed},
		"short proof":         {first: first, final: "c=biws,r=abcnonce,p=AAAA", cause: errMalformed},
		"wrong proof":         {first: first, final: "c=biws,r=abcnonce,p=" + b64.EncodeToString(make([]byte, 32)), cause: errWrong},
		"unknown user, proof": {first: "n,,n=nobody,r=abc", final: "c=biws,r=abcnonce,p=" + b64.EncodeToString(make([]byte, 32)), cause: errWrong},
	} {
		s := fixed(users(t, "fred:secret"))
		s.nonce = func() string { return "nonce" }
		n, _, err := s.Start(sockets.ReadWrite, ScramSHA256, []byte(c.first))
		if c.final != "" && err == nil {
			_, err = n.Step([]byte(c.final))
		}
		if !errors.Is(err, c.cause) || err == nil || err.Error() != "authentication failed: authentication failed" {
			t.Errorf("%s: %v, cause %v", name, err, errors.Unwrap(err))
		}
		if n != nil && (n.Complete() || n.User() != "") {
			t.Errorf("%s: complete", name)
		}
	}
}

func TestUnknownUserHasAStableSalt(t *testing.T) {
	s := fixed(users(t, "fred:secret"))
	s.nonce = func() string { return "nonce" }
	ask := func(user string) string {
		_, out, err := s.Start(sockets.ReadWrite, ScramSHA256, []byte("n,,n="+user+",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if first, again := ask("nobody"), ask("nobody"); first != again || first == ask("somebody") {
		t.Error("the salt tells that the user does not exist")
	}
}

func TestAllowedNames(t *testing.T) {
	for allowed, want := range map[string]bool{"fred": true, "*@EXAMPLE": false, "f*": true, "joe": false} {
		s := fixed(users(t, "fred:secret"))
		s.allowed = []string{"x", allowed}
		n, _, err := s.Start(sockets.TLS, Plain, []byte("\x00fred\x00secret"))
		if got := err == nil && n.Complete(); got != want {
			t.Errorf("%s: %v", allowed, err)
		}
	}
}

func TestDatabase(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users")
	v, err := NewVerifier(ScramSHA256, "pässword")
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(name, []byte("# users\n\nfred:"+v.String()+"\n"), 0o600)
	s := NewServer(name, nil)
	if n, _, err := s.Start(sockets.TLS, Plain, []byte("\x00fred\x00pässword")); err != nil || !n.Complete() {
		t.Error(err)
	}
	// A changed password counts at once.
	v, _ = NewVerifier(ScramSHA1, "new")
	os.WriteFile(name, []byte("fred:"+v.String()), 0o600)
	if _, _, err := s.Start(sockets.TLS, Plain, []byte("\x00fred\x00pässword")); err == nil {
		t.Error("the old password is good")
	}
	if _, _, err := s.Start(sockets.TLS, Plain, []byte("\x00fred\x00new")); err != nil {
		t.Error(err)
	}
	os.Chmod(name, 0o644)
	if _, err := ReadUsers(name); err == nil {
		t.Error("a database that everybody can read is accepted")
	}
	for _, bad := range []string{"fred", ":x", "fred:x", "fred:SCRAM-MD5$4096:YQ==$YQ==:YQ==", "fred:SCRAM-SHA-1$1:YQ==$YQ==:YQ==", "fred:SCRAM-SHA-1$4096:YQ==$YQ==:YQ==", "fred:SCRAM-SHA-1$4096$a:b"} {
		os.Remove(name)
		os.WriteFile(name, []byte("\n"+bad), 0o600)
		if _, err := ReadUsers(name); err == nil || !strings.Contains(err.Error(), ":2: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestVerifierSurvivesItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom([]string{ScramSHA1, ScramSHA256}).Draw(t, "mechanism")
		password := rapid.String().Draw(t, "password")
		v, err := deriveVerifier(m, password, []byte("s"), 4096)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseVerifier(v.String())
		if err != nil || got.String() != v.String() || !got.Check(password) || got.Check(password+"x") {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{"a": "a", "a=2Cb=3Dc": "a,b=c", "=3D=3D": "==", "=3D2C": "=2C", "a=": "!", "a=2c": "!", "==2C": "!"} {
		if got, err := unescape(s); err != nil && want != "!" || err == nil && got != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func FuzzSession(f *testing.F) {
	f.Add([]byte("n,,n=fred,r=abc"), []byte("c=biws,r=abcnonce,p=AAAA"))
	u := users(f, "fred:secret")
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, m := range []string{ScramSHA1, Plain} {
			s := fixed(u)
			s.nonce = func() string { return "nonce" }
			n, _, err := s.Start(sockets.TLS, m, a)
			if err == nil && !n.Complete() {
				_, err = n.Step(b)
			}
			if err == nil && n.Complete() && m == ScramSHA1 {
				t.Errorf("got in with %q %q", a, b)
			}
		}
	})
}
