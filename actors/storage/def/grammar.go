package def

import "regexp"

// What values may be. A pattern holds for all of a value.
var (
	anyText     = whole(`(?s).*`)
	objectName  = whole(`[^/\n]+`)
	uuidText    = whole(`[a-fA-F0-9]{32}|[a-fA-F0-9]{8}-([a-fA-F0-9]{4}-){3}[a-fA-F0-9]{12}`)
	absolute    = whole(`(/|[a-zA-Z]:\\).+`)
	absoluteDir = whole(`/.*`)
	somePath    = whole(`.+`)
	someNumber  = whole(`\s*[0-9]+\s*`)
	octal       = whole(`\s*[0-7]+\s*`)
	ownerID     = whole(`\s*[0-9]+\s*|-1`)
	scaleUnit   = whole(`[bB]([yY][tT][eE][sS]?)?|[kKmMgGtTpPeE]([iI]?[bB])?`)
	yesOrNo     = whole(`yes|no`)
	hostName    = whole(`[a-zA-Z0-9.\-]+|[0-9a-fA-F:.]+`)
	portNumber  = whole(`\s*(-1|[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])\s*`)
	iqn         = whole(`iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-zA-Z0-9.\-]+(:.+)?`)
	devicePath  = whole(`(/|[a-zA-Z]:\\).+|[a-zA-Z0-9_+\-]+|iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-zA-Z0-9.\-]+(:.+)?`)
	wwnText     = whole(`(0x)?[0-9a-fA-F]{16}`)
	hexNumber   = whole(`(0x)?[0-9a-fA-F]+`)
	volumeName  = whole(`[^/.]|[^/][^./]|[^./][^/]|[^/]{3,}`)
	timeText    = whole(`[0-9]+(\.[0-9]{0,9})?`)
	compatText  = whole(`[0-9]+\.[0-9]+`)
)

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

func oneOf(values ...string) *regexp.Regexp {
	var p string
	for i, v := range values {
		if i > 0 {
			p += "|"
		}
		p += regexp.QuoteMeta(v)
	}
	return whole(p)
}

func must(name string, value *regexp.Regexp) attribute { return attribute{name: name, value: value} }
func may(name string, value *regexp.Regexp) attribute {
	return attribute{name: name, value: value, optional: true}
}

func text(name string, value *regexp.Regexp) *rule { return &rule{name: name, text: value} }
func leaf(name string, attrs ...attribute) *rule   { return &rule{name: name, attrs: attrs} }
func parent(name string, members ...member) *rule {
	return &rule{name: name, group: &group{members}}
}

func one(r *rule) member              { return member{rule: r} }
func optional(r *rule) member         { return member{rule: r, optional: true} }
func some(r *rule) member             { return member{rule: r, many: true} }
func many(r *rule) member             { return member{rule: r, many: true, optional: true} }
func nested(members ...member) member { return member{group: &group{members}} }

func scaled(name string) *rule {
	return &rule{name: name, attrs: []attribute{may("unit", scaleUnit)}, text: someNumber}
}

var (
	nameRule         = text("name", objectName)
	metadata         = nested(one(nameRule), optional(text("uuid", uuidText)))
	metadataNameless = nested(optional(nameRule), optional(text("uuid", uuidText)))
	sizing           = nested(optional(scaled("capacity")), optional(scaled("allocation")), optional(scaled("available")))
	features         = optional(parent("features", optional(leaf("cow", must("state", yesOrNo)))))
	permissionsRule  = optional(parent("permissions", optional(text("mode", octal)), optional(text("owner", ownerID)),
		optional(text("group", ownerID)), optional(text("label", anyText))))
	targetRule        = parent("target", one(text("path", absolute)), permissionsRule)
	targetLogicalRule = parent("target", optional(text("path", absolute)), permissionsRule)

	hostRule      = leaf("host", must("name", hostName), may("port", portNumber))
	extentRule    = leaf("freeExtent", must("start", someNumber), must("end", someNumber))
	deviceRule    = deviceOf("device", must("path", devicePath), may("part_separator", yesOrNo))
	iscsiDevice   = leaf("device", must("path", iqn))
	dirRule       = leaf("dir", must("path", absoluteDir))
	relDirRule    = leaf("dir", must("path", somePath))
	sourceName    = text("name", anyText)
	initiatorRule = parent("initiator", one(leaf("iqn", must("name", nil))))
	vendors       = nested(optional(leaf("vendor", must("name", nil))), optional(leaf("product", must("name", nil))))
	authRule      = &rule{name: "auth", attrs: []attribute{must("type", oneOf("chap", "ceph")), must("username", nil)}, group: &group{[]member{one(secretRule)}}}
	secretRule    = &rule{name: "secret", pick: func(e *node) *rule {
		if _, byUUID := e.Lookup("uuid"); byUUID {
			return leaf("secret", must("uuid", nil))
		}
		return leaf("secret", must("usage", nil))
	}}
	refreshRule = optional(parent("refresh", optional(leaf("volume", may("allocation", oneOf("default", "capacity"))))))
)

