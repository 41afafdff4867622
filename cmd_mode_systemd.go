package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// systemctl is the systemd of this host, by its own tool: what it does is what an administrator would have typed.
type systemctl struct{}

// Booted is systemd's own test for it, sd_booted(3).
func (systemctl) Booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Show implements serviceManager.
func (s systemctl) Show(names []string) (map[string]unit, error) {
	out, err := s.run(append([]string{"show", "--property=Id,LoadState,ActiveState,UnitFileState,FragmentPath", "--"}, names...)...)
	if err != nil {
		return nil, err
	}
	return parseShow(out), nil
}

// parseShow reads blocks of "Property=value" lines, one block per unit.
func parseShow(out string) map[string]unit {
	units := map[string]unit{}
	for block := range strings.SplitSeq(out, "\n\n") {
		p := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[key] = value
		}
		if p["Id"] == "" || p["LoadState"] == "not-found" && p["ActiveState"] == "inactive" {
			continue
		}
		active := p["ActiveState"]
		units[p["Id"]] = unit{
			Path:    p["FragmentPath"],
			Enabled: strings.HasPrefix(p["UnitFileState"], "enabled"),
			Active:  active == "active" || active == "activating" || active == "reloading" || active == "deactivating",
			Failed:  active == "failed",
		}
	}
	return units
}

// Do implements serviceManager.
func (s systemctl) Do(verb string, units ...string) error {
	args := append([]string{"--quiet", verb}, units...)
	_, err := s.run(args...)
	return err
}

func (systemctl) run(args ...string) (string, error) {
	cmd := exec.Command("systemctl", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
