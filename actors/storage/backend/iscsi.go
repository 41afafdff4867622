package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// iscsi is a target of an iSCSI server, which the kernel logs in to by open-iscsi; its units are the volumes.
type iscsi struct{ blocks }

const iscsiPort = 3260

func portal(h def.Host) string {
	port := h.Port
	if port == 0 {
		port = iscsiPort
	}
	return fmt.Sprintf("%s:%d,1", bracketed(h.Name), port)
}

// bracketed puts an address of IPv6 into brackets.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func checkISCSI(p *def.Pool) error {
	s := &p.Source
	switch {
	case len(s.Hosts) != 1:
		return liberr.New(from, liberr.ConfigUnsupported, "Expected exactly 1 host for the storage pool")
	case len(s.Devices) != 1:
		return liberr.New(from, liberr.InternalError, "missing source device")
	case s.Auth != nil && s.Auth.Type != "chap":
		return liberr.New(from, liberr.XMLError, "iscsi pool only supports 'chap' auth type")
	}
	return nil
}

// session finds the session with the target; "" when there is none.
func (b iscsi) session(ctx context.Context, p *def.Pool) (string, error) {
	out, err := b.output(ctx, "iscsiadm", "--mode", "session")
	if err != nil {
		const noSessions = 21 // ISCSI_ERR_NO_OBJS_FOUND
		if exitCode(err) == noSessions {
			return "", nil
		}
		return "", err
	}
	for _, line := range strings.Split(string(out), "\n") { // tcp: [1] 10.0.0.1:3260,1 iqn.x:y (non-flash)
		f := strings.Fields(line)
		if len(f) >= 4 && f[3] == p.Source.Device() {
			return strings.Trim(f[1], "[]"), nil
		}
	}
	return "", nil
}

func (b iscsi) Active(ctx context.Context, p *def.Pool) (bool, error) {
	s, err := b.session(ctx, p)
	return s != "", err
}

// node runs iscsiadm on the target's record.
func (b iscsi) node(ctx context.Context, p *def.Pool, args ...string) error {
	all := []string{"--mode", "node", "--portal", portal(p.Source.Hosts[0]), "--targetname", p.Source.Device()}
	if p.Source.Initiator != "" {
		all = append(all, "--interface", b.iface(p))
	}
	return b.run(ctx, "iscsiadm", append(all, args...)...)
}

// iface is the name of the interface whose initiator is the pool's.
func (b iscsi) iface(p *def.Pool) string { return "virtree-iface-" + p.UUID.String()[:8] }

func (b iscsi) Start(ctx context.Context, p *def.Pool) error {
	if err := checkISCSI(p); err != nil {
		return err
	}
	if up, err := b.Active(ctx, p); up || err != nil {
		return err
	}
	if i := p.Source.Initiator; i != "" {
		for _, args := range [][]string{{"--op", "new"}, {"--op", "update", "--name", "iface.initiatorname", "--value", i}} {
			if err := b.run(ctx, "iscsiadm", append([]string{"--mode", "iface", "--interface", b.iface(p)}, args...)...); err != nil {
				return err
			}
		}
	}
	if err := b.node(ctx, p, "--op", "new"); err != nil {
		return err
	}
	if err := b.authenticate(ctx, p); err != nil {
		return err
	}
	return b.node(ctx, p, "--login")
}

// authenticate puts name and password into the target's record.
//
// Compat: as with libvirt they are arguments of iscsiadm, which has no other way to take them.
func (b iscsi) authenticate(ctx context.Context, p *def.Pool) error {
	a := p.Source.Auth
	if a == nil {
		return nil
	}
	secret, err := b.secret(ctx, "iscsi", a)
	if err != nil {
		return err
	}
	for _, kv := range [][2]string{{"node.session.auth.authmethod", "CHAP"}, {"node.session.auth.username", a.Username}, {"node.session.auth.password", string(secret)}} {
		if err := b.node(ctx, p, "--op", "update", "--name", kv[0], "--value", kv[1]); err != nil {
			if kv[0] == "node.session.auth.password" { // which the error would show
				return liberr.New(from, liberr.InternalError, "Failed to update 'node.session.auth.password' of node mode for target '%s'", p.Source.Device())
			}
			return err
		}
	}
	return nil
}

// secret asks for the secret that proves who we are.
func (h *Host) secret(ctx context.Context, kind string, a *def.Auth) ([]byte, error) {
	name := SecretName{Type: kind, Usage: a.Usage}
	if a.UUID != nil {
		name.UUID = a.UUID.String()
	}
	if h.Secret != nil {
		return h.Secret(ctx, name)
	}
	if s, ok := ctx.Value(secretsKey{}).(Secrets); ok {
		return s(ctx, def.EncryptionSecret{Type: kind, UUID: name.UUID, Usage: name.Usage})
	}
	if name.UUID != "" {
		return nil, liberr.New(liberr.FromSecret, liberr.NoSecret, "no secret with matching uuid '%s'", name.UUID)
	}
	return nil, liberr.New(liberr.FromSecret, liberr.NoSecret, "no secret with matching usage '%s'", name.Usage)
}

func (b iscsi) Stop(ctx context.Context, p *def.Pool) error {
	if up, err := b.Active(ctx, p); !up || err != nil {
		return err
	}
	return b.node(ctx, p, "--logout")
}

// Refresh has the session look for units that are new and lists its disks.
func (b iscsi) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	s, err := b.session(ctx, p)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return nil, liberr.New(from, liberr.InternalError, "cannot find session")
	}
	if err := b.run(ctx, "iscsiadm", "--mode", "session", "-r", s, "-R"); err != nil {
		return nil, err
	}
	b.settle(ctx)
	n, err := b.hostOf(s)
	if err != nil {
		return nil, err
	}
	return b.disks(ctx, p, n)
}

// hostOf finds the number of the SCSI host of a session: targetH:B:T below the session's device.
func (b iscsi) hostOf(session string) (int, error) {
	dir := "/sys/class/iscsi_session/session" + session + "/device"
	found, _ := filepath.Glob(b.at(dir) + "/target*")
	if len(found) == 0 {
		if _, err := os.Stat(b.at(dir)); err != nil {
			return 0, liberr.System(from, err, "Failed to opendir path '%s'", dir)
		}
		return 0, liberr.New(from, liberr.InternalError, "Failed to find any targets for session '%s'", session)
	}
	n, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(found[0]), "target"), ":")
	return strconv.Atoi(n)
}

func (b iscsi) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b iscsi) Space(ctx context.Context, p *def.Pool) (Space, error) { return spaceIn(ctx, b, p) }

// FindSources asks a server which targets it has.
func (b iscsi) FindSources(ctx context.Context, at *def.Source) ([]def.Source, error) {
	if len(at.Hosts) != 1 {
		return nil, liberr.New(from, liberr.InternalError, "Expected exactly 1 host for the storage pool")
	}
	out, err := b.output(ctx, "iscsiadm", "--mode", "discovery", "--type", "sendtargets", "--portal", portal(at.Hosts[0]), "--op", "nonpersistent")
	if err != nil {
		return nil, err
	}
	var found []def.Source
	for _, line := range strings.Split(string(out), "\n") { // 10.0.0.1:3260,1 iqn.x:y
		if f := strings.Fields(line); len(f) == 2 {
			host := at.Hosts[0]
			if host.Port == 0 {
				host.Port = iscsiPort
			}
			found = append(found, def.Source{Hosts: []def.Host{host}, Devices: []def.Device{{Path: f[1]}}, Initiator: at.Initiator})
		}
	}
	return found, nil
}
