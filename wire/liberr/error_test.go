package liberr

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestMessages(t *testing.T) {
	cases := []struct {
		err  *Error
		want string
	}{
		{New(FromQemu, NoDomain, "no domain with matching name '%s'", "x"), "Domain not found: no domain with matching name 'x'"},
		{New(FromXML, XMLError, "bad"), "XML error: bad"},
		{New(FromConf, DomExist, "web"), "domain web exists already"},
		{New(FromDom, XMLDetail, "at line 1"), "at line 1"},
		{Plain(FromDom, OperationDenied), "operation forbidden for read only access"},
		{System(FromNone, syscall.ENOENT, "cannot open file '%s'", "/x"), "cannot open file '/x': No such file or directory"},
		{NoSupport(FromQemu, "virDomainRename"), "this function is not supported by the connection driver: virDomainRename"},
		{New(FromQemu, InternalError, "100%% of %s", "%s"), "internal error: 100% of %s"},
	}
	for _, c := range cases {
		if c.err.Message != c.want {
			t.Errorf("got %q, want %q", c.err.Message, c.want)
		}
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("outer: %w", New(FromQemu, NoDomain, "x").WithCause(syscall.EIO))
	if !errors.Is(err, NoDomain) || errors.Is(err, NoNetwork) || !errors.Is(err, syscall.EIO) {
		t.Fatal("code or cause is not found behind a wrapper")
	}
	if From(FromQemu, err).Code != NoDomain || From(FromQemu, errors.New("x")).Code != InternalError || From(FromQemu, nil) != nil {
		t.Fatal("From")
	}
}
