package qmp

import "context"

// VNC is query-vnc.
type VNC struct {
	Enabled bool        `json:"enabled"`
	Host    string      `json:"host"`
	Family  string      `json:"family"` // "ipv4", "ipv6", "unix"
	Service string      `json:"service"`
	Auth    string      `json:"auth"`
	Clients []VNCClient `json:"clients"`
}

// VNCClient is a viewer.
type VNCClient struct {
	Host, Service, Family string
	X509DName             string `json:"x509_dname"`
	SASLUsername          string `json:"sasl_username"`
}

// QueryVNC asks where the VNC server listens.
func QueryVNC(ctx context.Context, x Executor) (VNC, error) {
	var ret VNC
	err := x.Execute(ctx, "query-vnc", nil, &ret)
	return ret, err
}

// SPICE is query-spice.
type SPICE struct {
	Enabled   bool   `json:"enabled"`
	Migrated  bool   `json:"migrated"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	TLSPort   int    `json:"tls-port"`
	Auth      string `json:"auth"`
	MouseMode string `json:"mouse-mode"`
}

// QuerySPICE asks where the SPICE server listens.
func QuerySPICE(ctx context.Context, x Executor) (SPICE, error) {
	var ret SPICE
	err := x.Execute(ctx, "query-spice", nil, &ret)
	return ret, err
}

// SetPassword sets the password of "vnc" or "spice"; connected is "fail", "disconnect", "keep" or "" for the default.
func SetPassword(ctx context.Context, x Executor, protocol, password, connected string) error {
	args := map[string]any{"protocol": protocol, "password": password}
	if connected != "" {
		args["connected"] = connected
	}
	return x.Execute(ctx, "set_password", args, nil)
}

// ExpirePassword says when it ends: "now", "never", "+seconds" or seconds since 1970.
func ExpirePassword(ctx context.Context, x Executor, protocol, when string) error {
	return x.Execute(ctx, "expire_password", map[string]any{"protocol": protocol, "time": when}, nil)
}

// Screendump writes a picture of a display to a file. device "" is the first display, format "" is PPM.
func Screendump(ctx context.Context, x Executor, device string, head int, file, format string) error {
	args := map[string]any{"filename": file}
	if device != "" {
		args["device"] = device
		args["head"] = head
	}
	if format != "" {
		args["format"] = format
	}
	return x.Execute(ctx, "screendump", args, nil)
}

// DisplayReload makes VNC read its certificates again.
func DisplayReload(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "display-reload", map[string]any{"type": "vnc", "tls-certs": true}, nil)
}

// AddClient gives a connected socket (passed before by GetFD) to "vnc" or "spice".
func AddClient(ctx context.Context, x Executor, protocol, fdname string, skipAuth bool) error {
	args := map[string]any{"protocol": protocol, "fdname": fdname, "skipauth": skipAuth}
	return x.Execute(ctx, "add_client", args, nil)
}

// ClientMigrateInfo tells SPICE viewers where the guest is going.
func ClientMigrateInfo(ctx context.Context, x Executor, args any) error {
	return x.Execute(ctx, "client_migrate_info", args, nil)
}
