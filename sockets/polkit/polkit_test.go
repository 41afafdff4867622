package polkit

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"virtree/wire/liberr"
)

// bus starts a dbus-daemon of our own.
func bus(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed")
	}
	conf := filepath.Join(t.TempDir(), "bus.conf")
	os.WriteFile(conf, []byte(`<busconfig><type>session</type><listen>unix:dir=`+filepath.Dir(conf)+`</listen>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`), 0o600)
	cmd := exec.Command(tool, "--config-file="+conf, "--print-address", "--nofork")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// fakeAuthority stands in for polkitd on that bus: answers come from decide.
type fakeAuthority struct {
	decide    func(question) (result, *dbus.Error)
	cancelled chan string
}

type question struct {
	Subject subject
	Action  string
	Details map[string]string
	Flags   uint32
	ID      string
}

func (f *fakeAuthority) CheckAuthorization(s subject, action string, details map[string]string, flags uint32, id string) (result, *dbus.Error) {
	return f.decide(question{s, action, details, flags, id})
}

func (f *fakeAuthority) CancelCheckAuthorization(id string) *dbus.Error {
	f.cancelled <- id
	return nil
}

func serve(t *testing.T, address string, decide func(question) (result, *dbus.Error)) *fakeAuthority {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := &fakeAuthority{decide, make(chan string, 1)}
	if err := conn.Export(f, authorityPath, "org.freedesktop.PolicyKit1.Authority"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(authorityName, dbus.NameFlagReplaceExisting|dbus.NameFlagAllowReplacement); err != nil {
		t.Fatal(err)
	}
	return f
}

func authority(t *testing.T, address string) *Authority {
	a := &Authority{Address: address}
	t.Cleanup(func() { a.Close() })
	return a
}

func TestQuestionAsPolkitUnderstandsIt(t *testing.T) {
	address := bus(t)
	asked := make(chan question, 2)
	serve(t, address, func(q question) (result, *dbus.Error) { asked <- q; return result{Authorized: true}, nil })
	a := authority(t, address)
	who := Subject{PID: 1234, StartTime: 5678, UID: 1000}
	if err := a.Check(t.Context(), Manage, who, map[string]string{"domain_name": "x"}, true); err != nil {
		t.Fatal(err)
	}
	got := <-asked
	want := question{
		Subject: subject{"unix-process", map[string]dbus.Variant{
			"pid": dbus.MakeVariant(uint32(1234)), "start-time": dbus.MakeVariant(uint64(5678)), "uid": dbus.MakeVariant(int32(1000)),
		}},
		Action: "org.libvirt.unix.manage", Details: map[string]string{"domain_name": "x"}, Flags: 1, ID: got.ID,
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(x, y dbus.Variant) bool { return x.String() == y.String() })); d != "" {
		t.Error(d)
	}
	err := a.Check(t.Context(), Monitor, who, nil, false)
	if got := <-asked; err != nil || got.Flags != 0 || got.Action != "org.libvirt.unix.monitor" {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestVerdicts(t *testing.T) {
	address := bus(t)
	answers := make(chan result, 1)
	serve(t, address, func(question) (result, *dbus.Error) { return <-answers, nil })
	a := authority(t, address)
	for _, c := range []struct {
		answer result
		code   liberr.Code
		text   string
	}{
		{result{Authorized: true}, 0, ""},
		{result{}, liberr.AuthFailed, "authentication failed: access denied by policy"},
		{result{Challenge: true}, liberr.AuthUnavailable, "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'"},
		{result{Challenge: true, Details: map[string]string{"polkit.dismissed": "true"}}, liberr.AuthCancelled, "authentication cancelled: user cancelled authentication process"},
	} {
		if c.answer.Details == nil {
			c.answer.Details = map[string]string{}
		}
		answers <- c.answer
		err := a.Check(t.Context(), Manage, Subject{PID: 1}, nil, true)
		if c.code == 0 {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		var e *liberr.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Message != c.text || e.Domain != liberr.FromPolkit {
			t.Errorf("%+v: got %+v", c.answer, err)
		}
	}
}

func TestQuestionIsWithdrawnWhenNobodyWaits(t *testing.T) {
	address := bus(t)
	asked, release := make(chan question, 1), make(chan struct{})
	f := serve(t, address, func(q question) (result, *dbus.Error) {
		asked <- q
		<-release
		return result{}, nil
	})
	defer close(release)
	a := authority(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Check(ctx, Manage, Subject{PID: 1}, nil, true) }()
	q := <-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case id := <-f.cancelled:
		if id != q.ID || id == "" {
			t.Errorf("withdrew %q, asked %q", id, q.ID)
		}
	case <-time.After(20 * time.Second):
		t.Error("the question was not withdrawn")
	}
}

func TestTroubleWithTheBus(t *testing.T) {
	t.Run("no bus", func(t *testing.T) {
		a := authority(t, "unix:path="+filepath.Join(t.TempDir(), "none"))
		if err := a.Check(t.Context(), Manage, Subject{PID: 1}, nil, true); !errors.Is(err, liberr.InternalError) {
			t.Error(err)
		}
	})
	t.Run("no polkit", func(t *testing.T) {
		a := authority(t, bus(t))
		err := a.Check(t.Context(), Manage, Subject{PID: 1}, nil, true)
		if !errors.Is(err, liberr.DbusService) || !strings.Contains(err.Error(), authorityName) {
			t.Error(err)
		}
	})
	t.Run("polkit fails", func(t *testing.T) {
		address := bus(t)
		serve(t, address, func(question) (result, *dbus.Error) {
			return result{}, dbus.NewError("org.freedesktop.PolicyKit1.Error.Failed", []any{"Action org.libvirt.unix.manage is not registered"})
		})
		err := authority(t, address).Check(t.Context(), Manage, Subject{PID: 1}, nil, true)
		if !errors.Is(err, liberr.DbusService) || !strings.Contains(err.Error(), "is not registered") {
			t.Error(err)
		}
	})
	t.Run("the bus comes back", func(t *testing.T) {
		first := bus(t)
		serve(t, first, func(question) (result, *dbus.Error) {
			return result{Authorized: true, Details: map[string]string{}}, nil
		})
		a := authority(t, first)
		if err := a.Check(t.Context(), Manage, Subject{PID: 1}, nil, true); err != nil {
			t.Fatal(err)
		}
		a.bus.Close() // as when the daemon went away
		if err := a.Check(t.Context(), Manage, Subject{PID: 1}, nil, true); err != nil {
			t.Errorf("after reconnect: %v", err)
		}
	})
}
