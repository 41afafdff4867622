package backend

import (
	"context"
	"fmt"
	"os/user"
	"strings"

	"virtree/actors/storage/def"
)

// vstorage is a cluster of Virtuozzo Storage, mounted on a folder.
type vstorage struct{ mounted }

func (v vstorage) at(p *def.Pool) mounted {
	return mounted{Host: v.Host, from: "vstorage://" + p.Source.Name}
}

func (v vstorage) Active(ctx context.Context, p *def.Pool) (bool, error) {
	return v.at(p).Active(ctx, p)
}

func (v vstorage) Start(ctx context.Context, p *def.Pool) error {
	if up, err := v.Active(ctx, p); up || err != nil {
		return err
	}
	args := []string{"-c", p.Source.Name, p.Path}
	if m := p.Permissions.Mode; m != -1 {
		args = append(args, "-m", fmt.Sprintf("0%o", m))
	} else {
		args = append(args, "-m", fmt.Sprintf("0%o", 0o700))
	}
	owner, group := "root", "root"
	if u, err := user.LookupId(fmt.Sprint(p.Permissions.Owner)); err == nil && p.Permissions.Owner != -1 {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(fmt.Sprint(p.Permissions.Group)); err == nil && p.Permissions.Group != -1 {
		group = g.Name
	}
	return v.run(ctx, "vstorage-mount", append(args, "-g", group, "-u", owner)...)
}

func (v vstorage) Stop(ctx context.Context, p *def.Pool) error { return v.at(p).Stop(ctx, p) }

// Build makes the folder; there is nothing to format.
func (v vstorage) Build(_ context.Context, p *def.Pool, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendVzBuildPool"); err != nil {
		return err
	}
	return buildFolder(p)
}

// FindSources lists the clusters that are in reach.
func (v vstorage) FindSources(ctx context.Context, _ *def.Source) ([]def.Source, error) {
	out, err := v.output(ctx, "vstorage", "discover")
	if err != nil {
		return nil, err
	}
	var found []def.Source
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 0 {
			found = append(found, def.Source{Name: f[0]})
		}
	}
	return found, nil
}
