//go:build tools

// Package main keeps, until each has its first importer, the modules this project is built on.
package main

import (
	_ "github.com/asynkron/protoactor-go/actor"
	_ "github.com/coreos/go-systemd/v22/activation"
	_ "github.com/coreos/go-systemd/v22/daemon"
	_ "github.com/coreos/go-systemd/v22/dbus"
	_ "github.com/coreos/go-systemd/v22/journal"
	_ "github.com/digitalocean/go-libvirt"
	_ "github.com/godbus/dbus/v5"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/nftables"
	_ "github.com/google/uuid"
	_ "github.com/landlock-lsm/go-landlock/landlock"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/rs/zerolog"
	_ "github.com/spf13/cobra"
	_ "github.com/vishvananda/netlink"
	_ "github.com/vmihailenco/msgpack/v5"
	_ "golang.org/x/sys/unix"
	_ "libvirt.org/go/libvirtxml"
	_ "pgregory.net/rapid"
)
