package def

import (
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Auth is how to prove to a server who we are. The secret is named, never held: by UUID or by usage.
type Auth struct {
	Type, Username string
	SecretType     string // as the document says; nobody needs it
	UUID           *protocol.UUID
	Usage          string
}

func parseAuth(e *node) (*Auth, error) {
	a := &Auth{}
	var ok bool
	if a.Username, ok = e.Lookup("username"); !ok {
		return nil, badXML("missing username for auth")
	}
	if a.Type, ok = e.Lookup("type"); ok && a.Type != "chap" && a.Type != "ceph" && a.Type != "none" {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "unknown auth type '%s'", a.Type)
	}
	s := e.Kid("secret")
	if s == nil {
		return nil, badXML("Missing <secret> element in auth")
	}
	a.SecretType = s.Get("type")
	uuid, byUUID := s.Lookup("uuid")
	usage, byUsage := s.Lookup("usage")
	switch {
	case byUUID && byUsage:
		return nil, liberr.New(liberr.FromNone, liberr.XMLError, "either secret uuid or usage expected")
	case byUUID:
		u, ok := xmltree.UUID(uuid)
		if !ok {
			return nil, liberr.New(liberr.FromNone, liberr.XMLError, "invalid secret uuid '%s'", uuid)
		}
		a.UUID = &u
	case byUsage:
		a.Usage = usage
	default:
		return nil, liberr.New(liberr.FromNone, liberr.XMLError, "missing secret uuid or usage attribute")
	}
	if a.Type == "" || a.Type == "none" {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "storage pool missing auth type")
	}
	return a, nil
}

func (a *Auth) format(line func(string, ...any)) {
	line("<auth type='%s' username='%s'>", a.Type, xmltree.Escape(a.Username))
	var s strings.Builder
	if a.SecretType != "" {
		s.WriteString(" type='" + xmltree.Escape(a.SecretType) + "'")
	}
	if a.UUID != nil {
		s.WriteString(" uuid='" + a.UUID.String() + "'")
	} else {
		s.WriteString(" usage='" + xmltree.Escape(a.Usage) + "'")
	}
	line("  <secret%s/>", s.String())
	line("</auth>")
}
