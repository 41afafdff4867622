package nwfilter

import (
	"context"
	"errors"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/nftables"

	"virtree/actors/internal/nftwatch"
)

// rulesTable is the table, one in each family, in which package rules has the rules of all ports.
const rulesTable = "virtree_nwfilter"

// watchRules tells this actor when another program has removed rules of ours.
func (d *driver) watchRules(ctx actor.Context) *nftwatch.Watch {
	root, self := ctx.ActorSystem().Root, ctx.Self()
	return nftwatch.Start(d.env.Log, func(tables []string) {
		if tables == nil || slices.Contains(tables, rulesTable) {
			root.Send(self, &rulesTouched{someone: tables != nil})
		}
	})
}

// repair makes the rules of all ports what they should be. What is in place is not touched.
func (d *driver) repair(ctx actor.Context, m *rulesTouched) {
	d.someone = d.someone || m.someone
	if d.looking || len(d.ports) == 0 {
		return
	}
	d.looking = true
	t := d.tools
	d.begin(ctx, &change{name: "put rules back", decide: func() (plan, error) {
		removed := d.someone
		d.looking, d.someone = false, false
		wishes, filters := d.wishes(func(*port) bool { return true }), d.filters
		var outcomes []outcome
		return plan{
			work: func(ctx context.Context) error {
				var broken error
				if removed {
					broken = t.clear(ctx, wishes)
				}
				var err error
				outcomes, err = t.installEach(ctx, filters, wishes)
				broken = errors.Join(broken, err)
				if removed {
					t.env.Log.Warn().AnErr("failed", broken).Int("ports", len(wishes)).Msg("somebody removed firewall rules of guests; they were put back")
				}
				return broken
			},
			apply: func(ctx actor.Context) { d.took(ctx, outcomes) },
		}, nil
	}})
}

// families are those in which package rules has tables.
var families = []nftables.TableFamily{nftables.TableFamilyBridge, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}

// clear removes the rules of ports, for what is missing inside of them is not noticed when they are applied again. When
// the chains around them are empty, the tables go as a whole.
func (t *tools) clear(ctx context.Context, wishes []wish) error {
	hollow, err := hollowTables()
	if err != nil || !hollow {
		var ports []string
		for _, w := range wishes {
			ports = append(ports, w.binding.Port)
		}
		return errors.Join(err, t.backend.Remove(ctx, ports...))
	}
	return dropTables()
}

// dropTables removes the tables of package rules.
func dropTables() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	for _, f := range families {
		c.DelTable(c.AddTable(&nftables.Table{Name: rulesTable, Family: f})) // added, so that it can be deleted
	}
	return c.Flush()
}

// remove takes the rules of ports away, and all that is around them with the last one's.
func (t *tools) remove(ctx context.Context, ports ...string) error {
	if err := t.backend.Remove(ctx, ports...); err != nil {
		return kernelError(err)
	}
	if left, err := t.backend.Ports(ctx); err != nil || len(left) > 0 {
		return err
	}
	return dropTables()
}

// hollowTables tells whether a chain at a hook has lost its rules.
func hollowTables() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	for _, f := range families {
		chains, err := c.ListChainsOfTableFamily(f)
		if err != nil {
			return false, err
		}
		for _, ch := range chains {
			if ch.Table.Name != rulesTable || ch.Hooknum == nil {
				continue
			}
			if rules, err := c.GetRules(ch.Table, ch); err != nil || len(rules) == 0 {
				return true, err
			}
		}
	}
	return false, nil
}
