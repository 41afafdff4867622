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
				if removed { // not everything that can be missing is noticed when rules are applied again
					broken = dropTables()
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

// dropTables removes the tables of package rules, broken as they are, to be made anew.
func dropTables() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	for _, f := range []nftables.TableFamily{nftables.TableFamilyBridge, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		t := c.AddTable(&nftables.Table{Name: rulesTable, Family: f}) // so that it can be deleted
		c.DelTable(t)
	}
	return c.Flush()
}
