package sockets

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"time"

	"virtree/wire/liberr"
)

var errNoTLS = liberr.New(liberr.FromRPC, liberr.ConfigUnsupported, "a TLS socket needs a certificate, a key and a CA certificate")

// TLSFiles names the files and rules of a TLS service: the tls_* and *_file keys of the daemons' configuration.
type TLSFiles struct {
	CA, CRL     string
	Cert, Key   []string // pairs; clients get the first that suits them
	CRLOptional bool     // a missing CRL file means no CRL: so with the default path

	NoSanityCheck bool     // start with certificates that cannot work
	NoVerify      bool     // let any client in
	AllowedDNs    []string // patterns with * and ?; nil allows every verified client
}

// SystemTLSFiles are the files libvirt uses when the configuration names none.
func SystemTLSFiles(root string) TLSFiles {
	return TLSFiles{
		CA: filepath.Join(root, "/etc/pki/CA/cacert.pem"), CRL: filepath.Join(root, "/etc/pki/CA/crl.pem"), CRLOptional: true,
		Cert: []string{filepath.Join(root, "/etc/pki/libvirt/servercert.pem")},
		Key:  []string{filepath.Join(root, "/etc/pki/libvirt/private/serverkey.pem")},
	}
}

// UserTLSFiles are the files of a session daemon.
func UserTLSFiles(home string) TLSFiles {
	dir := filepath.Join(home, ".pki/libvirt")
	return TLSFiles{
		CA: filepath.Join(dir, "cacert.pem"), CRL: filepath.Join(dir, "cacrl.pem"), CRLOptional: true,
		Cert: []string{filepath.Join(dir, "servercert.pem")}, Key: []string{filepath.Join(dir, "serverkey.pem")},
	}
}

// TLSContext is a loaded set of certificates and who may connect with them. Reload replaces the certificates for connections to
// come, which is what virt-admin's server-update-tls asks for.
type TLSContext struct {
	files TLSFiles
	now   func() time.Time
	cur   atomic.Pointer[credentials]
}

type credentials struct {
	config *tls.Config
	roots  *x509.CertPool
	ca     []*x509.Certificate
	crls   []*x509.RevocationList
}

// LoadTLS reads and checks the files.
func LoadTLS(files TLSFiles) (*TLSContext, error) {
	c := &TLSContext{files: files, now: time.Now}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again. On an error the old certificates stay.
func (c *TLSContext) Reload() error {
	cred, err := c.load()
	if err != nil {
		return err
	}
	c.cur.Store(cred)
	return nil
}

func (c *TLSContext) serverConfig() *tls.Config { return c.cur.Load().config }

func (c *TLSContext) load() (*credentials, error) {
	cred := &credentials{roots: x509.NewCertPool()}
	var err error
	if cred.ca, err = readCertificates(c.files.CA, "CA certificate"); err != nil {
		return nil, err
	}
	for _, ca := range cred.ca {
		cred.roots.AddCert(ca)
	}
	if cred.crls, err = c.loadCRLs(cred.ca); err != nil {
		return nil, err
	}
	if len(c.files.Cert) == 0 || len(c.files.Cert) != len(c.files.Key) {
		return nil, liberr.New(liberr.FromRPC, liberr.ConfigUnsupported, "%d server certificates do not pair with %d keys",
			len(c.files.Cert), len(c.files.Key))
	}
	var pairs []tls.Certificate
	for i := range c.files.Cert {
		pair, err := c.loadPair(c.files.Cert[i], c.files.Key[i], cred)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	// The client's certificate is asked for here and judged in authorize, after the handshake: a client that is
	// refused must see a finished handshake and then the end, as libvirt's clients expect it.
	cred.config = &tls.Config{
		Certificates: pairs, ClientAuth: tls.RequestClientCert, ClientCAs: cred.roots, MinVersion: tls.VersionTLS12,
		SessionTicketsDisabled: true, // a resumed session would skip the client's certificate
	}
	return cred, nil
}

func (c *TLSContext) loadPair(certFile, keyFile string, cred *credentials) (pair tls.Certificate, err error) {
	chain, err := readCertificates(certFile, "server certificate")
	if err != nil {
		return pair, err
	}
	if _, err := os.Stat(keyFile); err != nil {
		return pair, liberr.System(liberr.FromRPC, err, "Cannot read server key '%s'", keyFile)
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return pair, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to set x509 key and certificate: %s, %s: %s",
			keyFile, certFile, err).WithCause(err)
	}
	if c.files.NoSanityCheck {
		return pair, nil
	}
	return pair, c.sane(chain, certFile, cred)
}

// sane finds now what would make every client fail later.
func (c *TLSContext) sane(chain []*x509.Certificate, certFile string, cred *credentials) error {
	bad := func(format string, args ...any) error {
		return liberr.New(liberr.FromRPC, liberr.SystemError, format, args...)
	}
	now := c.now()
	dated := func(cert *x509.Certificate, what, file string) error {
		switch {
		case now.Before(cert.NotBefore):
			return bad("The %s certificate %s is not yet active", what, file)
		case now.After(cert.NotAfter):
			return bad("The %s certificate %s has expired", what, file)
		}
		return nil
	}
	if err := dated(chain[0], "server", certFile); err != nil {
		return err
	}
	if chain[0].BasicConstraintsValid && chain[0].IsCA {
		return bad("The certificate %s basic constraints show a CA, but we need one for a server", certFile)
	}
	for _, ca := range cred.ca {
		if err := dated(ca, "CA", c.files.CA); err != nil {
			return err
		}
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return bad("The certificate %s basic constraints do not show a CA", c.files.CA)
		}
		if ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0 {
			return bad("Certificate %s usage does not permit certificate signing", c.files.CA)
		}
	}
	if err := verify(chain, cred, x509.ExtKeyUsageServerAuth, now); err != nil {
		return bad("Our own certificate %s failed validation against %s: %s", certFile, c.files.CA, err)
	}
	return nil
}

