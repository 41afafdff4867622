package sockets

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/wire/liberr"
)

// authority is a certificate authority for one test, with files in libvirt's layout.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T, change ...func(*x509.Certificate)) *authority {
	a := &authority{t: t, dir: t.TempDir(), next: 100}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, c := range change {
		c(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.write("cacert.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue makes NAMEcert.pem and NAMEkey.pem.
func (a *authority) issue(name string, use x509.ExtKeyUsage, change ...func(*x509.Certificate)) *x509.Certificate {
	a.t.Helper()
	a.next++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.next),
		Subject:      pkix.Name{Country: []string{"GB"}, Organization: []string{"Example, Inc."}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{use},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	for _, c := range change {
		c(tmpl)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+"cert.pem", "CERTIFICATE", der)
	kder, _ := x509.MarshalPKCS8PrivateKey(key)
	a.write(name+"key.pem", "PRIVATE KEY", kder)
	cert, _ := x509.ParseCertificate(der)
	return cert
}

func (a *authority) revoke(cert *x509.Certificate) {
	a.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()}},
	}, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("cacrl.pem", "X509 CRL", der)
}

func (a *authority) files() TLSFiles {
	return TLSFiles{
		CA: a.path("cacert.pem"), CRL: a.path("cacrl.pem"), CRLOptional: true,
		Cert: []string{a.path("servercert.pem")}, Key: []string{a.path("serverkey.pem")},
	}
}

