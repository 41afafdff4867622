package rules

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Options of NFTables.
type Options struct {
	// Warn hears what an operator should know, such as bridges whose packets the kernel does not show to the IP hooks.
	// May be nil.
	Warn func(message string)
}

// NFTables is the backend for the network namespace of the calling thread's process. It keeps nothing in memory that
// the kernel has: tables that somebody flushed are made again by the next Apply.
func NFTables(o Options) Backend {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return &nftablesBackend{options: o}
}

// nftablesBackend is the Backend.
type nftablesBackend struct {
	options Options

	mu     sync.Mutex // one transaction at a time: each builds on what it has read
	able   *abilities // what the kernel can do; nil until asked
	warned bool
}

// Apply is Backend's.
func (b *nftablesBackend) Apply(ctx context.Context, programs ...*Program) error {
	return b.change(ctx, func(w *wanted) {
		for _, p := range programs {
			for k, c := range p.chains {
				w.set(kind(k), p.Port, c)
			}
		}
	})
}

// Remove is Backend's.
func (b *nftablesBackend) Remove(ctx context.Context, ports ...string) error {
	return b.change(ctx, func(w *wanted) {
		for _, port := range ports {
			for k := range kinds {
				w.set(k, port, nil)
			}
		}
	})
}

// Ports is Backend's.
func (b *nftablesBackend) Ports(ctx context.Context) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now, err := readKernel()
	if err != nil {
		return nil, failure(err)
	}
	ports := map[string]bool{}
	for _, t := range now.tables {
		for _, m := range t.ports {
			for port := range m {
				ports[port] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ports)), nil
}

// change brings the kernel from what it has to what is wanted.
func (b *nftablesBackend) change(ctx context.Context, want func(*wanted)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.able == nil {
		able, err := probe()
		if err != nil {
			return failure(err)
		}
		b.able = able
	}
	// Somebody may change the tables between our look and our transaction, which then fails as a whole.
	for tries := 0; ; tries++ {
		now, err := readKernel()
		if err != nil {
			return failure(err)
		}
		w := newWanted(now, b.able)
		want(w)
		err = w.commit()
		if err == nil {
			b.checkVisible(w)
			return nil
		}
		if tries == 2 || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EBUSY) {
			return failure(err)
		}
	}
}

func failure(err error) error {
	var lib *liberr.Error
	if errors.As(err, &lib) {
		return lib
	}
	return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: %s", err).WithCause(err)
}

// checkVisible warns once if rules of the IP hooks will not see what crosses a bridge.
func (b *nftablesBackend) checkVisible(w *wanted) {
	if b.warned {
		return
	}
	for family, six := range map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "", nftables.TableFamilyIPv6: "6"} {
		if empty(w.ports[family]) {
			continue
		}
		path := fmt.Sprintf("/proc/sys/net/bridge/bridge-nf-call-ip%stables", six)
		if v, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(v)) == "0" {
			b.warned = true
			b.options.Warn(fmt.Sprintf("To enable ip%stables filtering for the VM do 'echo 1 > %s'", six, path))
		}
	}
}

// abilities are what kernels differ in.
type abilities struct {
	bridgeCT     bool // connection tracking in the bridge family: nf_conntrack_bridge
	bridgeReject bool // nft_reject_bridge
}

// probe asks the kernel by adding and removing a table in one transaction.
func probe() (*abilities, error) {
	try := func(e expr.Any) (bool, error) {
		b := newBatch()
		t := &nftables.Table{Name: tableName + "_probe", Family: nftables.TableFamilyBridge}
		b.addTable(t)
		b.addChain(t, "probe", nftables.ChainHookPrerouting, 0)
		if err := b.addRule(t, "probe", e); err != nil {
			return false, err
		}
		b.deleteTable(t)
		err := b.commit()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return false, err
		}
		return err == nil, nil
	}
	var a abilities
	var err error
	if a.bridgeCT, err = try(&expr.Ct{Key: expr.CtKeySTATE, Register: 1}); err != nil {
		return nil, err
	}
	a.bridgeReject, err = try(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: 1})
	return &a, err
}
