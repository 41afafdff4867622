#!/bin/bash
# Makes the guest that the tests, the benchmarks and `make run` boot: a Debian
# kernel with a busybox initrd, from packages, in a cache folder.
#
#   build.sh [--kernel cloud|generic] [--agent] [--force] CACHE
#
# In CACHE it leaves
#   vmlinuz     the kernel as Debian packs it
#   vmlinux     the same unpacked: QEMU enters it by PVH, which under emulation saves
#               the guest the decompression
#   initrd      busybox, the kernel modules of virtual hardware, ./init
#   cmdline     kernel arguments that boot it quickest
#   domtype     "kvm" or "qemu": the <domain type=> that really runs this kernel here
#
# cloud (the default) has virtio and PIIX IDE; generic knows AHCI, e1000, USB and
# sound too, and takes longer to unpack. --agent adds qemu-guest-agent with its
# libraries. No root is needed as long as apt-get, lz4, xz and cpio are there.
set -euo pipefail

kernel=cloud agent=0 force=0
while [ $# -gt 1 ]; do
	case $1 in
	--kernel) kernel=$2; shift ;;
	--agent) agent=1 ;;
	--force) force=1 ;;
	*) break ;;
	esac
	shift
done
[ $# = 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
cache=$(readlink -f "$1")
say() { echo "guest: $*"; }

case $kernel in
cloud) meta=linux-image-cloud-amd64 ;;
generic) meta=linux-image-amd64 ;;
*) echo "guest: --kernel is cloud or generic" >&2; exit 2 ;;
esac

# The stamp leaves out the kernel's version on purpose: a new point release on the
# mirror must not make every test run download a kernel. --force does that.
stamp=$(cat "$here/build.sh" "$here/init" "$here/dhcp-script" | sha256sum | cut -c1-32)-$kernel-$agent
if [ $force = 0 ] && [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then
	say "up to date in $cache, domain type $(cat "$cache/domtype")"
	exit 0
fi
# Two builds at once (two test packages) must not mix their files.
exec 9>"$cache/.lock"
flock 9
if [ $force = 0 ] && [ "$(cat "$cache/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

work=$(mktemp -d "${TMPDIR:-/tmp}/virtree-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

package() { # NAME: download and unpack one below ./NAME
	apt-get -qq -o APT::Sandbox::User=root download "$1"
	mkdir -p "$1"
	dpkg-deb -x "$1"_*.deb "$1"
}

real=$(apt-cache depends "$meta" | awk '/Depends: linux-image/ {print $2; exit}')
[ -n "$real" ] || { echo "guest: apt knows no $meta; run apt-get update" >&2; exit 1; }
say "kernel package $real"
package "$real"
package busybox-static

# ---- the kernel, packed and unpacked -------------------------------------------
cp "$real"/boot/vmlinuz-* vmlinuz
word() { od -An -tu"$2" -j"$1" -N"$2" vmlinuz | tr -d ' '; }
sects=$(word $((0x1f1)) 1)
[ "$sects" != 0 ] || sects=4
off=$(((sects + 1) * 512 + $(word $((0x248)) 4)))
len=$(word $((0x24c)) 4)
dd if=vmlinuz of=payload iflag=skip_bytes,count_bytes skip=$off count=$((len - 4)) bs=1M status=none
case $(od -An -tx1 -N4 payload | tr -d ' ') in
02214c18) lz4 -dcq payload >vmlinux ;;
fd377a58) xz -dcq payload >vmlinux ;;
28b52ffd) zstd -dcq payload >vmlinux ;;
1f8b*) gzip -dcq payload >vmlinux ;;
*) echo "guest: this kernel is packed in a way this script does not know" >&2; exit 1 ;;
esac
[ "$(od -An -c -N4 vmlinux | tr -d ' ')" = '177ELF' ] || { echo "guest: unpacking the kernel gave no ELF file" >&2; exit 1; }

