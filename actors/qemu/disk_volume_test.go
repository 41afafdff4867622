package qemu

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"os"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// There is no iSCSI target here: what QEMU is told of one is read off the pool's document.
func TestAnISCSIVolumeIsReachedWithThePoolsCredentials(t *testing.T) {
	pool := &libvirtxml.StoragePool{}
	if err := xml.Unmarshal([]byte(`<pool type='iscsi'><name>san</name><source><host name='san.example' port='3261'/><device path='iqn.2013-07.com.example:pool'/>
		<initiator><iqn name='iqn.2013-07.com.example:me'/></initiator>
		<auth type='chap' username='me'><secret usage='san'/></auth></source></pool>`), pool); err != nil {
		t.Fatal(err)
	}
	disk := func(volume string) *libvirtxml.DomainDisk {
		return &libvirtxml.DomainDisk{Source: &libvirtxml.DomainDiskSource{Volume: &libvirtxml.DomainDiskSourceVolume{Pool: "san", Volume: volume, Mode: "direct"}}}
	}
	d := disk("unit:0:0:7")
	if err := iscsiDirect(d, pool); err != nil {
		t.Fatal(err)
	}
	n := d.Source.Network
	if n.Protocol != "iscsi" || n.Name != "iqn.2013-07.com.example:pool/7" || len(n.Hosts) != 1 || n.Hosts[0].Name != "san.example" || n.Hosts[0].Port != "3261" {
		t.Errorf("the disk is on %+v", n)
	}
	if n.Initiator == nil || n.Initiator.IQN.Name != "iqn.2013-07.com.example:me" {
		t.Errorf("the initiator is %+v", n.Initiator)
	}
	if n.Auth == nil || n.Auth.Username != "me" || n.Auth.Secret.Type != "iscsi" || n.Auth.Secret.Usage != "san" {
		t.Errorf("it logs in as %+v", n.Auth)
	}
	if err := iscsiDirect(disk("7"), pool); !errors.Is(err, liberr.InternalError) {
		t.Errorf("a volume of another name: %v", err)
	}
}

func TestTheUseOfASecret(t *testing.T) {
	for _, c := range []struct {
		w    command.SecretWanted
		want int32
	}{
		{command.SecretWanted{Use: command.SecretEncryption, Type: "passphrase"}, virt.SecretUsageTypeVolume},
		{command.SecretWanted{Use: command.SecretAuth, Type: "ceph"}, virt.SecretUsageTypeCeph},
		{command.SecretWanted{Use: command.SecretAuth, Type: "iscsi"}, virt.SecretUsageTypeIscsi},
	} {
		if got := usageOf(&c.w); got != c.want {
			t.Errorf("%+v is of use %d, want %d", c.w, got, c.want)
		}
	}
}

func TestSecretsAreEncryptedForTheGuest(t *testing.T) {
	p := &launchPlan{drv: &shared{}, rt: command.Runtime{LibDir: t.TempDir()}}
	if _, err := masterKey(p.rt.LibDir); err != nil {
		t.Fatal(err)
	}
	cookies := command.SecretWanted{ID: "id", Use: command.SecretCookie, Cookies: []libvirtxml.DomainDiskCookie{{Name: "a", Value: "b"}, {Name: "c", Value: "d"}}}
	if err := p.secrets(t.Context(), []command.SecretWanted{cookies}); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(p.rt.MasterKeyPath())
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err1 := base64.StdEncoding.DecodeString(p.rt.Secrets["id"].Data)
	iv, err2 := base64.StdEncoding.DecodeString(p.rt.Secrets["id"].IV)
	if err1 != nil || err2 != nil || len(iv) != block.BlockSize() || len(data)%block.BlockSize() != 0 {
		t.Fatalf("%+v: %v, %v", p.rt.Secrets["id"], err1, err2)
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(data, data)
	if got := string(data[:len(data)-int(data[len(data)-1])]); got != "a=b; c=d" {
		t.Errorf("QEMU reads %q", got)
	}
}
