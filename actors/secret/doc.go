// Package secret is the branch of secrets: virtsecretd, and the secret driver of libvirtd.
//
// In: call.Call for the secret procedures, call.Subscribe, and Ask from other branches of the tree. Out: call.Reply,
// call.Event (defined, undefined, value changed), Value.
//
// A secret is a few hundred bytes that nothing ever happens to by itself, so the branch actor owns all of them and there
// is no actor per secret: nothing could stall or crash in one that would not in the other. Reads are answered at once.
// Changes run one after the other: decide in the actor, write in a job, apply when the job's result comes back, then
// answer. What was answered is on the disk. While the definitions are being read at the start, calls wait.
//
// On disk, in /etc/libvirt/secrets, everything 0600 and replaced atomically:
//
//	UUID.xml      libvirt's own file
//	UUID.value    the value, sealed with the host's key (AES-256-GCM, bound to the UUID)
//	UUID.base64   libvirt's plain value: read where it is found, replaced by UUID.value when the value is set
//
// The key is 32 random bytes: the systemd credential "secrets-encryption-key" when there is one, else the file of that
// name in /var/lib/libvirt/secrets, which is made when the first value is kept. In memory, too, values are sealed; they
// are in the clear only between a call and its answer, and are wiped after it. They are never logged.
//
// Compat: libvirtd cannot read UUID.value. To take a host back to it, [Export] writes the values as UUID.base64 again.
// When libvirtd has changed a value meanwhile, its file is the newer one and is believed.
//
// Compat: a persistent secret that is redefined as ephemeral leaves no file; libvirt leaves its old definition behind,
// which is back at the next start.
//
// When the actor dies it reads everything again from the disk; ephemeral secrets are lost, as they are by definition.
//
// Counterpart: src/secret/secret_driver.c, src/conf/virsecretobj.c, src/conf/secret_conf.c.
package secret
