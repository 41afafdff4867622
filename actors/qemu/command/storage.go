package command

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// storage says where the bytes of an image are.
func (b *builder) storage(m *image) (Props, error) {
	s := m.source
	switch {
	case s.File != nil:
		return b.storageFile("file", s.File.File, m), nil
	case s.Block != nil:
		driver := "host_device"
		if m.disk.Device == "cdrom" && b.rt.HostCDROMs[s.Block.Dev] {
			driver = "host_cdrom"
		}
		return b.storageFile(driver, s.Block.Dev, m), nil
	case s.Dir != nil:
		return Props{{"driver", "vvfat"}, {"dir", s.Dir.Dir}, {"floppy", m.disk.Device == "floppy"}, {"rw", !m.readOnly}}, nil
	case s.NVME != nil && s.NVME.PCI != nil && s.NVME.PCI.Address != nil:
		return Props{{"driver", "nvme"}, {"device", pciName(s.NVME.PCI.Address)}, {"namespace", s.NVME.PCI.Namespace}}, nil
	case s.Network != nil:
		return b.storageNetwork(m)
	case s.Volume != nil:
		return nil, internal("storage pool volume of disk '%s' was not resolved", targetOf(m.disk).Dev)
	}
	return nil, unsupported("unsupported storage type of disk '%s'", targetOf(m.disk).Dev)
}

func (b *builder) storageFile(driver, file string, m *image) Props {
	p := Props{{"driver", driver}, {"filename", file}}
	p.text("aio", driverOf(m.disk).IO)
	if r := m.source.Reservations; r != nil && m.top {
		p.Set("pr-manager", b.reservationsManager(r, m.node))
	}
	return p
}

// pciName is how the host names a PCI device.
func pciName(a *libvirtxml.DomainAddressPCI) string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", value(a.Domain), value(a.Bus), value(a.Slot), value(a.Function))
}

// reservationsManager is the object that talks to the helper for SCSI persistent reservations: one for all disks when
// the daemon runs the helper, else one per disk.
func (b *builder) reservationsManager(r *libvirtxml.DomainDiskReservations, node uint) string {
	if r.Managed == "yes" {
		return "pr-helper0"
	}
	id := "pr-helper-" + StorageNode(node)
	if r.Source != nil && r.Source.UNIX != nil {
		b.addObject(Props{{"qom-type", "pr-manager-helper"}, {"id", id}, {"path", r.Source.UNIX.Path}})
	}
	return id
}

func (b *builder) reservations() error {
	for i := range b.dev.Disks {
		d := &b.dev.Disks[i]
		if d.Source != nil && d.Source.Reservations != nil && d.Source.Reservations.Managed == "yes" {
			return b.object(Props{{"qom-type", "pr-manager-helper"}, {"id", "pr-helper0"},
				{"path", path.Join(b.rt.LibDir, "pr-helper0.sock")}})
		}
	}
	return nil
}

func (b *builder) storageNetwork(m *image) (Props, error) {
	n := m.source.Network
	switch n.Protocol {
	case "nbd":
		return b.storageNBD(m)
	case "iscsi":
		return b.storageISCSI(n, m)
	case "rbd":
		return b.storageRBD(n, m)
	case "http", "https", "ftp", "ftps", "tftp":
		return b.storageCurl(m)
	case "gluster":
		return storageGluster(n)
	case "ssh":
		return storageSSH(n)
	case "nfs":
		return storageNFS(n)
	}
	return nil, unsupported("disk protocol '%s' is not supported by this QEMU binary", n.Protocol)
}

func onlyHost(n *libvirtxml.DomainDiskSourceNetwork) (libvirtxml.DomainDiskSourceHost, error) {
	if len(n.Hosts) != 1 {
		return libvirtxml.DomainDiskSourceHost{}, internal("protocol '%s' accepts only one host", n.Protocol)
	}
	return n.Hosts[0], nil
}

// defaultPort is what a definition without a port means.
func defaultPort(protocol, port string) string {
	if port != "" && port != "0" {
		return port
	}
	return map[string]string{"nbd": "10809", "iscsi": "3260", "gluster": "24007", "ssh": "22",
		"http": "80", "https": "443", "ftp": "21", "ftps": "990", "tftp": "69"}[protocol]
}

// server is an address in QEMU's own type for it.
func server(protocol string, h libvirtxml.DomainDiskSourceHost) Props {
	if h.Transport == "unix" {
		return Props{{"type", "unix"}, {"path", h.Socket}}
	}
	return Props{{"type", "inet"}, {"host", h.Name}, {"port", defaultPort(protocol, h.Port)}}
}

func (b *builder) storageNBD(m *image) (Props, error) {
	n := m.source.Network
	h, err := onlyHost(n)
	if err != nil {
		return nil, err
	}
	p := Props{{"driver", "nbd"}, {"server", server("nbd", h)}}
	p.text("export", n.Name)
	if n.TLS == "yes" {
		id, err := b.tlsClient(StorageNode(m.node), b.rt.DiskTLS)
		if err != nil {
			return nil, err
		}
		p.Set("tls-creds", id)
		p.text("tls-hostname", n.TLSHostname)
	}
	return p, nil
}

