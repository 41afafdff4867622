#!/bin/bash
# A first look: starts the tree below ROOT, boots the small guest in it, shows both.
#
#   run.sh ROOT [--split]     start, or look again if it runs
#   run.sh --stop ROOT        end the guests and the tree, remove ROOT
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
name=first-light

if [ "${1:-}" = --stop ]; then
	root=${2:?}
	uri="qemu:///system?socket=$root/run/libvirt/libvirt-sock"
	[ -f "$root/.virtree-run" ] || { echo "nothing of make run in $root"; exit 0; }
	for d in $(virsh -c "$uri" list --name 2>/dev/null); do virsh -q -c "$uri" destroy "$d" || :; done
	pid=$(cat "$root/.virtree-run")
	if [ -n "$pid" ] && grep -qsz -- "$root" "/proc/$pid/cmdline"; then
		kill "$pid"
		tail --pid="$pid" -f /dev/null
	fi
	rm -rf "$root"
	exit 0
fi

root=${1:?usage: run.sh ROOT [--split]}
shift
[ "$(id -u)" = 0 ] || { echo "make run needs root: the tree it shows is a system one" >&2; exit 1; }
mkdir -p "$root"
root=$(readlink -f "$root")
uri="qemu:///system?socket=$root/run/libvirt/libvirt-sock"
guest=${VIRTREE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/virtree}/guest
v() { virsh -q -c "$uri" "$@"; }
step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

pid=$(cat "$root/.virtree-run" 2>/dev/null || :)
if [ -z "$pid" ] || ! grep -qsz -- "$root" "/proc/$pid/cmdline"; then
	step "bin/virtree run $* --root $root &"
	setsid bin/virtree run "$@" --root "$root" </dev/null >"$root/virtree.log" 2>&1 &
	pid=$!
	echo $pid >"$root/.virtree-run"
	for _ in $(seq 300); do
		[ -S "$root/run/libvirt/libvirt-sock" ] && v uri >/dev/null 2>&1 && break
		kill -0 $pid 2>/dev/null || { cat "$root/virtree.log" >&2; exit 1; }
		sleep 0.1
	done
fi
v version

# QEMU may run as a user that cannot read below this one's home.
mkdir -p "$root/images"
chmod 755 "$root" "$root/images"
cp -u "$guest/vmlinux" "$guest/initrd" "$root/images/"
cat >"$root/$name.xml" <<XML
<domain type='$(cat "$guest/domtype")'>
  <name>$name</name>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>$root/images/vmlinux</kernel>
    <initrd>$root/images/initrd</initrd>
    <cmdline>$(cat "$guest/cmdline")</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <interface type='user'><model type='virtio'/></interface>
    <console type='pty'/>
  </devices>
</domain>
XML
if ! v domstate $name 2>/dev/null | grep -q running; then
	step "virsh define $name.xml; virsh start $name"
	v define "$root/$name.xml"
	v start $name
	step "virsh console $name     (the guest boots; its end is shown here)"
	# script gives virsh the terminal that it insists on; its input is a pipe that stays
	# open and silent.
	rm -f "$root/console.txt" "$root/.silence"
	mkfifo "$root/.silence"
	exec 3<>"$root/.silence"
	timeout 90 script -qefc "virsh -c '$uri' console $name" "$root/console.txt" <&3 >/dev/null 2>&1 &
	console=$!
	for _ in $(seq 800); do
		grep -qs 'virtree guest ready' "$root/console.txt" && break
		kill -0 $console 2>/dev/null || break
		sleep 0.1
	done
	kill $console 2>/dev/null || :
	wait $console 2>/dev/null || :
	grep -a 'virtree guest' "$root/console.txt" || { echo "the guest did not come up; see $root" >&2; tail -5 "$root/console.txt" >&2; exit 1; }
fi
step virsh list --all
virsh -c "$uri" list --all
step virsh dominfo $name
v dominfo $name
step bin/virtree tree --root "$root"
bin/virtree tree --root "$root"

cat <<NEXT

It runs on. To go on from here:
  export LIBVIRT_DEFAULT_URI='$uri'
  virsh console $name            a shell in the guest; leave it with Ctrl-]
  virsh shutdown $name           it obeys its power button
  virsh event --all --loop       what happens, as it happens
  bin/virtree top --root $root
  kill -9 $pid; make run         the guest runs on and is found again
  make run MODE=--split          (after make stop) one process per driver
  make stop                      end it all
NEXT