func (c *TLSContext) loadCRLs(issuers []*x509.Certificate) ([]*x509.RevocationList, error) {
	if c.files.CRL == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.files.CRL)
	if errors.Is(err, os.ErrNotExist) && c.files.CRLOptional {
		return nil, nil
	}
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Cannot read certificate revocation list '%s'", c.files.CRL)
	}
	var out []*x509.RevocationList
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		crl, err := x509.ParseRevocationList(block.Bytes)
		if err == nil {
			err = signedByAny(crl, issuers)
		}
		if err != nil {
			return nil, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to set x509 certificate revocation list: %s: %s",
				c.files.CRL, err).WithCause(err)
		}
		out = append(out, crl)
	}
	if len(out) == 0 {
		return nil, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to set x509 certificate revocation list: %s: no list in it", c.files.CRL)
	}
	return out, nil
}

func signedByAny(crl *x509.RevocationList, issuers []*x509.Certificate) error {
	var errs []error
	for _, ca := range issuers {
		err := crl.CheckSignatureFrom(ca)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func readCertificates(file, what string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Cannot read %s '%s'", what, file)
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to import %s '%s': %s", what, file, err).WithCause(err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to import %s '%s': no certificate in it", what, file)
	}
	return out, nil
}

// verify checks that chain[0] leads to our CA for the given use and that nothing on the way was revoked.
func verify(chain []*x509.Certificate, cred *credentials, use x509.ExtKeyUsage, now time.Time) error {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: cred.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	})
	if err != nil {
		return err
	}
	for _, p := range paths {
		if err = revoked(p, cred.crls); err == nil {
			return nil
		}
	}
	return err
}

func revoked(path []*x509.Certificate, crls []*x509.RevocationList) error {
	for _, cert := range path {
		for _, crl := range crls {
			if string(crl.RawIssuer) != string(cert.RawIssuer) {
				continue
			}
			for _, entry := range crl.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
					return fmt.Errorf("the certificate %s has been revoked", DName(cert))
				}
			}
		}
	}
	return nil
}

// authorize decides whether the client of a finished handshake may go on.
func (c *TLSContext) authorize(state tls.ConnectionState) error {
	if c.files.NoVerify {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return refuse("the client sent no certificate", nil)
	}
	if err := verify(state.PeerCertificates, c.cur.Load(), x509.ExtKeyUsageClientAuth, c.now()); err != nil {
		return refuse(err.Error(), err)
	}
	if c.files.AllowedDNs == nil {
		return nil
	}
	name := DName(state.PeerCertificates[0])
	for _, pattern := range c.files.AllowedDNs {
		if MatchPattern(pattern, name) {
			return nil
		}
	}
	return refuse(fmt.Sprintf("Client's Distinguished Name '%s' is not on the list of allowed clients", name), nil)
}

func refuse(detail string, cause error) error {
	return liberr.New(liberr.FromRPC, liberr.AuthFailed, "Failed to verify peer's certificate: %s", detail).WithCause(cause)
}

// MatchPattern matches * (any run, slashes too) and ? (any one character); everything else is itself.
func MatchPattern(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	star, mark := -1, 0
	i, k := 0, 0
	for k < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, k
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[k]):
			i++
			k++
		case star >= 0:
			mark++
			i, k = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// cipherBits is the key length of a cipher suite.
func cipherBits(suite uint16) int {
	name := tls.CipherSuiteName(suite)
	for _, c := range []struct {
		pattern string
		bits    int
	}{{"*AES_256*", 256}, {"*CHACHA20*", 256}, {"*AES_128*", 128}, {"*3DES*", 112}} {
		if ok, _ := path.Match(c.pattern, name); ok {
			return c.bits
		}
	}
	return 0
}
