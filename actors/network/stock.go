package network

import (
	_ "embed"
	"os"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/disk"
	"virtree/supervisors/paths"
)

// defaultNetwork is the network that guests are given where nobody has made another one.
//
//go:embed packaging/default.xml
var defaultNetwork string

// InstallDefault defines the network "default" where the host has none of that name, as the installation of a package
// does, and tells whether it did. A daemon reads it at its next start.
func InstallDefault(p paths.Paths) (done bool, err error) {
	s := &shared{env: &branch.Env{Paths: p}}
	def, err := parse(defaultNetwork)
	if err != nil || disk.Exists(s.configPath(def.name)) {
		return false, err
	}
	def.complete(func(string) bool { return false }, 0)
	if err := os.MkdirAll(p.DriverConfig("network"), 0o755); err != nil {
		return false, err
	}
	return true, s.storeConfig(def)
}