// serve listens and treats each client as a daemon would: handshake, then whatever serve does.
func serveTLS(t *testing.T, files TLSFiles, serve func(*Conn, Peer)) (port string, results <-chan error) {
	t.Helper()
	ctx, err := LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Listen(Spec{Daemon: "virtproxyd", ListenTLS: true, Addr: "127.0.0.1", TLSPort: "0", TLS: ctx}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	done := make(chan error, 10)
	go func() {
		for {
			c, err := set.Listeners[0].Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				hctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				if err := c.Handshake(hctx); err != nil {
					done <- err
					return
				}
				p, err := c.Peer()
				if err == nil {
					serve(c, p)
				}
				done <- err
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(set.Listeners[0].Addr().String())
	return port, done
}

// dialTLS connects with a client certificate, or with none for "", and reads the byte that means welcome.
func (a *authority) dialTLS(port, client string) error {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	conf := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if client != "" {
		pair, err := tls.LoadX509KeyPair(a.path(client+"cert.pem"), a.path(client+"key.pem"))
		if err != nil {
			a.t.Fatal(err)
		}
		// Whatever the server asks for: a bad certificate is to be refused by it, not held back by us.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, conf)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 10)
	n, err := io.ReadAtLeast(c, b, 1)
	if err != nil {
		return err
	}
	if n != 1 || b[0] != 1 {
		return fmt.Errorf("welcome is %v", b[:n])
	}
	return nil
}

func TestTLSClients(t *testing.T) {
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	cases := []struct {
		name   string
		client string // "" for none
		use    x509.ExtKeyUsage
		change func(*x509.Certificate)
		files  func(*TLSFiles)
		refuse string // part of the server's reason; "" if the client gets in
	}{
		{name: "a good client gets in", client: "bob", use: x509.ExtKeyUsageClientAuth},
		{name: "no certificate", refuse: "sent no certificate"},
		{name: "no certificate is fine without verification", files: func(f *TLSFiles) { f.NoVerify = true }},
		{name: "an expired one", client: "bob", use: x509.ExtKeyUsageClientAuth, change: expired, refuse: "expired"},
		{name: "a server's certificate", client: "bob", use: x509.ExtKeyUsageServerAuth, refuse: "incompatible key usage"},
		{name: "on the list by wildcard", client: "bob", use: x509.ExtKeyUsageClientAuth,
			files: func(f *TLSFiles) { f.AllowedDNs = []string{"C=FR*", `C=GB,O=Example\, Inc.,CN=b?b`} }},
		{name: "not on the list", client: "eve", use: x509.ExtKeyUsageClientAuth,
			files: func(f *TLSFiles) { f.AllowedDNs = []string{"*CN=bob"} }, refuse: "not on the list of allowed clients"},
		{name: "an empty list allows nobody", client: "bob", use: x509.ExtKeyUsageClientAuth,
			files: func(f *TLSFiles) { f.AllowedDNs = []string{} }, refuse: "not on the list"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t)
			a.issue("server", x509.ExtKeyUsageServerAuth)
			if c.client != "" {
				if c.change == nil {
					c.change = func(*x509.Certificate) {}
				}
				a.issue(c.client, c.use, c.change)
			}
			files := a.files()
			if c.files != nil {
				c.files(&files)
			}
			var dn string
			port, results := serveTLS(t, files, func(conn *Conn, p Peer) {
				dn = p.X509DName
				if conn.SSF() < 128 || p.Kind != TLS || p.Remote.Addr().String() != "127.0.0.1" {
					t.Errorf("peer %+v, %d bits", p, conn.SSF())
				}
			})
			err := a.dialTLS(port, c.client)
			server := <-results
			if c.refuse == "" {
				if err != nil || server != nil {
					t.Errorf("client: %v, server: %v", err, server)
				}
				want := ""
				if c.client != "" {
					want = `C=GB,O=Example\, Inc.,CN=` + c.client
				}
				if dn != want {
					t.Errorf("name %q, want %q", dn, want)
				}
				return
			}
			if err == nil {
				t.Error("the client got in")
			}
			if server == nil || !strings.Contains(server.Error(), c.refuse) || !errors.Is(server, liberr.AuthFailed) {
				t.Errorf("server's reason is %v, want %q", server, c.refuse)
			}
		})
	}
}

func TestRevokedClientIsRefusedAfterReload(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	bob := a.issue("bob", x509.ExtKeyUsageClientAuth)
	a.issue("amy", x509.ExtKeyUsageClientAuth)
	ctx, err := LoadTLS(a.files())
	if err != nil {
		t.Fatal(err)
	}
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{bob}}
	if err := ctx.authorize(state); err != nil {
		t.Fatal(err)
	}
	a.revoke(bob)
	if err := ctx.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := ctx.authorize(state); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v", err)
	}
	// A list that another authority signed must not replace the good one.
	other := newAuthority(t)
	other.revoke(bob)
	b, _ := os.ReadFile(other.path("cacrl.pem"))
	os.WriteFile(a.path("cacrl.pem"), b, 0o600)
	if err := ctx.Reload(); err == nil {
		t.Error("a foreign revocation list is accepted")
	}
	if err := ctx.authorize(state); err == nil {
		t.Error("a failed reload dropped the old list")
	}
}

func TestBadServerFilesAreFoundAtStart(t *testing.T) {
	cases := []struct {
		name, want string
		ca         func(*x509.Certificate)
		server     func(*x509.Certificate)
		files      func(*authority, *TLSFiles)
	}{
		{name: "no CA", want: "Cannot read CA certificate", files: func(a *authority, f *TLSFiles) { f.CA = a.path("none") }},
		{name: "no certificate", want: "Cannot read server certificate", files: func(a *authority, f *TLSFiles) { f.Cert[0] = a.path("none") }},
		{name: "no key", want: "Cannot read server key", files: func(a *authority, f *TLSFiles) { f.Key[0] = a.path("none") }},
		{name: "the wrong key", want: "Unable to set x509 key and certificate", files: func(a *authority, f *TLSFiles) {
			a.issue("other", x509.ExtKeyUsageServerAuth)
			f.Key[0] = a.path("otherkey.pem")
		}},
		{name: "no CRL where one is asked for", want: "Cannot read certificate revocation list", files: func(a *authority, f *TLSFiles) { f.CRLOptional = false }},
		{name: "expired", want: "has expired", server: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }},
		{name: "not yet", want: "not yet active", server: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }},
		{name: "a CA that is none", want: "do not show a CA", ca: func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }},
		{name: "a client's certificate", want: "failed validation", server: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			nothing := func(*x509.Certificate) {}
			if c.ca == nil {
				c.ca = nothing
			}
			if c.server == nil {
				c.server = nothing
			}
			a := newAuthority(t, c.ca)
			a.issue("server", x509.ExtKeyUsageServerAuth, c.server)
			files := a.files()
			if c.files != nil {
				c.files(a, &files)
			}
			if _, err := LoadTLS(files); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.files == nil {
				files.NoSanityCheck = true
				if _, err := LoadTLS(files); err != nil {
					t.Errorf("without the sanity check: %v", err)
				}
			}
		})
	}
}

