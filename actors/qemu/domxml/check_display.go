package domxml

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"virtree/actors/internal/xmltree"
)

// checkGraphics reads one <graphics>.
func (def *definition) checkGraphics(g *node) error {
	if err := grammar["graphics"].check(withoutKids(g)); err != nil {
		return err
	}
	typ := g.Get("type")
	keep(g, graphicsAttrs[typ]...)
	for _, name := range []string{"image", "jpeg", "zlib", "playback", "streaming"} {
		if err := checkSpiceOption(g.Kid(name)); err != nil {
			return err
		}
	}
	if v, ok := g.Lookup("passwdValidTo"); ok {
		if _, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(v, "Z")); err != nil {
			return internalError("cannot parse password validity time '%s', expect YYYY-MM-DDTHH:MM:SS", v)
		}
	}
	if g.Get("connected") == "default" {
		g.Unset("connected")
	}
	switch typ {
	case "vnc":
		if err := def.checkVNCPorts(g); err != nil {
			return err
		}
	case "spice":
		if err := def.checkSpicePorts(g); err != nil {
			return err
		}
	default:
		g.Drop("listen")
		return nil
	}
	return def.checkListens(g)
}

var graphicsAttrs = map[string][]string{
	"sdl":          {"type", "display", "xauth", "fullscreen"},
	"vnc":          {"type", "socket", "port", "autoport", "websocket", "listen", "keymap", "sharePolicy", "passwd", "passwdValidTo", "connected", "powerControl"},
	"spice":        {"type", "port", "tlsPort", "autoport", "listen", "keymap", "defaultMode", "passwd", "passwdValidTo", "connected"},
	"rdp":          {"type", "port", "autoport", "replaceUser", "multiUser", "listen"},
	"desktop":      {"type", "display", "fullscreen"},
	"egl-headless": {"type"},
	"dbus":         {"type", "address", "p2p"},
}

var spiceCompressions = map[string][]string{
	"image": {"auto_glz", "auto_lz", "quic", "glz", "lz", "off"}, "jpeg": {"auto", "never", "always"}, "zlib": {"auto", "never", "always"},
	"playback": {"on", "off"}, "streaming": {"filter", "all", "off"},
}

func checkSpiceOption(k *node) error {
	if k == nil {
		return nil
	}
	name := "compression"
	if k.Name == "streaming" {
		name = "mode"
	}
	v, ok := k.Lookup(name)
	if !ok {
		return missingAttr(k, name)
	}
	if !slices.Contains(spiceCompressions[k.Name], v) {
		return badValue(k, name, v)
	}
	return nil
}

func graphicsPort(g *node, attr, what string) (int, bool, error) {
	v, ok := g.Lookup(attr)
	if !ok {
		return 0, false, nil
	}
	p, err := strconv.ParseInt(cNumber(v), 10, 32)
	if err != nil {
		return 0, true, internalError("cannot parse %s %s", what, v)
	}
	return int(p), true, nil
}

func (def *definition) checkVNCPorts(g *node) error {
	port, has, err := graphicsPort(g, "port", "vnc port")
	if err != nil {
		return err
	}
	if _, _, err := graphicsPort(g, "websocket", "vnc WebSocket port"); err != nil {
		return err
	}
	auto := g.Get("autoport") == "yes"
	if !has || port == -1 {
		auto = true
	}
	if auto {
		if def.flags&ParseLive == 0 || port <= 0 {
			port = -1
		}
	}
	g.Set("port", strconv.Itoa(port))
	g.Set("autoport", map[bool]string{true: "yes", false: "no"}[auto])
	return nil
}

func (def *definition) checkSpicePorts(g *node) error {
	for _, name := range []string{"port", "tlsPort"} {
		if err := (&rule{attr: name, number: "int"}).check(g); err != nil {
			return err
		}
	}
	port, _, err := graphicsPort(g, "port", "spice port")
	if err != nil {
		return err
	}
	tls, _, err := graphicsPort(g, "tlsPort", "spice tlsPort")
	if err != nil {
		return err
	}
	auto := g.Get("autoport") == "yes"
	if port == -1 && tls == -1 {
		auto = true
	}
	if auto {
		port, tls = max(port, 0), max(tls, 0)
	}
	if auto && def.flags&ParseLive == 0 {
		port, tls = 0, 0
	}
	set := func(name string, v int) {
		if v != 0 {
			g.Set(name, strconv.Itoa(v))
		} else {
			g.Unset(name)
		}
	}
	set("port", port)
	set("tlsPort", tls)
	switch {
	case auto:
		g.Set("autoport", "yes")
	case port != 0 || tls != 0:
		g.Set("autoport", "no")
	default:
		g.Unset("autoport")
	}
	if g.Get("defaultMode") == "any" {
		g.Unset("defaultMode")
	}
	return nil
}

