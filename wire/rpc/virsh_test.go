package rpc

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/wire/protocol"
)

// TestRealClientPassesDescriptors has virsh, which is libvirt's own client, send two open files with a call.
func TestRealClientPassesDescriptors(t *testing.T) {
	virsh, err := exec.LookPath("virsh")
	if err != nil {
		t.Skip("virsh is not installed")
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []string, 1)
	go func() {
		defer close(got)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := NewConn(nc, nil)
		defer c.Close()
		for {
			p, err := c.ReadPacket()
			if err != nil {
				return
			}
			switch p.Proc {
			case protocol.AuthList.Number:
				c.SendBody(p.ReplyTo(OK), &protocol.AuthListRet{Types: []protocol.AuthType{protocol.RemoteAuthNone}})
			case protocol.ConnectSupportsFeature.Number:
				c.SendBody(p.ReplyTo(OK), &protocol.ConnectSupportsFeatureRet{Supported: 1})
			case protocol.DomainCreateXMLWithFiles.Number:
				var args protocol.DomainCreateXMLWithFilesArgs
				if err := protocol.Unmarshal(p.Payload, &args); err != nil || p.Type != CallWithFDs {
					t.Errorf("%v: %v", p.Header, err)
				}
				seen := []string{args.XMLDesc}
				for _, f := range p.FDs {
					b, _ := io.ReadAll(f)
					seen = append(seen, string(b))
				}
				got <- seen
				c.SendBody(p.ReplyTo(OK), &protocol.DomainCreateXMLWithFilesRet{Dom: protocol.Domain{Name: "made-up"}})
			default:
				c.Send(p.ReplyTo(OK), nil)
			}
			p.Release()
		}
	}()
	xml := filepath.Join(dir, "d.xml")
	os.WriteFile(xml, []byte("<domain/>"), 0o600)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, virsh, "-c", "qemu+unix:///system?socket="+dir+"/s", "create", xml, "--pass-fds", "3,4")
	cmd.ExtraFiles = []*os.File{tempFile(t, "first"), tempFile(t, "second")}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Domain 'made-up' created") {
		t.Fatalf("%v: %s", err, out)
	}
	seen := <-got
	if len(seen) != 3 || !strings.Contains(seen[0], "<domain/>") || seen[1] != "first" || seen[2] != "second" {
		t.Errorf("the server saw %q", seen)
	}
}
