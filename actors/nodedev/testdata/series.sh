# What clients do to the devices of testdata/hardware.sysfs, to one daemon at the URI $U after the other.
series() {
N=mdev_11111111_2222_3333_4444_555555555555_0000_00_02_0
v() { echo "\$ $*"; virsh -c "$U" "$@" 2>&1; echo "[$?]"; }
s() { for f in /sys/bus/pci/devices/0000:01:00.0/driver_override /sys/bus/pci/drivers_probe; do echo "$f: $(cat $f)"; : > $f; done; }
echo "<device><parent>pci_0000_00_02_0</parent><capability type='mdev'><type id='i915-GVTg_V5_4'/><uuid>11111111-2222-3333-4444-555555555555</uuid><attr name='a' value='b'/></capability></device>" > $DIR/mdev.xml
for c in system pci usb_device usb net scsi_host scsi_target scsi storage fc_host vports scsi_generic drm mdev_types mdev ccw css vdpa ap_card ap_queue ap_matrix vpd; do v nodedev-list --cap $c; done
v nodedev-list --tree
v nodedev-define $DIR/mdev.xml; v nodedev-define $DIR/mdev.xml; v nodedev-list --inactive; v nodedev-list --cap mdev --all; v nodedev-list --tree --cap mdev; v nodedev-dumpxml $N; v nodedev-info $N; v nodedev-autostart $N; v nodedev-info $N; cat /etc/mdevctl.d/0000:00:02.0/*; v nodedev-autostart --disable $N; v nodedev-destroy $N; v nodedev-undefine $N; until ! virsh -c "$U" nodedev-info $N >/dev/null 2>&1; do sleep 0.1; done; v nodedev-undefine $N; v nodedev-list --inactive
v nodedev-detach pci_0000_01_00_0; s; v nodedev-detach pci_0000_01_00_0; v nodedev-reset pci_0000_01_00_0; v nodedev-reset pci_0000_00_1f_2; v nodedev-reset pci_0000_00_01_0; v nodedev-detach pci_0000_00_05_0; v nodedev-detach scsi_host4; v nodedev-reattach pci_0000_01_00_0; s
v nodedev-destroy scsi_host4; v nodedev-destroy scsi_host5; cat /sys/class/fc_host/host4/vport_delete; : > /sys/class/fc_host/host4/vport_delete
v nodedev-dumpxml 20000000c9831b4b,10000000c9831b4b
}
DIR=$(mktemp -d)
U=qemu:///system
series
for mode in "" --split; do
	echo "=== $mode"
	mkdir -p "$DIR/root"
	"$VIRTREE" run $mode --root "$DIR/root" >"$DIR/log" 2>&1 &
	tree=$!
	n=0
	until virsh -c "qemu+unix:///system?socket=$DIR/root/run/libvirt/libvirt-sock" uri >/dev/null 2>&1; do
		n=$((n+1)); [ $n -lt 200 ] || exit 1
		sleep 0.1
	done
	U="qemu+unix:///system?socket=$DIR/root/run/libvirt/libvirt-sock"
	series
	kill $tree
	wait $tree || :
	rm -rf "$DIR/root"
done
rm -rf "$DIR"