// deviceOf is a device with its free extents. What is wrong with an extent makes it one too many.
func deviceOf(name string, attrs ...attribute) *rule {
	good := &rule{name: name, attrs: attrs, group: &group{[]member{many(extentRule)}}}
	bare := leaf(name, attrs...)
	return &rule{name: name, pick: func(e *node) *rule {
		for _, c := range e.All("freeExtent") {
			if extentRule.fits(c) != nil {
				return bare
			}
		}
		return good
	}}
}

func formatOf(kind string) *rule {
	k, _ := KindNamed(kind)
	return leaf("format", must("type", oneOf(k.Source...)))
}

func sourceOf(members ...member) *rule { return parent("source", members...) }

// netfsSource is one of two: what a server exports has an absolute path, shares and volumes have any.
var netfsSource = &rule{name: "source", pick: func(e *node) *rule {
	if f := e.Kid("format").Get("type"); f == "cifs" || f == "glusterfs" {
		return sourceOf(some(hostRule), one(relDirRule), one(leaf("format", must("type", nil))), vendors)
	}
	return sourceOf(some(hostRule), one(dirRule), optional(leaf("format", must("type", oneOf("auto", "nfs")))),
		optional(leaf("protocol", must("ver", nil))), vendors)
}}

var adapterRule = &rule{name: "adapter", pick: func(e *node) *rule {
	switch {
	case e.Get("type") == "fc_host":
		return leaf("adapter", must("type", nil), may("parent", nil), may("managed", yesOrNo), may("parent_wwnn", wwnText), may("parent_wwpn", wwnText),
			may("parent_fabric_wwn", wwnText), must("wwnn", wwnText), must("wwpn", wwnText))
	case e.Kid("parentaddr") != nil:
		address := leaf("address", may("domain", hexNumber), may("bus", hexNumber), may("slot", hexNumber), may("function", hexNumber), may("multifunction", oneOf("on", "off")))
		return &rule{name: "adapter", attrs: []attribute{may("type", oneOf("scsi_host"))}, group: &group{[]member{
			one(&rule{name: "parentaddr", attrs: []attribute{may("unique_id", someNumber)}, group: &group{[]member{one(address)}}})}}}
	}
	return leaf("adapter", may("type", oneOf("scsi_host")), must("name", nil))
}}

// poolSchema are the members of a pool of each kind, besides what all have.
var poolSchema = map[string][]member{
	"dir":          {metadata, sizing, features, optional(sourceOf(vendors)), one(targetRule)},
	"fs":           {metadata, sizing, features, one(sourceOf(one(deviceRule), optional(formatOf("fs")), vendors)), one(targetRule)},
	"netfs":        {metadata, sizing, features, one(netfsSource), one(targetRule)},
	"logical":      {metadataNameless, sizing, features, one(sourceOf(optional(sourceName), many(deviceRule), optional(formatOf("logical")), vendors)), one(targetLogicalRule)},
	"disk":         {metadata, sizing, features, one(sourceOf(one(deviceRule), optional(formatOf("disk")), vendors)), one(targetRule)},
	"iscsi":        {metadata, sizing, features, one(sourceOf(some(hostRule), one(deviceRule), optional(initiatorRule), optional(authRule), vendors)), one(targetRule)},
	"iscsi-direct": {metadata, sizing, features, one(sourceOf(some(hostRule), one(iscsiDevice), one(initiatorRule), optional(authRule)))},
	"scsi":         {metadata, sizing, features, one(sourceOf(one(adapterRule), vendors)), one(targetRule)},
	"mpath":        {metadata, sizing, features, optional(leaf("source")), one(targetRule)},
	"rbd":          {metadataNameless, sizing, features, one(sourceOf(one(sourceName), some(hostRule), optional(authRule))), refreshRule},
	"sheepdog":     {metadataNameless, sizing, features, one(sourceOf(some(hostRule), one(sourceName)))},
	"gluster":      {metadataNameless, sizing, features, one(sourceOf(some(hostRule), one(sourceName), optional(dirRule)))},
	"zfs":          {metadataNameless, sizing, features, one(sourceOf(one(sourceName), optional(deviceRule))), optional(targetRule)},
	"vstorage":     {metadataNameless, sizing, features, one(sourceOf(one(sourceName))), one(targetRule)},
}

