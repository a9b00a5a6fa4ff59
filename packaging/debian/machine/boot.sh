# Run by `cargo xtask deb check`, in namespaces of its own but for processes: becomes a machine, which is this system
# with its changes in a folder, and boots it.
#     boot.sh MACHINE LINK...
# MACHINE is a folder: `changes` outlives the machine, `network` and `packages` are put into it, and what it prints
# goes to `console`. For each LINK it has a device, eth0 and so on; the other end is in the network namespace of
# process 1.
set -eu
machine=$1
shift

# The addresses, and what is derived from them, are the same each time.
device=0
for link in "$@"; do
	ip link add "eth$device" address "02:00:00:00:00:0$device" type veth peer name "$link" netns 1
	device=$((device + 1))
done

first=
if [ ! -d "$machine/changes" ]; then
	first=yes
	mkdir "$machine/changes" "$machine/work" "$machine/root"
fi
mount -t overlay overlay -o "lowerdir=/,upperdir=$machine/changes,workdir=$machine/work" "$machine/root"
cd "$machine/root"

# A fresh system: what this one was set up for is neither mounted nor started.
if [ "$first" ]; then
	rm -rf etc/systemd/system etc/systemd/network etc/rc?.d etc/mlvpn etc/resolv.conf var/log/journal
	rm -f etc/fstab etc/crypttab etc/hostname etc/machine-id
	sed -i '/^mlvpn:/d' etc/passwd etc/shadow etc/group etc/gshadow
	mkdir -p etc/systemd/system/multi-user.target.wants etc/systemd/network
	ln -s /lib/systemd/system/systemd-networkd.service etc/systemd/system/multi-user.target.wants/
	ln -s /dev/null etc/systemd/system/console-getty.service
	cp "$machine"/network/* etc/systemd/network/
	echo "nameserver 192.0.2.53" >etc/resolv.conf
	basename "$machine" >etc/hostname
	tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
fi

mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/packages
cp "$machine"/packages/* run/packages/
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/net dev/pts dev/shm
mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
touch dev/console
mount --bind "$machine/console" dev/console

mkdir run/old
pivot_root . run/old
# Of the kernel it sets the network's values only, as a container does.
exec unshare --pid --fork --kill-child sh -ec '
	mount -t proc proc /proc
	umount --lazy /run/old
	rmdir /run/old
	mount --bind /proc/sys /proc/sys
	mount --bind /proc/sys/net /proc/sys/net
	mount -o remount,bind,ro /proc/sys
	[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger
	exec setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-syslog,-wake_alarm \
		env -i container=mlvpn-check PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
		/lib/systemd/systemd systemd.unit=multi-user.target'
