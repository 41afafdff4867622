package sockets

import (
	"path/filepath"

	"virtree/sockets/config"
)

// FromConfig makes the Spec of a daemon from its configuration. rw, ro and admin are the usual paths ("" for none);
// unix_sock_dir moves them. listen is libvirtd's --listen, without which listen_tcp and listen_tls mean nothing to it; virtproxyd
// passes true. TLS is left to the caller, who knows when it needs certificates: see ListenTLS and TLSFilesFromConfig.
func FromConfig(daemon string, c *config.Daemon, rw, ro, admin string, listen bool) Spec {
	at := func(path string) string {
		if path == "" || c.SockDir == "" {
			return path
		}
		return filepath.Join(c.SockDir, filepath.Base(path))
	}
	return Spec{
		Daemon:    daemon,
		RW:        UnixSocket{Path: at(rw), Mode: c.SockRWMode, Group: c.SockGroup},
		RO:        UnixSocket{Path: at(ro), Mode: c.SockROMode, Group: c.SockGroup},
		Admin:     UnixSocket{Path: at(admin), Mode: c.SockAdmMode, Group: c.SockGroup},
		ListenTCP: listen && c.ListenTCP, ListenTLS: listen && c.ListenTLS,
		Addr: c.ListenAddr, TCPPort: c.TCPPort, TLSPort: c.TLSPort,
		Backlog: int(c.Server.MaxQueuedClients), AdminBacklog: int(c.Admin.MaxQueuedClients),
	}
}

// TLSFilesFromConfig puts what the configuration names over the usual files.
func TLSFilesFromConfig(c *config.Daemon, usual TLSFiles) TLSFiles {
	f := usual
	if c.CAFile != "" {
		f.CA = c.CAFile
	}
	if c.CRLFile != "" {
		f.CRL, f.CRLOptional = c.CRLFile, false
	}
	if c.CertFiles != nil {
		f.Cert = c.CertFiles
	}
	if c.KeyFiles != nil {
		f.Key = c.KeyFiles
	}
	f.NoSanityCheck, f.NoVerify, f.AllowedDNs = c.TLSNoSanity, c.TLSNoVerify, c.TLSAllowedDNs
	return f
}
