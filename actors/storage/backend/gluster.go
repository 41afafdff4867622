package backend

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// gluster is a volume of Gluster servers; files in a folder of it are the volumes, which qemu opens over the network itself.
// We look at them through a mount of our own that nobody else uses.
type gluster struct {
	bare
	*Host
}

func (b gluster) mountpoint(p *def.Pool) string {
	return filepath.Join(b.Run, "gluster-"+p.UUID.String())
}

// folder is the pool as a folder of this host.
func (b gluster) folder(p *def.Pool) *def.Pool {
	f := *p
	f.Path = filepath.Join(b.mountpoint(p), p.Source.Dir)
	return &f
}

func (b gluster) uri(p *def.Pool, name string) string {
	h := p.Source.Hosts[0]
	at := bracketed(h.Name)
	if h.Port != 0 {
		at += fmt.Sprintf(":%d", h.Port)
	}
	dir := strings.Trim(p.Source.Dir, "/")
	if dir != "" {
		dir += "/"
	}
	return "gluster://" + at + "/" + p.Source.Name + "/" + dir + name
}

func (b gluster) mounted(p *def.Pool) mounted {
	return mounted{Host: b.Host, from: p.Source.Hosts[0].Name + ":" + p.Source.Name}
}

func (b gluster) Active(ctx context.Context, p *def.Pool) (bool, error) {
	f := *p
	f.Path = b.mountpoint(p)
	return b.mounted(p).Active(ctx, &f)
}

func (b gluster) Start(ctx context.Context, p *def.Pool) error {
	if strings.Contains(p.Source.Name, "/") {
		return liberr.New(from, liberr.XMLError, "gluster pool name '%s' must not contain /", p.Source.Name)
	}
	if up, err := b.Active(ctx, p); up || err != nil {
		return err
	}
	dir := b.mountpoint(p)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return liberr.System(from, err, "cannot create path '%s'", dir)
	}
	return b.run(ctx, "mount", "-o", "nodev,nosuid,noexec,direct-io-mode=1", "-t", "glusterfs", p.Source.Hosts[0].Name+":"+p.Source.Name, dir)
}

func (b gluster) Stop(ctx context.Context, p *def.Pool) error {
	if up, err := b.Active(ctx, p); !up || err != nil {
		return err
	}
	if err := b.run(ctx, "umount", b.mountpoint(p)); err != nil {
		return err
	}
	_ = os.Remove(b.mountpoint(p))
	return nil
}

// remote names a file as the network does.
func (b gluster) remote(p *def.Pool, v *def.Volume) *def.Volume {
	if v == nil {
		return nil
	}
	r := *v
	r.Path = b.uri(p, v.Name)
	r.Key = r.Path
	if r.Type == virt.StorageVolDir {
		r.Type = virt.StorageVolNetdir
	} else {
		r.Type = virt.StorageVolNetwork
	}
	r.Permissions = def.NoPermissions
	return &r
}

func (b gluster) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	c, err := dir{distant: true}.Refresh(ctx, b.folder(p), nil)
	if err != nil {
		return nil, err
	}
	for n, v := range c.Volumes {
		c.Volumes[n] = b.remote(p, v)
	}
	c.Permissions = p.Permissions
	return c, nil
}

func (b gluster) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	v, err := dir{}.Look(ctx, b.folder(p), name)
	return b.remote(p, v), err
}

func (b gluster) Space(ctx context.Context, p *def.Pool) (Space, error) {
	return dir{}.Space(ctx, b.folder(p))
}

func (b gluster) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	f := b.folder(p)
	local := *v
	local.Path = f.VolumePath(v.Name)
	if v.Type == virt.StorageVolNetdir {
		local.Type = virt.StorageVolDir
	}
	if err := refusesFlags(flags, 0, "virStorageBackendGlusterVolDelete"); err != nil {
		return err
	}
	return dir{}.Remove(ctx, f, &local, 0)
}

// FindSources asks a server which volumes it has.
func (b gluster) FindSources(ctx context.Context, at *def.Source) ([]def.Source, error) {
	if _, err := b.tools().Find("gluster"); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "'gluster' command line tool not found").WithCause(err)
	}
	if len(at.Hosts) != 1 {
		return nil, liberr.New(from, liberr.InvalidArg, "Expected exactly 1 host for the storage pool")
	}
	out, err := b.output(ctx, "gluster", "--xml", "--log-file=/dev/null", "volume", "info", "all", "--remote-host="+at.Hosts[0].Name)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Names []string `xml:"volInfo>volumes>volume>name"`
	}
	if err := xml.Unmarshal(out, &doc); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "failed to extract gluster volumes").WithCause(err)
	}
	var found []def.Source
	for _, n := range doc.Names {
		found = append(found, def.Source{Hosts: at.Hosts[:1], Dir: "/", Name: n})
	}
	return found, nil
}