func (b *builder) storageISCSI(n *libvirtxml.DomainDiskSourceNetwork, m *image) (Props, error) {
	h, err := onlyHost(n)
	if err != nil {
		return nil, err
	}
	initiator := ""
	if n.Initiator != nil && n.Initiator.IQN != nil {
		initiator = n.Initiator.IQN.Name
	}
	p, err := iscsi(h, n.Name, initiator)
	if err != nil {
		return nil, err
	}
	if a := authOf(m); a != nil {
		p.Set("user", a.Username)
		p.Set("password-secret", b.secret(authSecret(StorageNode(m.node))))
	}
	return p, nil
}

// iscsi splits "target/lun".
func iscsi(h libvirtxml.DomainDiskSourceHost, name, initiator string) (Props, error) {
	target, lun, number := name, "0", 0
	if i := strings.IndexByte(name, '/'); i >= 0 {
		target, lun = name[:i], name[i+1:]
	}
	number, err := strconv.Atoi(lun)
	if err != nil {
		return nil, internal("failed to parse target for lunID '%s'", name)
	}
	host := h.Name
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	p := Props{{"driver", "iscsi"}, {"portal", host + ":" + defaultPort("iscsi", h.Port)}, {"target", target},
		{"lun", number}, {"transport", "tcp"}}
	p.text("initiator-name", initiator)
	return p, nil
}

func (b *builder) storageRBD(n *libvirtxml.DomainDiskSourceNetwork, m *image) (Props, error) {
	pool, img, ok := strings.Cut(n.Name, "/")
	if !ok {
		return nil, internal("failed to split path '%s' into pool and image name", n.Name)
	}
	p := Props{{"driver", "rbd"}, {"pool", pool}, {"image", img}}
	if n.Snapshot != nil {
		p.text("snapshot", n.Snapshot.Name)
	}
	if n.Config != nil {
		p.text("conf", n.Config.File)
	}
	var servers []Props
	for _, h := range n.Hosts {
		// A port of 0 is the client library's own default.
		port := h.Port
		if port == "" {
			port = "0"
		}
		servers = append(servers, Props{{"host", h.Name}, {"port", port}})
	}
	if len(servers) > 0 {
		p.Set("server", servers)
	}
	if a := authOf(m); a != nil {
		p.Set("user", a.Username)
		p.Set("auth-client-required", []string{"cephx", "none"})
		p.Set("key-secret", b.secret(authSecret(StorageNode(m.node))))
	}
	return p, nil
}

func (b *builder) storageCurl(m *image) (Props, error) {
	s, n := m.source, m.source.Network
	h, err := onlyHost(n)
	if err != nil {
		return nil, err
	}
	host := h.Name
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	name := n.Name
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	url := n.Protocol + "://" + host + ":" + defaultPort(n.Protocol, h.Port) + name
	if n.Query != "" {
		url += "?" + n.Query
	}
	p := Props{{"driver", n.Protocol}, {"url", url}}
	if a := authOf(m); a != nil {
		p.Set("username", a.Username)
		p.Set("password-secret", b.secret(authSecret(StorageNode(m.node))))
	}
	if s.SSL != nil {
		p.flag("sslverify", s.SSL.Verify)
	}
	if s.Cookies != nil && len(s.Cookies.Cookies) > 0 {
		p.Set("cookie-secret", b.secret(cookieSecret(StorageNode(m.node))))
	}
	if s.Timeout != nil {
		p.Set("timeout", number(s.Timeout.Seconds))
	}
	if s.Readahead != nil {
		p.Set("readahead", number(s.Readahead.Size))
	}
	return p, nil
}

// glusterDebug is QEMU's verbosity of the gluster client in the guest's log (gluster_debug_level).
const glusterDebug = 4

func storageGluster(n *libvirtxml.DomainDiskSourceNetwork) (Props, error) {
	volume, image, ok := strings.Cut(strings.TrimPrefix(n.Name, "/"), "/")
	if !ok {
		return nil, internal("missing volume or image name in path '%s'", n.Name)
	}
	var servers []Props
	for _, h := range n.Hosts {
		servers = append(servers, server("gluster", h))
	}
	return Props{{"driver", "gluster"}, {"volume", volume}, {"path", image}, {"server", servers}, {"debug", glusterDebug}}, nil
}

func storageSSH(n *libvirtxml.DomainDiskSourceNetwork) (Props, error) {
	h, err := onlyHost(n)
	if err != nil {
		return nil, err
	}
	return Props{{"driver", "ssh"}, {"path", n.Name},
		{"server", Props{{"host", h.Name}, {"port", defaultPort("ssh", h.Port)}}}}, nil
}

func storageNFS(n *libvirtxml.DomainDiskSourceNetwork) (Props, error) {
	h, err := onlyHost(n)
	if err != nil {
		return nil, err
	}
	p := Props{{"driver", "nfs"}, {"server", Props{{"host", h.Name}, {"type", "inet"}}}, {"path", n.Name}}
	if i := n.Identity; i != nil {
		for _, id := range []struct{ key, value string }{{"user", i.User}, {"group", i.Group}} {
			if num, err := strconv.Atoi(strings.TrimPrefix(id.value, "+")); err == nil {
				p.Set(id.key, num)
			}
		}
	}
	return p, nil
}

func authOf(m *image) *libvirtxml.DomainDiskAuth {
	if m.source.Network != nil && m.source.Network.Auth != nil {
		return m.source.Network.Auth
	}
	if m.top {
		return m.disk.Auth
	}
	return nil
}
