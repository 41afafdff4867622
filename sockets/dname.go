package sockets

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
)

// DName writes a certificate's subject the way libvirt sees it, in the order of the certificate and not reversed as RFC 4514
// wants: tls_allowed_dn_list and access rules are written against this form.
func DName(cert *x509.Certificate) string {
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(cert.RawSubject, &seq); err != nil {
		return ""
	}
	var parts []string
	for rest := seq.Bytes; len(rest) > 0; {
		var set asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &set); err != nil {
			return ""
		}
		part, err := rdn(set.Bytes)
		if err != nil {
			return ""
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}

// rdn writes one relative name, which may hold several attributes.
func rdn(b []byte) (string, error) {
	var attrs []string
	for len(b) > 0 {
		var attr struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		rest, err := asn1.Unmarshal(b, &attr)
		if err != nil {
			return "", err
		}
		b = rest
		attrs = append(attrs, attrName(attr.Type)+"="+attrValue(attr.Value, attr.Type))
	}
	return strings.Join(attrs, "+"), nil
}

var attrNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "surName", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "street",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.42": "givenName", "2.5.4.17": "postalCode",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "EMAIL",
}

func attrName(oid asn1.ObjectIdentifier) string {
	if n, ok := attrNames[oid.String()]; ok {
		return n
	}
	return oid.String()
}

func attrValue(v asn1.RawValue, oid asn1.ObjectIdentifier) string {
	var s string
	if _, known := attrNames[oid.String()]; !known {
		return "#" + hex.EncodeToString(v.FullBytes)
	}
	if _, err := asn1.Unmarshal(v.FullBytes, &s); err != nil {
		return "#" + hex.EncodeToString(v.FullBytes)
	}
	return escapeDN(s)
}

// escapeDN quotes what has a meaning in a name (RFC 4514, 2.4).
func escapeDN(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case strings.ContainsRune(`,+"\<>;`, r), (r == ' ' || r == '#') && i == 0, r == ' ' && i == len(s)-1:
			fmt.Fprintf(&b, `\%c`, r)
		case r == 0:
			b.WriteString(`\00`)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
