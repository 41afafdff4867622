package config

import (
	"os"
	"strconv"
	"time"

	"virtree/wire/liberr"
)

// Auth is how clients of a socket prove who they are.
type Auth string

// Values of the auth_* keys.
const (
	AuthNone   Auth = "none"
	AuthSASL   Auth = "sasl"
	AuthPolkit Auth = "polkit"
)

// Limits are the sizes of one server (the daemon's own, or the admin one).
type Limits struct {
	MinWorkers, MaxWorkers, PrioWorkers uint
	MaxClients, MaxQueuedClients        uint
	MaxAnonymousClients                 uint // connected and not yet authenticated
	MaxClientRequests                   uint // calls of one client in flight
	KeepaliveInterval                   int  // seconds; -1 never pings
	KeepaliveCount                      uint
}

// Daemon holds the keys that the daemons share. The comments name the keys.
type Daemon struct {
	ListenTLS, ListenTCP bool   // listen_tls, listen_tcp
	TLSPort, TCPPort     string // tls_port, tcp_port
	ListenAddr           string // listen_addr

	SockGroup                           string      // unix_sock_group
	SockRWMode, SockROMode, SockAdmMode os.FileMode // unix_sock_rw_perms, ..._ro_perms, ..._admin_perms
	SockDir                             string      // unix_sock_dir; "" is the daemon's usual folder

	AuthUnixRW, AuthUnixRO, AuthTCP, AuthTLS Auth     // auth_*
	TCPMinSSF                                uint     // tcp_min_ssf
	AccessDrivers                            []string // access_drivers
	SASLAllowed                              []string // sasl_allowed_username_list; nil allows everybody

	KeyFiles, CertFiles []string // key_file(s), cert_file(s); nil are the usual paths
	CAFile, CRLFile     string   // ca_file, crl_file; "" is the usual path
	TLSNoSanity         bool     // tls_no_sanity_certificate
	TLSNoVerify         bool     // tls_no_verify_certificate
	TLSAllowedDNs       []string // tls_allowed_dn_list; nil allows every verified certificate
	TLSPriority         string   // tls_priority: kept, but the TLS library here is not GnuTLS and has no use for it

	Server, Admin Limits // max_clients, ...; admin_max_clients, ...

	LogLevel               uint   // log_level; 0 is not set
	LogFilters, LogOutputs string // log_filters, log_outputs
	AuditLevel             uint   // audit_level
	AuditLogging           bool   // audit_logging
	HostUUID               string // host_uuid; "" asks HostUUIDSource
	HostUUIDSource         string // host_uuid_source: smbios or machine-id

	OVSTimeout time.Duration // ovs_timeout

	// Not libvirt's: drivers that its own daemons serve for this one, "network" or "network=/path/to/socket".
	ForeignDrivers []string // foreign_drivers

	// Not libvirt's either: where the daemon's figures are scraped by TCP, "127.0.0.1:9177"; "" is nowhere. Other than
	// loopback addresses have to be allowed.
	MetricsListen      string // metrics_listen
	MetricsAllowRemote bool   // metrics_allow_remote

	// virtlogd.conf
	LogMaxSize, LogMaxBackups, LogMaxAgeDays uint64 // max_size, max_backups, max_age_days
}

// Default is what an empty file means. Two facts about the process change it: whether it runs as root, and whether polkit is
// there to ask.
func Default(daemon string, privileged, polkit bool) Daemon {
	d := Daemon{
		ListenTLS: daemon == "libvirtd", TLSPort: "16514", TCPPort: "16509",
		SockRWMode: 0o700, SockROMode: 0o777, SockAdmMode: 0o700,
		AuthUnixRW: AuthNone, AuthUnixRO: AuthNone, AuthTCP: AuthSASL, AuthTLS: AuthNone, TCPMinSSF: 56,
		Server: Limits{
			MinWorkers: 5, MaxWorkers: 20, PrioWorkers: 5, MaxClients: 5000, MaxQueuedClients: 1000, MaxAnonymousClients: 20,
			MaxClientRequests: 5, KeepaliveInterval: 5, KeepaliveCount: 5,
		},
		Admin: Limits{
			MinWorkers: 5, MaxWorkers: 20, MaxClients: 5000, MaxQueuedClients: 20, MaxClientRequests: 5,
			KeepaliveInterval: 5, KeepaliveCount: 5,
		},
		AuditLevel: 1, HostUUIDSource: "smbios", OVSTimeout: 5 * time.Second,
		LogMaxSize: 2 << 20, LogMaxBackups: 3,
	}
	if daemon == "virtlogd" || daemon == "virtlockd" {
		d.Server.MaxClients = 1024
		d.Admin.MaxClients = 5
	}
	if privileged && polkit {
		d.AuthUnixRW, d.AuthUnixRO = AuthPolkit, AuthPolkit
		d.SockRWMode = 0o777 // polkit decides
	}
	return d
}

// Load reads a daemon's file over its defaults.
func Load(file, daemon string, privileged, polkit bool) (Daemon, error) {
	d := Default(daemon, privileged, polkit)
	f, err := Read(file)
	if err != nil {
		return d, err
	}
	return d, d.apply(f)
}

