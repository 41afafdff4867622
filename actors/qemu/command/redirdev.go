package command

import (
	"fmt"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) redirdevs() error {
	return each(b.dev.RedirDevs, func(r *libvirtxml.DomainRedirDev) error { return b.redirdev(r) })
}

// redirdev is a USB port whose device is plugged in somewhere else.
func (b *builder) redirdev(r *libvirtxml.DomainRedirDev) error {
	alias := aliasOf(r.Alias)
	if r.Bus != "usb" {
		return unsupported("Redirection bus %s is not supported by QEMU", r.Bus)
	}
	err := b.chardev(chardev{id: "char" + alias, alias: alias, source: r.Source, protocol: r.Protocol, name: "usbredir"})
	if err != nil {
		return err
	}
	p := Props{{"driver", "usb-redir"}, {"chardev", "char" + alias}, {"id", alias}}
	if len(b.dev.RedirFilters) > 0 {
		filter, err := redirFilter(&b.dev.RedirFilters[0])
		if err != nil {
			return err
		}
		p.text("filter", filter)
	}
	bootIndex(&p, r.Boot, 0)
	if err := b.at(&p, r.Address, r.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

// redirFilter writes the rules in usbredir's form: class:vendor:product:version:allow, joined by bars; -1 is any.
func redirFilter(f *libvirtxml.DomainRedirFilter) (string, error) {
	var rules []string
	for _, u := range f.USB {
		hex := func(v *uint, width int) string {
			if v == nil {
				return "-1"
			}
			return fmt.Sprintf("0x%0*X", width, *v)
		}
		version, err := usbVersion(u.Version)
		if err != nil {
			return "", err
		}
		allow := "0"
		if u.Allow == "yes" {
			allow = "1"
		}
		rules = append(rules, strings.Join([]string{hex(u.Class, 2), hex(u.Vendor, 4), hex(u.Product, 4), version, allow}, ":"))
	}
	return strings.Join(rules, "|"), nil
}

// usbVersion turns "2.5" into binary coded decimal, 0x0250.
func usbVersion(s string) (string, error) {
	if s == "" {
		return "-1", nil
	}
	left, right, ok := strings.Cut(s, ".")
	major, err1 := strconv.Atoi(left)
	minor, err2 := strconv.Atoi(right)
	if !ok || err1 != nil || err2 != nil || major < 0 || major > 99 || minor < 0 || minor > 99 {
		return "", internal("Cannot parse USB device version %s", s)
	}
	if len(right) == 1 {
		minor *= 10
	}
	return fmt.Sprintf("0x%d%d%d%d", major/10, major%10, minor/10, minor%10), nil
}
