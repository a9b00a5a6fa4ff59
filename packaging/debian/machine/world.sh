# Run by `cargo xtask deb check`, as root: runs a program in namespaces of its own, with a folder in which it may
# start machines. All that is mounted, made or started there ends with it.
#     world.sh PROGRAM [ARGUMENT...]
# The program finds the folder in WORLD, and a cgroup (version 2) below which it may make others in GROUP.
set -eu

world=$(mktemp -d)
group=
finish() {
	# The kernel needs a moment to bury what ran in there.
	tries=0
	while [ -d "$group" ] && [ "$tries" -lt 50 ]; do
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
		tries=$((tries + 1))
	done
	umount --recursive --lazy "$world"
	rmdir "$world"
}
trap finish EXIT
mount -t tmpfs -o mode=755 tmpfs "$world"
mkdir "$world/cgroup"
# Wherever the system has it, and whatever else it has there.
mount -t cgroup2 cgroup2 "$world/cgroup"
group=$world/cgroup/mlvpn-check-$$
mkdir "$group"
WORLD=$world GROUP=$group unshare --mount --net --pid --fork --kill-child --mount-proc "$@"
