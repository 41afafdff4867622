package network

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"virtree/wire/liberr"
)

// Operations of the network hook, each with its sub-operation.
var (
	hookStart       = [2]string{"start", "begin"}
	hookStarted     = [2]string{"started", "begin"}
	hookStopped     = [2]string{"stopped", "end"}
	hookUpdated     = [2]string{"updated", "begin"}
	hookPortCreated = [2]string{"port-created", "begin"}
	hookPortDeleted = [2]string{"port-deleted", "begin"}
)

// hook runs /etc/libvirt/hooks/network and the scripts of network.d, in the order of their names, with the network's
// document (and a port's) on their input. ran tells whether there was any; the first that fails ends it.
func (s *shared) hook(ctx context.Context, def *definition, op [2]string, portDoc string) (ran bool, err error) {
	main := s.env.Paths.Hook("network")
	scripts := []string{main}
	more, _ := filepath.Glob(filepath.Join(main+".d", "*")) // sorted
	for _, path := range append(scripts, more...) {
		if fi, err := os.Stat(path); err != nil || fi.IsDir() || fi.Mode()&0o111 == 0 {
			continue
		}
		ran = true
		w := &writer{}
		w.line("<hookData>")
		w.in()
		w.network(def, &liveFacts{})
		for _, l := range strings.SplitAfter(portDoc, "\n") {
			if l != "" {
				w.WriteString("  " + l)
			}
		}
		w.out()
		w.line("</hookData>")
		cmd := exec.CommandContext(ctx, path, def.name, op[0], op[1], "-")
		cmd.Stdin = strings.NewReader(w.String())
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			how := err.Error()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				how = "unexpected " + exit.Error()
			}
			return ran, liberr.New(liberr.FromHook, liberr.HookScriptFailed, "Hook script %s %s failed with error code: internal error: Child process (LC_ALL=C PATH=%s %s %s %s %s -) %s: %s",
				path, "network", os.Getenv("PATH"), path, def.name, op[0], op[1], how, stderr.String()).WithCause(err)
		}
	}
	return ran, nil
}
