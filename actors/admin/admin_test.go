package admin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/supervisors/logging"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// memory is a Daemon that is only its own state.
type memory struct {
	mu      sync.Mutex
	servers map[string]*Server
	clients map[string][]Client
	timeout time.Duration
	noTLS   bool
}

func newMemory() *memory {
	return &memory{
		servers: map[string]*Server{
			"libvirtd": {Workers: Workers{5, 20, 5}, Limits: Limits{5000, 20}, Clients: 2},
			"admin":    {Workers: Workers{1, 5, 0}, Limits: Limits{5, 0}, Clients: 1},
		},
		clients: map[string][]Client{"libvirtd": {
			{ID: 7, Connected: time.Unix(1000, 0), Who: &call.Caller{Transport: "unix", ReadOnly: true, User: "root", GID: 4, Group: "adm", PID: 99, SELinux: "ctx"}},
			{ID: 8, Connected: time.Unix(1001, 0), Who: &call.Caller{Transport: "tls", Remote: "127.0.0.1;5", SASLUser: "fred", X509Name: "CN=x"}},
		}},
		noTLS: true,
	}
}

func (m *memory) Servers(context.Context) ([]string, error) {
	return []string{"libvirtd", "admin"}, nil
}

func (m *memory) Server(_ context.Context, name string) (Server, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.servers[name]; s != nil {
		return *s, nil
	}
	return Server{}, ErrNoServer
}

func (m *memory) SetWorkers(_ context.Context, name string, w Workers) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers[name].Workers = w
	return nil
}

func (m *memory) SetLimits(_ context.Context, name string, l Limits) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers[name].Limits = l
	return nil
}

func (m *memory) UpdateTLS(context.Context, string) error {
	if m.noTLS {
		return ErrNoTLS
	}
	return nil
}

func (m *memory) Clients(_ context.Context, server string) ([]Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.servers[server] == nil {
		return nil, ErrNoServer
	}
	return append([]Client(nil), m.clients[server]...), nil
}

func (m *memory) Disconnect(_ context.Context, server string, id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.clients[server] {
		if c.ID == id {
			m.clients[server] = append(m.clients[server][:i:i], m.clients[server][i+1:]...)
			return nil
		}
	}
	return ErrNoClient
}

func (m *memory) SetTimeout(_ context.Context, d time.Duration) error {
	m.timeout = d
	return nil
}