// apply sets what the file sets. The first complaint wins; a daemon with a wrong file does not start.
func (d *Daemon) apply(f *File) error {
	openByPolkit := d.AuthUnixRW == AuthPolkit
	errs := []error{
		f.Bool("listen_tls", &d.ListenTLS), f.Bool("listen_tcp", &d.ListenTCP),
		f.String("tls_port", &d.TLSPort), f.String("tcp_port", &d.TCPPort), f.String("listen_addr", &d.ListenAddr),
		f.auth("auth_unix_rw", &d.AuthUnixRW), f.auth("auth_unix_ro", &d.AuthUnixRO),
		f.auth("auth_tcp", &d.AuthTCP), f.auth("auth_tls", &d.AuthTLS), f.Uint("tcp_min_ssf", &d.TCPMinSSF),
		f.String("unix_sock_group", &d.SockGroup), f.String("unix_sock_dir", &d.SockDir),
		f.Strings("access_drivers", false, &d.AccessDrivers), f.Strings("foreign_drivers", false, &d.ForeignDrivers),
		f.String("metrics_listen", &d.MetricsListen), f.Bool("metrics_allow_remote", &d.MetricsAllowRemote), f.Strings("sasl_allowed_username_list", false, &d.SASLAllowed),
		f.tlsFiles(d), f.Bool("tls_no_sanity_certificate", &d.TLSNoSanity), f.Bool("tls_no_verify_certificate", &d.TLSNoVerify),
		f.Strings("tls_allowed_dn_list", false, &d.TLSAllowedDNs), f.String("tls_priority", &d.TLSPriority),
		f.limits("", &d.Server), f.limits("admin_", &d.Admin),
		f.Uint("prio_workers", &d.Server.PrioWorkers), f.Uint("max_anonymous_clients", &d.Server.MaxAnonymousClients),
		f.Uint("log_level", &d.LogLevel), f.String("log_filters", &d.LogFilters), f.String("log_outputs", &d.LogOutputs),
		f.Uint("audit_level", &d.AuditLevel), f.Bool("audit_logging", &d.AuditLogging),
		f.hostUUID(d), f.ovsTimeout(d),
		f.Uint64("max_size", &d.LogMaxSize), f.Uint64("max_backups", &d.LogMaxBackups), f.Uint64("max_age_days", &d.LogMaxAgeDays),
	}
	// The socket is as open as its authentication is strict, unless the file says otherwise.
	if openByPolkit && d.AuthUnixRW != AuthPolkit {
		d.SockRWMode = 0o700
	}
	errs = append(errs, f.mode("unix_sock_rw_perms", &d.SockRWMode), f.mode("unix_sock_ro_perms", &d.SockROMode),
		f.mode("unix_sock_admin_perms", &d.SockAdmMode))
	if err := first(errs...); err != nil {
		return err
	}
	return d.check(f)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) check(f *File) error {
	if d.Server.MaxWorkers < 1 || d.Admin.MaxWorkers < 1 {
		return liberr.New(liberr.FromConf, liberr.ConfigUnsupported, "%s: 'max_workers' must be greater than 0", f.Name)
	}
	return nil
}

func (f *File) limits(prefix string, l *Limits) error {
	return first(
		f.Uint(prefix+"min_workers", &l.MinWorkers), f.Uint(prefix+"max_workers", &l.MaxWorkers),
		f.Uint(prefix+"max_clients", &l.MaxClients), f.Uint(prefix+"max_queued_clients", &l.MaxQueuedClients),
		f.Uint(prefix+"max_client_requests", &l.MaxClientRequests),
		f.Int(prefix+"keepalive_interval", &l.KeepaliveInterval), f.Uint(prefix+"keepalive_count", &l.KeepaliveCount),
	)
}

func (f *File) auth(key string, to *Auth) error {
	s := string(*to)
	if err := f.String(key, &s); err != nil {
		return err
	}
	switch a := Auth(s); a {
	case AuthNone, AuthSASL, AuthPolkit:
		*to = a
		return nil
	}
	return liberr.New(liberr.FromConf, liberr.ConfigUnsupported, "%s:%d: %s: unsupported auth %s", f.Name, f.values[key].Line, key, s)
}

// mode reads an octal number in quotes.
func (f *File) mode(key string, to *os.FileMode) error {
	if !f.Has(key) {
		return nil
	}
	var s string
	if err := f.String(key, &s); err != nil {
		return err
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return f.wrong(key, "Failed to parse mode '%s'", s)
	}
	*to = os.FileMode(n)
	return nil
}

// tlsFiles reads the single keys and, newer, the lists.
func (f *File) tlsFiles(d *Daemon) error {
	for _, k := range []struct {
		key string
		to  *[]string
	}{{"key_file", &d.KeyFiles}, {"cert_file", &d.CertFiles}} {
		var one string
		if err := first(f.String(k.key, &one), f.Strings(k.key+"s", false, k.to)); err != nil {
			return err
		}
		if one != "" && *k.to == nil {
			*k.to = []string{one}
		}
	}
	return first(f.String("ca_file", &d.CAFile), f.String("crl_file", &d.CRLFile))
}

func (f *File) hostUUID(d *Daemon) error {
	if err := first(f.String("host_uuid", &d.HostUUID), f.String("host_uuid_source", &d.HostUUIDSource)); err != nil {
		return err
	}
	if s := d.HostUUIDSource; s != "smbios" && s != "machine-id" {
		return f.wrong("host_uuid_source", "invalid UUID source: %s", s)
	}
	return nil
}

func (f *File) ovsTimeout(d *Daemon) error {
	if !f.Has("ovs_timeout") {
		return nil
	}
	var n uint
	if err := f.Uint("ovs_timeout", &n); err != nil {
		return err
	}
	d.OVSTimeout = time.Duration(n) * time.Second
	return nil
}
