package command

import (
	"bufio"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/actors/qemu/qmp"
)

// readUntil reads a guest's serial line until a text has come.
func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var seen strings.Builder
	in := bufio.NewReader(r)
	for {
		c, err := in.ReadByte()
		if err != nil {
			t.Fatalf("waiting for %q: %v after %q", text, err, seen.String())
		}
		seen.WriteByte(c)
		if strings.HasSuffix(seen.String(), text) {
			return
		}
	}
}

// TestFirmwareRuns lets the guest go: the firmware it was given writes to its serial line, or its debug port.
func TestFirmwareRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("runs firmware under emulation")
	}
	tests := []struct {
		name, machine, os, port, want string
	}{
		{"SeaBIOS on pc", "pc-i440fx-7.2", `<bios useserial='yes'/>`, `<target type='isa-serial' port='0'><model name='isa-serial'/></target>`, "SeaBIOS (version"},
		{"SeaBIOS as a loader on q35", "pc-q35-7.2", `<loader type='rom'>/usr/share/seabios/bios-256k.bin</loader>`,
			`<target type='isa-debug' port='0'><model name='isa-debugcon'/></target><address type='isa' iobase='0x402'/>`, "SeaBIOS (version"},
		{"OVMF on q35", "pc-q35-7.2", `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>` +
			`<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>`,
			`<target type='isa-serial' port='0'><model name='isa-serial'/></target>`, "BdsDxe"},
		{"OVMF with secure boot", "pc-q35-7.2", `<loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.ms.fd</loader>` +
			`<nvram template='/usr/share/OVMF/OVMF_VARS_4M.ms.fd'/>`,
			`<target type='isa-serial' port='0'><model name='isa-serial'/></target>`, "BdsDxe"},
	}
	c := realCaps(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			def := parseText(t, `<domain type='qemu'><name>fw</name><uuid>b57d1a3e-0000-4000-8000-0000000000fe</uuid><memory unit='MiB'>256</memory>
				<vcpu>1</vcpu><os><type arch='x86_64' machine='`+tt.machine+`'>hvm</type>`+tt.os+`</os><features><acpi/><smm state='on'/></features>
				<devices><serial type='unix'><source mode='bind' path='unused'/>`+tt.port+`<alias name='serial0'/></serial>
				<memballoon model='none'/></devices></domain>`)
			if strings.HasPrefix(tt.machine, "pc-i440") {
				def.Features.SMM = nil
			}
			if l := def.OS.Loader; l != nil {
				if _, err := os.Stat(l.Path); err != nil {
					t.Skip("firmware not installed: ", err)
				}
			}
			socket := filepath.Join(t.TempDir(), "s")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			file, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			defer file.Close()
			q := start(t, c, def, func(rt *Runtime) { rt.Listeners = map[string]*os.File{"serial0": file} })
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
			if err := qmp.Cont(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			readUntil(t, conn, tt.want)
		})
	}
}

// TestEncryptedDisk starts a guest on LUKS images: QEMU can open them only if it decrypts the passphrase with the master
// key, so that key, padding and objects are right.
func TestEncryptedDisk(t *testing.T) {
	c := realCaps(t)
	dir := t.TempDir()
	phrase := "correct horse battery"
	raw, cow := filepath.Join(dir, "l.img"), filepath.Join(dir, "l.qcow2")
	for _, args := range [][]string{
		{"-f", "luks", "-o", "key-secret=s,iter-time=10", raw},
		{"-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", cow},
	} {
		args = append([]string{"create", "-q", "--object", "secret,id=s,data=" + phrase}, args...)
		if out, err := exec.CommandContext(t.Context(), "qemu-img", append(args, "8M")...).CombinedOutput(); err != nil {
			if strings.Contains(string(out), "CPU usage") {
				t.Skip("qemu-img cannot measure time on this host: ", string(out))
			}
			t.Fatalf("qemu-img: %v: %s", err, out)
		}
	}
	def := parseText(t, `<domain type='qemu'><name>luks</name><uuid>b57d1a3e-0000-4000-8000-0000000000fd</uuid><memory unit='MiB'>64</memory>
		<vcpu>1</vcpu><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os><features><acpi/></features><devices>
		<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='`+raw+`'><encryption format='luks'>
		<secret type='passphrase' uuid='b57d1a3e-0000-4000-8000-000000000001'/></encryption></source><target dev='vda' bus='virtio'/>
		<alias name='virtio-disk0'/><address type='pci' domain='0' bus='0' slot='4' function='0'/></disk>
		<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='`+cow+`'><encryption format='luks'>
		<secret type='passphrase' usage='/some/volume'/></encryption></source><target dev='vdb' bus='virtio'/>
		<alias name='virtio-disk1'/><address type='pci' domain='0' bus='0' slot='5' function='0'/></disk>
		<controller type='pci' index='0' model='pci-root'><alias name='pci.0'/></controller>
		<memballoon model='none'/></devices></domain>`)
	key := make([]byte, 32) // the test's master-key.aes
	wanted := SecretsOf(def)
	if len(wanted) != 2 || wanted[0].UUID == "" || wanted[1].Usage != "/some/volume" {
		t.Fatalf("secrets wanted: %+v", wanted)
	}
	secrets := map[string]Secret{}
	for _, w := range wanted {
		iv := make([]byte, 16)
		rand.Read(iv)
		s, err := EncryptSecret(key, iv, []byte(phrase))
		if err != nil {
			t.Fatal(err)
		}
		secrets[w.ID] = s
	}
	start(t, c, def, func(rt *Runtime) { rt.Secrets = secrets })
}