func start(t *testing.T) (*memory, *branchtest.Client) {
	m := newMemory()
	log, err := logging.New(logging.Config{Daemon: "libvirtd", Outputs: "3:stderr", Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return m, branchtest.Start(t, New(branchtest.Env(t), m, log)).Client()
}

var (
	libvirtd = protocol.AdminServer{Name: "libvirtd"}
	nope     = protocol.AdminServer{Name: "nope"}
)

func show(params []protocol.TypedParam) string {
	var s []string
	for _, p := range params {
		v := p.Value
		switch v.Type {
		case virt.TypedParamUint:
			s = append(s, fmt.Sprintf("%s=%du", p.Field, v.UI))
		case virt.TypedParamInt:
			s = append(s, fmt.Sprintf("%s=%di", p.Field, v.I))
		case virt.TypedParamBoolean:
			s = append(s, fmt.Sprintf("%s=%db", p.Field, v.B))
		case virt.TypedParamString:
			s = append(s, fmt.Sprintf("%s=%q", p.Field, v.S))
		}
	}
	return strings.Join(s, " ")
}

func TestConnectAndServers(t *testing.T) {
	_, c := start(t)
	if _, err := branchtest.Do(c, protocol.AdminConnectOpen, &protocol.AdminConnectOpenArgs{}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.AdminConnectOpen, &protocol.AdminConnectOpenArgs{Flags: 1}, from, liberr.InvalidArg, "")
	if v, err := branchtest.Do(c, protocol.AdminConnectGetLibVersion, &protocol.Void{}); err != nil || v.LibVer != 9000000 {
		t.Error(v, err)
	}
	if l, err := branchtest.Do(c, protocol.AdminConnectListServers, &protocol.AdminConnectListServersArgs{NeedResults: 1}); err != nil || l.Ret != 2 || len(l.Servers) != 2 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.AdminConnectListServers, &protocol.AdminConnectListServersArgs{}); err != nil || l.Ret != 2 || len(l.Servers) != 0 {
		t.Error(l, err)
	}
	if s, err := branchtest.Do(c, protocol.AdminConnectLookupServer, &protocol.AdminConnectLookupServerArgs{Name: "admin"}); err != nil || s.Srv.Name != "admin" {
		t.Error(s, err)
	}
	branchtest.Fails(c, protocol.AdminConnectLookupServer, &protocol.AdminConnectLookupServerArgs{Name: "nope", Flags: 1}, liberr.FromRPC, liberr.NoServer, "Server not found: No server named 'nope'")
	if _, err := branchtest.Do(c, protocol.AdminConnectClose, &protocol.Void{}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.AdminConnectDaemonShutdown, &protocol.AdminConnectDaemonShutdownArgs{}, from, liberr.NoSupportCode, "")
}

// Names, types, order and errors were recorded from libvirtd 9.0.0.
func TestThreadpool(t *testing.T) {
	m, c := start(t)
	get := func() string {
		r, err := branchtest.Do(c, protocol.AdminServerGetThreadpoolParameters, &protocol.AdminServerGetThreadpoolParametersArgs{Srv: libvirtd})
		if err != nil {
			t.Error(err)
		}
		return show(r.Params)
	}
	if got := get(); got != "minWorkers=5u maxWorkers=20u nWorkers=5u freeWorkers=5u prioWorkers=5u jobQueueDepth=0u" {
		t.Error(got)
	}
	m.servers["libvirtd"].Calls = 27
	if got := get(); got != "minWorkers=5u maxWorkers=20u nWorkers=20u freeWorkers=0u prioWorkers=5u jobQueueDepth=7u" {
		t.Error(got)
	}
	set := func(code liberr.Code, message string, ps ...protocol.TypedParam) {
		t.Helper()
		branchtest.Fails(c, protocol.AdminServerSetThreadpoolParameters, &protocol.AdminServerSetThreadpoolParametersArgs{Srv: libvirtd, Params: ps}, liberr.FromNone, code, message)
	}
	set(liberr.ArgumentUnsupported, "argument unsupported: parameter 'bogus' not supported", uintParam("bogus", 1))
	set(liberr.ArgumentUnsupported, "argument unsupported: parameter 'nWorkers' not supported", uintParam("nWorkers", 1))
	set(liberr.InvalidArg, "invalid argument: invalid type 'int' for parameter 'maxWorkers', expected 'uint'", intParam("maxWorkers", 20))
	set(liberr.InvalidArg, "invalid argument: parameter 'maxWorkers' occurs multiple times", uintParam("maxWorkers", 20), uintParam("maxWorkers", 20))
	set(liberr.InvalidArg, "invalid argument: minWorkers cannot be larger than maxWorkers", uintParam("maxWorkers", 1))
	set(liberr.InvalidArg, "invalid argument: minWorkers cannot be larger than maxWorkers", uintParam("minWorkers", 30), uintParam("maxWorkers", 3))
	if w := m.servers["libvirtd"].Workers; w != (Workers{5, 20, 5}) {
		t.Error("a refused change was made: ", w)
	}
	if _, err := branchtest.Do(c, protocol.AdminServerSetThreadpoolParameters, &protocol.AdminServerSetThreadpoolParametersArgs{Srv: libvirtd, Params: []protocol.TypedParam{uintParam("minWorkers", 7), uintParam("prioWorkers", 0)}}); err != nil {
		t.Error(err)
	}
	if w := m.servers["libvirtd"].Workers; w != (Workers{7, 20, 0}) {
		t.Error(w)
	}
	branchtest.Fails(c, protocol.AdminServerGetThreadpoolParameters, &protocol.AdminServerGetThreadpoolParametersArgs{Srv: nope}, liberr.FromRPC, liberr.NoServer, "Server not found: No server named 'nope'")
	branchtest.Fails(c, protocol.AdminServerSetThreadpoolParameters, &protocol.AdminServerSetThreadpoolParametersArgs{Srv: nope}, from, liberr.NoServer, "Server not found: no server with matching name 'nope' found")
}

func TestLimits(t *testing.T) {
	m, c := start(t)
	r, err := branchtest.Do(c, protocol.AdminServerGetClientLimits, &protocol.AdminServerGetClientLimitsArgs{Srv: libvirtd})
	if got := show(r.Params); err != nil || got != "nclients_max=5000u nclients=2u nclients_unauth_max=20u nclients_unauth=0u" {
		t.Error(got, err)
	}
	args := func(ps ...protocol.TypedParam) *protocol.AdminServerSetClientLimitsArgs {
		return &protocol.AdminServerSetClientLimitsArgs{Srv: libvirtd, Params: ps}
	}
	const less = "invalid argument: The overall maximum number of clients waiting for authentication must not be less than the overall maximum number of clients"
	branchtest.Fails(c, protocol.AdminServerSetClientLimits, args(uintParam("nclients_max", 1)), liberr.FromRPC, liberr.InvalidArg, less)
	branchtest.Fails(c, protocol.AdminServerSetClientLimits, args(uintParam("nclients_unauth_max", 6000)), liberr.FromRPC, liberr.InvalidArg, less)
	branchtest.Fails(c, protocol.AdminServerSetClientLimits, args(uintParam("nclients", 1)), liberr.FromNone, liberr.ArgumentUnsupported, "argument unsupported: parameter 'nclients' not supported")
	if _, err := branchtest.Do(c, protocol.AdminServerSetClientLimits, args(uintParam("nclients_max", 100), uintParam("nclients_unauth_max", 100))); err != nil || m.servers["libvirtd"].Limits != (Limits{100, 100}) {
		t.Error(err, m.servers["libvirtd"].Limits)
	}
}

func TestClients(t *testing.T) {
	_, c := start(t)
	l, err := branchtest.Do(c, protocol.AdminServerListClients, &protocol.AdminServerListClientsArgs{Srv: libvirtd, NeedResults: 1})
	if err != nil || l.Ret != 2 || len(l.Clients) != 2 || l.Clients[1] != (protocol.AdminClient{Srv: libvirtd, ID: 8, Timestamp: 1001, Transport: 2}) {
		t.Fatal(l, err)
	}
	for i, want := range []string{
		`readonly=1b unix_user_id=0i unix_user_name="root" unix_group_id=4i unix_group_name="adm" unix_process_id=99i selinux_context="ctx"`,
		`readonly=0b sasl_user_name="fred" sock_addr="127.0.0.1;5" tls_x509_dname="CN=x"`,
	} {
		r, err := branchtest.Do(c, protocol.AdminClientGetInfo, &protocol.AdminClientGetInfoArgs{Clnt: l.Clients[i]})
		if got := show(r.Params); err != nil || got != want {
			t.Error(got, err)
		}
	}
	if r, err := branchtest.Do(c, protocol.AdminServerLookupClient, &protocol.AdminServerLookupClientArgs{Srv: libvirtd, ID: 7}); err != nil || r.Clnt != l.Clients[0] {
		t.Error(r, err)
	}
	if _, err := branchtest.Do(c, protocol.AdminClientClose, &protocol.AdminClientCloseArgs{Clnt: l.Clients[0]}); err != nil {
		t.Error(err)
	}
	gone := l.Clients[0]
	branchtest.Fails(c, protocol.AdminServerLookupClient, &protocol.AdminServerLookupClientArgs{Srv: libvirtd, ID: 7}, liberr.FromRPC, liberr.NoClient, "Client not found: No client with matching ID '7'")
	branchtest.Fails(c, protocol.AdminClientGetInfo, &protocol.AdminClientGetInfoArgs{Clnt: gone, Flags: 1}, from, liberr.NoClient, "Client not found: no client with matching id '7' found")
	branchtest.Fails(c, protocol.AdminClientClose, &protocol.AdminClientCloseArgs{Clnt: gone, Flags: 1}, liberr.FromRPC, liberr.NoClient, "Client not found: No client with matching ID '7'")
	gone.Srv = nope
	branchtest.Fails(c, protocol.AdminClientGetInfo, &protocol.AdminClientGetInfoArgs{Clnt: gone}, from, liberr.NoServer, "Server not found: no server with matching name 'nope' found")
	branchtest.Fails(c, protocol.AdminClientClose, &protocol.AdminClientCloseArgs{Clnt: gone}, liberr.FromRPC, liberr.NoServer, "Server not found: No server named 'nope'")
	branchtest.Fails(c, protocol.AdminServerListClients, &protocol.AdminServerListClientsArgs{Srv: nope}, liberr.FromRPC, liberr.NoServer, "Server not found: No server named 'nope'")
}

func TestLogging(t *testing.T) {
	_, c := start(t)
	out := func() string {
		r, err := branchtest.Do(c, protocol.AdminConnectGetLoggingOutputs, &protocol.AdminConnectGetLoggingOutputsArgs{})
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprint(r.Noutputs, " ", r.Outputs)
	}
	if got := out(); got != "1 3:stderr" {
		t.Error(got)
	}
	for in, want := range map[string]string{
		"bogus":    "Malformed format for log output 'bogus'",
		"3":        "Malformed format for log output '3'",
		"3:bogus":  "Invalid log destination 'bogus' for log output '3:bogus'",
		"9:stderr": "Invalid log priority '9' for log output '9:stderr'",
		"0:stderr": "Invalid log priority '0' for log output '0:stderr'",
		"3:syslog": "Log output '3:syslog' does not meet the format requirements for destination type 'syslog'",
		"3:file":   "Log output '3:file' does not meet the format requirements for destination type 'file'",
	} {
		branchtest.Fails(c, protocol.AdminConnectSetLoggingOutputs, &protocol.AdminConnectSetLoggingOutputsArgs{Outputs: &in}, liberr.FromNone, liberr.InvalidArg, "invalid argument: "+want)
	}
	file := filepath.Join(t.TempDir(), "a:b")
	good := "4:stderr 1:file:" + file
	if _, err := branchtest.Do(c, protocol.AdminConnectSetLoggingOutputs, &protocol.AdminConnectSetLoggingOutputsArgs{Outputs: &good}); err != nil {
		t.Error(err)
	}
	if got := out(); got != "2 4:stderr 1:file:"+file {
		t.Error(got)
	}

	filters := func() string {
		r, err := branchtest.Do(c, protocol.AdminConnectGetLoggingFilters, &protocol.AdminConnectGetLoggingFiltersArgs{})
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("%d %q", r.Nfilters, text(r.Filters))
	}
	for in, want := range map[string]string{
		"bogus": "Malformed format for filter 'bogus'",
		"*":     "Malformed format for filter '*'",
		"9:foo": "Invalid priority '9' for filter '9:foo'",
		"x:foo": "Invalid priority 'x' for filter 'x:foo'",
		"3:":    "Invalid match string ''",
	} {
		branchtest.Fails(c, protocol.AdminConnectSetLoggingFilters, &protocol.AdminConnectSetLoggingFiltersArgs{Filters: &in}, liberr.FromNone, liberr.InvalidArg, "invalid argument: "+want)
	}
	good = "1:qemu 3:+rpc"
	if _, err := branchtest.Do(c, protocol.AdminConnectSetLoggingFilters, &protocol.AdminConnectSetLoggingFiltersArgs{Filters: &good}); err != nil {
		t.Error(err)
	}
	if got := filters(); got != `2 "1:*qemu* 3:*rpc* "` {
		t.Error(got)
	}
	if _, err := branchtest.Do(c, protocol.AdminConnectSetLoggingFilters, &protocol.AdminConnectSetLoggingFiltersArgs{}); err != nil {
		t.Error(err)
	}
	if got := filters(); got != `0 ""` {
		t.Error(got)
	}
}

func TestTLSAndTimeout(t *testing.T) {
	m, c := start(t)
	branchtest.Fails(c, protocol.AdminServerUpdateTLSFiles, &protocol.AdminServerUpdateTLSFilesArgs{Srv: libvirtd}, liberr.FromRPC, liberr.InternalError, "internal error: no tls service found, unable to update tls files")
	m.noTLS = false
	if _, err := branchtest.Do(c, protocol.AdminServerUpdateTLSFiles, &protocol.AdminServerUpdateTLSFilesArgs{Srv: libvirtd}); err != nil {
		t.Error(err)
	}
	if _, err := branchtest.Do(c, protocol.AdminConnectSetDaemonTimeout, &protocol.AdminConnectSetDaemonTimeoutArgs{Timeout: 90}); err != nil || m.timeout != 90*time.Second {
		t.Error(err, m.timeout)
	}
	branchtest.Fails(c, protocol.AdminConnectSetDaemonTimeout, &protocol.AdminConnectSetDaemonTimeoutArgs{Flags: 1}, from, liberr.InvalidArg, "")
}
