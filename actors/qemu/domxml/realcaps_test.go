package domxml

import (
	"context"
	"testing"
	"time"

	"virtree/actors/qemu/caps"
)

// The description of QEMU the other tests use leads to the same documents as the binary itself.
func TestRealBinary(t *testing.T) {
	if !*update {
		t.Skip("probes the QEMU of this machine; runs with -update")
	}
	finder := caps.NewFinder(caps.Options{CacheDir: t.TempDir()})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	env := referenceEnv(t)
	env.Caps = func(bin string) (*caps.Caps, error) { return finder.Get(ctx, bin) }
	goldens(t, func(t *testing.T, in, out string) {
		d, err := Parse([]byte(in), env, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Format(d, Secure|Inactive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := lineDiff(out, got); diff != "" {
			t.Errorf("(-libvirt +ours)\n%s", diff)
		}
	})
	t.Run("refusals", func(t *testing.T) { refuses(t, env) })
}
