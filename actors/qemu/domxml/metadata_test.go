package domxml

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

const metadataDomain = `<domain type='qemu'><name>dx-metadata</name><uuid>11111111-2222-4333-8444-555555555555</uuid><memory>65536</memory>
<metadata>

      <a:x xmlns:a='urn:a' q="it's &quot;q&quot; &lt; &gt; &amp; &#10; é">
   <a:y>  sp  </a:y>


   <a:z>text<a:w/>tail <a:v> <a:u/> </a:v></a:z><a:e></a:e>
  <!-- a comment --> <a:c><![CDATA[ <raw> ]]></a:c> <a:q>é " ' &gt; &#13; ☃</a:q> <?pi x?>
      </a:x>
   <nons/>
   <a:x xmlns:a='urn:a'>dup</a:x>
   <b xmlns='urn:b'><c/><d xmlns='urn:d' e='f' xmlns:g='urn:g' g:h='1'/></b>
   loose text
</metadata>
<os><type>hvm</type></os></domain>`

// metadataSteps are played one after the other: "get URI", or "set URI KEY ELEMENT", no element to remove it.
var metadataSteps = []string{
	"get urn:a", "get urn:b", "get urn:none",
	"set urn:b k <n><m a='1'/></n>", "get urn:b",
	"set urn:k kk <n xmlns:z='q'><m a='1'/> t</n>", "get urn:k",
	"set urn:q q <deep><er><est>x &amp; y</est></er></deep>", "get urn:q",
	"set urn:q other <again/>", "get urn:q",
	"set urn:p p <broken", "set urn:a", "get urn:a",
}

func playMetadata(get func(uri string) (string, error), set func(uri, key, element string) error, final func() string) string {
	var b strings.Builder
	say := func(text string, err error) {
		var remote libvirt.Error
		var own *liberr.Error
		switch {
		case errors.As(err, &remote):
			fmt.Fprintf(&b, "%d %s\n", remote.Code, remote.Message)
		case errors.As(err, &own):
			fmt.Fprintf(&b, "%d %s\n", own.Code, own.Message)
		default:
			b.WriteString(text + "\n")
		}
	}
	for _, step := range metadataSteps {
		b.WriteString("> " + step + "\n")
		words := append(strings.SplitN(step, " ", 4), "", "")
		if words[0] == "get" {
			say(get(words[1]))
		} else {
			say("ok", set(words[1], words[2], words[3]))
		}
	}
	b.WriteString(final())
	return b.String()
}

// Metadata reads and changes as in libvirt, mixed content, namespaces and all.
func TestMetadata(t *testing.T) {
	const file = "testdata/metadata.txt"
	if *update {
		recordMetadata(t, file)
	}
	env := referenceEnv(t)
	d, err := Parse([]byte(metadataDomain), env, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := playMetadata(
		func(uri string) (string, error) {
			text, ok := Metadata(d, MetadataElement, uri)
			if !ok {
				return "", liberr.New(liberr.FromDomain, liberr.NoDomainMetadata, "Requested metadata element is not present")
			}
			return text, nil
		},
		func(uri, key, element string) error { return SetMetadata(d, MetadataElement, given(element), key, uri) },
		func() string { return metadataPart(t, d) },
	)
	if diff := lineDiff(read(t, file), got); diff != "" {
		t.Errorf("(-libvirt +ours)\n%s", diff)
	}
}

func metadataPart(t *testing.T, d *libvirtxml.Domain) string {
	text, err := Format(d, Inactive)
	if err != nil {
		t.Fatal(err)
	}
	return cutMetadata(text)
}

func cutMetadata(text string) string {
	i, j := strings.Index(text, "  <metadata>"), strings.Index(text, "</metadata>\n")
	return text[i : j+len("</metadata>\n")]
}

func recordMetadata(t *testing.T, file string) {
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	d, err := l.DomainDefineXMLFlags(metadataDomain, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.DomainUndefineFlags(d, 0)
	optional := func(s string) libvirt.OptString {
		if s == "" {
			return nil
		}
		return libvirt.OptString{s}
	}
	write(t, file, playMetadata(
		func(u string) (string, error) {
			return l.DomainGetMetadata(d, int32(MetadataElement), libvirt.OptString{u}, libvirt.DomainAffectConfig)
		},
		func(u, key, element string) error {
			return l.DomainSetMetadata(d, int32(MetadataElement), optional(element), optional(key), libvirt.OptString{u}, libvirt.DomainAffectConfig)
		},
		func() string {
			text, err := l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive)
			if err != nil {
				t.Fatal(err)
			}
			return cutMetadata(text)
		},
	))
}

// given is a string that a call has, or has not.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