// TestDNameIsLibvirts compares with the tool that libvirt ships for writing tls_allowed_dn_list.
func TestDNameIsLibvirts(t *testing.T) {
	tool, err := exec.LookPath("virt-pki-query-dn")
	if err != nil {
		t.Skip("virt-pki-query-dn is not installed")
	}
	a := newAuthority(t)
	names := map[string]pkix.Name{
		"plain":  {Country: []string{"DE"}, Province: []string{"Berlin"}, Locality: []string{"Mitte"}, Organization: []string{"Org"}, OrganizationalUnit: []string{"Unit"}, CommonName: "host.example.com"},
		"signs":  {Organization: []string{`a,b+c"d\e<f>g;h=i`}, CommonName: " # lead and trail "},
		"hash":   {CommonName: "#x"},
		"utf8":   {Organization: []string{"Müller & Söhne"}, CommonName: "x"},
		"many":   {Organization: []string{"one", "two"}, CommonName: "x"},
		"serial": {SerialNumber: "77", CommonName: "x", StreetAddress: []string{"Road 1"}, PostalCode: []string{"12345"}},
	}
	for name, subject := range names {
		cert := a.issue(name, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.Subject = subject })
		out, err := exec.Command(tool, a.path(name+"cert.pem")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if want := string(bytes.TrimSuffix(out, []byte("\n"))); DName(cert) != want {
			t.Errorf("%s: %q, libvirt says %q", name, DName(cert), want)
		}
	}
}

func TestMatchPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "abbbc", true}, {"a*c", "abbb", false}, {"a?c", "abc", true},
		{"a?c", "ac", false}, {"*CN=x", "C=GB,CN=x", true}, {"*CN=x", "C=GB,CN=xy", false}, {"**a**", "bab", true}, {"[a]", "a", false},
		{"a*b*c", "aXbYbZc", true}, {"?", "ü", true},
	} {
		if got := MatchPattern(c.pattern, c.s); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.s, got)
		}
	}
}

// TestRealClientOverTLS lets virsh connect through our listener; what it says behind the handshake goes on to the libvirtd
// of this machine.
func TestRealClientOverTLS(t *testing.T) {
	const libvirtd = "/run/libvirt/libvirt-sock"
	virsh, err := exec.LookPath("virsh")
	if err != nil {
		t.Skip("virsh is not installed")
	}
	if c, err := net.Dial("unix", libvirtd); err != nil {
		t.Skip("no libvirtd to pass on to: ", err)
	} else {
		c.Close()
	}
	a := newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	a.issue("client", x509.ExtKeyUsageClientAuth)
	port, results := serveTLS(t, a.files(), func(c *Conn, _ Peer) {
		up, err := net.Dial("unix", libvirtd)
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			io.Copy(up, c.Transport())
			up.(*net.UnixConn).CloseWrite()
		}()
		io.Copy(c.Transport(), up)
	})
	out, err := exec.CommandContext(t.Context(), virsh, "-c", "qemu+tls://localhost:"+port+"/system?pkipath="+a.dir, "version", "--daemon").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Running against daemon") {
		t.Fatalf("virsh: %v: %s", err, out)
	}
	if err := <-results; err != nil {
		t.Error(err)
	}
}