// checkListens joins the attributes of old documents with the <listen> elements: the first element is also the
// attribute, and where there is neither an element is made.
func (def *definition) checkListens(g *node) error {
	listens := g.All("listen")
	for _, l := range listens {
		if err := grammar["listen"].check(l); err != nil {
			return err
		}
		switch l.Get("type") {
		case "address":
			keep(l, "type", "address")
			if l.Get("address") == "" {
				l.Unset("address")
			}
		case "network":
			if !l.Has("network") {
				return xmlError("'network' attribute is required for listen type 'network'")
			}
			keep(l, "type", "network", "address")
			if def.flags&ParseLive == 0 {
				l.Unset("address")
			}
		case "socket":
			keep(l, "type", "socket")
		case "none":
			keep(l, "type")
		}
	}
	address, hasAddress := g.Lookup("listen")
	if len(listens) > 0 && (listens[0].Get("type") == "none" || listens[0].Get("type") == "socket") {
		// Nobody listens on a port.
		g.Unset("port", "tlsPort", "autoport", "websocket", "listen")
	}
	if socket, ok := g.Lookup("socket"); ok && socket != "" {
		if len(listens) == 0 {
			listens = []*node{xmltree.Elem("listen", "type", "socket", "socket", socket)}
			g.Add(listens[0])
			g.Unset("port", "autoport", "websocket", "listen")
		} else if listens[0].Get("type") == "socket" && listens[0].Get("socket") != socket {
			return unsupported("graphics 'socket' attribute '%s' must match 'socket' attribute of first listen element (found '%s')", socket, listens[0].Get("socket"))
		}
	}
	if len(listens) > 0 && listens[0].Get("type") == "socket" {
		// The attribute repeats the first element.
		if v := listens[0].Get("socket"); v != "" {
			g.Set("socket", v)
		}
	}
	switch {
	case len(listens) == 0:
		l := xmltree.Elem("listen", "type", "address")
		if address != "" {
			l.Set("address", address)
		}
		g.Add(l)
	case !hasAddress && listens[0].Get("type") == "address" && listens[0].Has("address"):
		g.Set("listen", listens[0].Get("address"))
	case hasAddress && listens[0].Get("type") == "address":
		if first, ok := listens[0].Lookup("address"); ok && address != "" && first != address {
			return unsupported("graphics 'listen' attribute '%s' must match 'address' attribute of first listen element (found '%s')", address, first)
		} else if !ok && address != "" {
			listens[0].Set("address", address)
		}
	}
	return nil
}

// checkVideo reads one <video>; memory sizes are filled in later, when it is known which is the primary one.
func (def *definition) checkVideo(v *node) error {
	m := v.Kid("model")
	if m == nil {
		return nil
	}
	if t, ok := m.Lookup("type"); ok && !slices.Contains(videoTypes, t) {
		return unsupported("unknown video model '%s'", t)
	}
	for _, name := range []string{"ram", "vram", "vram64", "vgamem", "heads"} {
		if t, ok := m.Lookup(name); ok {
			u, err := strconv.ParseUint(cNumber(t), 10, 32)
			if err != nil {
				return internalError("cannot parse video %s '%s'", name, t)
			}
			m.Set(name, utoa(u))
		}
	}
	for _, name := range []string{"ram", "vram64", "vgamem"} {
		if m.Has(name) && m.Get("type") != "qxl" {
			return unsupported("%s attribute only supported for video type qxl", name)
		}
	}
	if p, ok := m.Lookup("primary"); ok && p != "yes" && p != "no" {
		return badValue(m, "primary", p)
	}
	if m.Get("primary") == "no" {
		m.Unset("primary")
	}
	if a := m.Kid("acceleration"); a != nil && len(a.Attrs) == 0 {
		m.Remove(a)
	}
	return nil
}

var videoTypes = []string{"default", "vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "parallels", "virtio", "gop", "none", "bochs", "ramfb"}
