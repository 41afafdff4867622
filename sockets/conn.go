package sockets

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Conn is one accepted client, before it speaks the protocol.
type Conn struct {
	Kind  Kind
	Since time.Time // of the accept

	raw        net.Conn
	transport  net.Conn
	tls        *tls.Conn   // nil unless Kind is TLS
	tlsContext *TLSContext // likewise
}

// Handshake brings the transport up to where packets can flow. It waits for the peer for TLS, and only then; ctx bounds
// that. A client that is refused is only told by closing, which is left to the caller.
func (c *Conn) Handshake(ctx context.Context) error {
	if c.tls == nil {
		return nil
	}
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake failed: %w", err)
	}
	if err := c.tlsContext.authorize(c.tls.ConnectionState()); err != nil {
		return err
	}
	// libvirt's clients wait for one byte that says the server accepted their certificate.
	if d, ok := ctx.Deadline(); ok {
		c.raw.SetWriteDeadline(d)
		defer c.raw.SetWriteDeadline(time.Time{})
	}
	_, err := c.tls.Write([]byte{1})
	return err
}

// Transport is what packets travel on, after Handshake: for rpc.NewConn. It is the bare *net.UnixConn or *net.TCPConn where
// possible.
func (c *Conn) Transport() net.Conn { return c.transport }

// Close ends the connection.
func (c *Conn) Close() error { return c.raw.Close() }

// Peer tells who connected; after Handshake.
func (c *Conn) Peer() (Peer, error) {
	if u, ok := c.raw.(*net.UnixConn); ok {
		return unixPeer(u, c.Kind)
	}
	p := Peer{Kind: c.Kind, Remote: addrPort(c.raw.RemoteAddr()), Local: addrPort(c.raw.LocalAddr())}
	if c.tls != nil {
		// An unverified name is nobody's name.
		if certs := c.tls.ConnectionState().PeerCertificates; len(certs) > 0 && !c.tlsContext.files.NoVerify {
			p.X509DName = DName(certs[0])
		}
	}
	return p, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// SSF is the strength in bits of the encryption that the transport itself gives: what SASL need not add.
func (c *Conn) SSF() int {
	if c.tls == nil {
		return 0
	}
	return cipherBits(c.tls.ConnectionState().CipherSuite)
}
