package backend

import (
	"bufio"
	"strings"
	"testing"

	"virtree/actors/storage/def"
)

func TestMountsAreFoundInTheTable(t *testing.T) {
	const table = "proc /proc proc rw 0 0\n/dev/none /srv/a ext4 rw 0 0\nh:/export /srv/with\\040space nfs4 rw 0 0\nbroken\n"
	for _, c := range []struct {
		source, target string
		want           bool
	}{{"/dev/none", "/srv/a", true}, {"/dev/other", "/srv/a", false}, {"h:/export", "/srv/with space", true}, {"h:/export", "/srv/a", false}} {
		if got := findMount(bufio.NewScanner(strings.NewReader(table)), c.source, c.target); got != c.want {
			t.Error(c, got)
		}
	}
}

func TestWhatIsMounted(t *testing.T) {
	for source, want := range map[string]string{
		"<host name='h'/><dir path='/e'/><format type='nfs'/><protocol ver='4'/>": "-o nodev,nosuid,noexec,nfsvers=4 -t nfs h:/e /t",
		"<host name='h'/><dir path='/e'/>":                                        "-o nodev,nosuid,noexec h:/e /t",
		"<host name='h'/><dir path='/e'/><format type='cifs'/>":                   "-o nodev,nosuid,noexec,guest -t cifs //h/e /t",
	} {
		p, err := def.ParsePool("<pool type='netfs'><name>p</name><source>" + source + "</source><target><path>/t</path></target></pool>")
		if err != nil {
			t.Fatal(err)
		}
		s, err := mounted{Host: &Host{}}.source(p)
		if got := strings.Join(mountArgs(p, s), " "); got != want || err != nil {
			t.Errorf("%s\n%s", got, want)
		}
	}
}

func TestEventsOfAFolderAreRead(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 3), append(make([]byte, 12), 0xff, 0, 0, 0)} {
		if names, _ := parseEvents(b); len(names) != 0 {
			t.Error(names)
		}
	}
}
