package sockets

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"virtree/sockets/config"
)

func TestFromConfig(t *testing.T) {
	c := config.Default("virtqemud", true, true)
	c.SockGroup, c.SockDir, c.ListenTCP, c.ListenTLS = "libvirt", "/elsewhere", true, true
	got := FromConfig("virtqemud", &c, "/run/libvirt/virtqemud-sock", "", "/run/libvirt/virtqemud-admin-sock", false)
	want := Spec{
		Daemon:  "virtqemud",
		RW:      UnixSocket{"/elsewhere/virtqemud-sock", 0o777, "libvirt"},
		RO:      UnixSocket{"", 0o777, "libvirt"},
		Admin:   UnixSocket{"/elsewhere/virtqemud-admin-sock", 0o700, "libvirt"},
		TCPPort: "16509", TLSPort: "16514", Backlog: 1000, AdminBacklog: 20,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported()); d != "" {
		t.Error(d)
	}
	if got := FromConfig("virtproxyd", &c, "", "", "", true); !got.ListenTCP || !got.ListenTLS {
		t.Error("listen is ignored")
	}
	c.CRLFile, c.CertFiles = "/my/crl", []string{"/my/cert"}
	f := TLSFilesFromConfig(&c, SystemTLSFiles("/root"))
	if f.CRL != "/my/crl" || f.CRLOptional || f.Cert[0] != "/my/cert" || f.Key[0] != "/root/etc/pki/libvirt/private/serverkey.pem" || f.CA != "/root/etc/pki/CA/cacert.pem" {
		t.Errorf("%+v", f)
	}
}