# ---- the initrd ------------------------------------------------------------------
root=$work/root
version=$(ls "$real/lib/modules")
mkdir -p "$root"/{bin,dev,proc,sys,etc,usr/sbin,"lib/modules/$version"}
install -m 755 busybox-static/bin/busybox "$root/bin/busybox"
install -m 755 "$here/init" "$root/init"
install -m 755 "$here/dhcp-script" "$root/bin/dhcp-script"
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'virtree-guest' >"$root/etc/hostname"

wanted='button evdev virtio_pci virtio_net virtio_blk virtio_console virtio_scsi virtio_balloon
	virtio-rng virtio_input virtiofs sd_mod sr_mod ata_piix ahci e1000 e1000e 8139cp i6300esb
	xhci-pci ehci-pci uhci-hcd usbhid usb-storage failover net_failover'
modules=$real/lib/modules/$version
declare -A taken
take() { # NAME: the module and what it leans on; a name this kernel lacks is passed over
	local f d
	[ -z "${taken[$1]:-}" ] || return 0
	taken[$1]=1
	f=$(find "$modules/kernel" -name "$(echo "$1" | sed 's/[-_]/[-_]/g').ko*" -print -quit)
	[ -n "$f" ] || return 0
	install -D -m 644 "$f" "$root/lib/modules/$version/${f#"$modules/"}"
	for d in $(tr '\0' '\n' <"$f" | sed -n 's/^depends=//p' | tr ',' ' '); do take "$d"; done
}
for m in $wanted; do take "$m"; done
cp "$modules"/modules.{builtin,order} "$root/lib/modules/$version/" 2>/dev/null || :
"$root/bin/busybox" depmod -b "$root" "$version"

if [ $agent = 1 ]; then
	package qemu-guest-agent
	install -m 755 qemu-guest-agent/usr/sbin/qemu-ga "$root/usr/sbin/qemu-ga"
	# Its libraries come from this machine where they are installed, else from packages.
	if ldd "$root/usr/sbin/qemu-ga" | grep -q 'not found'; then
		for p in libglib2.0-0 libudev1 liburing2 libnuma1 libpcre2-8-0 libc6 libgcc-s1 libcap2 zlib1g; do package "$p"; done
		export LD_LIBRARY_PATH
		LD_LIBRARY_PATH=$(find . -path ./root -prune -o -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
	fi
	ldd "$root/usr/sbin/qemu-ga" | grep -oE '/[^ ]+' | while read -r lib; do
		install -D -m 755 "$(readlink -f "$lib")" "$root$lib"
	done
	ln -s ../usr/sbin/qemu-ga "$root/bin/qemu-ga"
fi
# Not packed: emulated, unpacking costs the guest more than copying costs the host.
(cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio -0 --quiet -o -H newc -R 0:0) >initrd

cat >cmdline <<-'ARGS'
	console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check nokaslr random.trust_cpu=on audit=0 net.ifnames=0 rcupdate.rcu_expedited=1 cryptomgr.notests
ARGS

# ---- does KVM really run a kernel here? --------------------------------------------
# /dev/kvm may exist and still fail at the first instruction that the host cannot
# virtualize; only booting tells. A working one is there within two seconds.
domtype=qemu
if [ -w /dev/kvm ] && command -v qemu-system-x86_64 >/dev/null; then
	# setsid: a crash of QEMU is an answer here, not something for the shell to report.
	setsid timeout --signal=KILL 8 qemu-system-x86_64 -machine pc,accel=kvm -cpu host -m 256 -nodefaults -display none \
		-kernel vmlinux -initrd initrd -append "$(cat cmdline)" -serial file:probe.log -no-reboot \
		>/dev/null 2>&1 &
	probe=$!
	disown $probe
	for _ in $(seq 80); do
		if grep -q 'virtree guest ready' probe.log 2>/dev/null; then domtype=kvm; break; fi
		kill -0 $probe 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL $probe 2>/dev/null || :
fi
echo $domtype >domtype

mv vmlinuz vmlinux initrd cmdline domtype "$cache/"
echo "$stamp" >"$cache/stamp"
say "kernel $version, initrd $(du -k "$cache/initrd" | cut -f1) KiB, domain type $domtype, in $cache"