// optionsRule is the extension of a kind.
func (x *extension) rule() *rule {
	o := &rule{name: "option", space: x.space, attrs: []attribute{must("name", nil)}}
	if x.values {
		o.attrs = append(o.attrs, must("value", nil))
	}
	return &rule{name: x.element, space: x.space, group: &group{[]member{many(o)}}}
}

// poolRule is what a pool's document may hold.
var poolRule = &rule{name: "pool", pick: func(e *node) *rule {
	kind := e.Get("type")
	members := poolSchema[kind]
	if members == nil {
		return nil
	}
	if x := extensions[kind]; x != nil {
		own := x.rule()
		for _, c := range e.Kids {
			if c.Space == x.space && own.fits(c) == nil { // else it is one too many
				members = append(members[:len(members):len(members)], optional(own))
				break
			}
		}
	}
	return &rule{name: "pool", attrs: []attribute{must("type", nil)}, group: &group{members}}
}}

var (
	timestamps = optional(parent("timestamps", optional(text("atime", timeText)), optional(text("btime", timeText)), optional(text("ctime", timeText)),
		optional(text("mtime", timeText))))
	volumeFormats = optional(leaf("format", must("type", oneOf("unknown", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "luks",
		"cow", "qcow", "qcow2", "qed", "vmdk", "none", "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2", "vmfs",
		"linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"))))
	volumeSecret = &rule{name: "secret", pick: func(e *node) *rule {
		if _, byUUID := e.Lookup("uuid"); byUUID {
			return leaf("secret", must("type", oneOf("passphrase")), must("uuid", uuidText))
		}
		return leaf("secret", must("type", oneOf("passphrase")), must("usage", nil))
	}}
	encryptionRule = &rule{name: "encryption", attrs: []attribute{must("format", oneOf("default", "qcow", "luks", "luks2")), may("engine", oneOf("qemu", "librbd"))},
		group: &group{[]member{optional(volumeSecret),
			optional(leaf("cipher", must("name", nil), must("size", someNumber), may("mode", nil), may("hash", nil))),
			optional(leaf("ivgen", must("name", nil), may("hash", nil)))}}}
	volumeExtent = leaf("extent", must("start", someNumber), must("end", someNumber))
	volumeRule   = &rule{name: "volume", terse: true, attrs: []attribute{may("type", oneOf("file", "block", "dir", "network", "netdir"))}, group: &group{[]member{
		one(text("name", volumeName)), optional(text("key", anyText)),
		optional(sourceOf(many(&rule{name: "device", attrs: []attribute{must("path", absolute)}, group: &group{[]member{many(volumeExtent)}}}))),
		nested(optional(scaled("capacity")), optional(scaled("allocation")), optional(scaled("physical"))),
		one(parent("target", optional(text("path", anyText)), volumeFormats, permissionsRule, timestamps, optional(encryptionRule), optional(text("compat", compatText)),
			optional(leaf("nocow")), optional(scaled("clusterSize")), optional(parent("features", optional(leaf("lazy_refcounts")), optional(leaf("extended_l2")))))),
		optional(parent("backingStore", one(text("path", absolute)), volumeFormats, permissionsRule, timestamps)),
	}}}
)
