package domxml

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"

	"virtree/wire/liberr"
)

// What libvirtd printed is defined once more, there and here. libvirt moves some controllers when it reads its own
// document again, so this is a check of its own.
func TestAgain(t *testing.T) {
	if !*update {
		t.Skip("needs a reference libvirtd; runs with -update")
	}
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	env := referenceEnv(t)
	goldens(t, func(t *testing.T, _, out string) {
		want, refusal := reference(l, out)
		d, err := Parse([]byte(out), env, 0)
		var e *liberr.Error
		if errors.As(err, &e) {
			if got := fmt.Sprintf("%d\n%s\n", e.Code, e.Message); got != refusal {
				t.Errorf("libvirt: %q, ours: %q", refusal, got)
			}
			return
		}
		if refusal != "" {
			t.Fatalf("accepted; libvirt: %q", refusal)
		}
		got, err := Format(d, Secure|Inactive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := lineDiff(want, got); diff != "" {
			t.Errorf("(-libvirt +ours)\n%s", diff)
		}
	})
}
