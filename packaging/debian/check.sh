# Run by `cargo xtask deb check`, as root of a system that may be spoilt: two versions of the package are in
# /run/packages.
set -eu
export DEBIAN_FRONTEND=noninteractive

fail() {
	echo "check.sh: $*" >&2
	exit 1
}
expect() {
	[ "$1" = "$2" ] || fail "$3: '$1' instead of '$2'"
}
install() {
	# What it depends on is not what is checked.
	dpkg --force-depends --install "$1" >/run/dpkg.log 2>&1 || { cat /run/dpkg.log; fail "cannot install $1"; }
}

# Where packages put things.
files() {
	find /etc /opt /srv /usr /var -xdev | sort
}

! getent passwd mlvpn >/dev/null || userdel mlvpn
rm -rf /etc/mlvpn
files >/run/before

install /run/packages/1.deb
mlvpn --version >/dev/null || fail "the program does not run"
expect "$(stat -c '%U:%G %a' /etc/mlvpn)" "root:root 700" "/etc/mlvpn"
expect "$(getent passwd mlvpn | cut -d: -f6,7)" "/nonexistent:/usr/sbin/nologin" "the user"
[ "$(id -u mlvpn)" -lt 1000 ] || fail "the user is no system user"
expect "$(dpkg --verify mlvpn)" "" "files that are not as they were packed"
for file in /usr/lib/systemd/system/mlvpn@.service /usr/share/man/man1/mlvpn.1.gz \
	/usr/share/man/man1/mlvpn-check.1.gz /usr/share/bash-completion/completions/mlvpn \
	/usr/share/doc/mlvpn/copyright /usr/share/doc/mlvpn/changelog.gz \
	/usr/share/doc/mlvpn/examples/client.conf /usr/share/doc/mlvpn/examples/openrc/mlvpn \
	/usr/share/doc/mlvpn/examples/grafana/mlvpn.json; do
	[ -s "$file" ] || fail "$file is missing"
done
expect "$(find $(dpkg -L mlvpn | grep -vx /.) -maxdepth 0 \( -not -user root -o -perm /022 -not -type l \) 2>/dev/null)" "" \
	"files that others may write"

# A configuration, and what enabling it makes.
umask 077
cat >/etc/mlvpn/home.conf <<'EOF'
[general]
mode = "server"
password = "Rp3eSbcsCZ8YGv9ZK7mTxLhbA9iQzQ"
[dsl]
bindport = 5080
EOF
mlvpn check /etc/mlvpn/home.conf >/dev/null || fail "a configuration in /etc/mlvpn is not accepted"
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s /usr/lib/systemd/system/mlvpn@.service /etc/systemd/system/multi-user.target.wants/mlvpn@home.service
sum=$(md5sum /etc/mlvpn/home.conf)

former=$(dpkg-query -W -f '${Version}' mlvpn)
install /run/packages/2.deb
expect "$(dpkg-query -W -f '${Version}' mlvpn)" "$former+1" "the version after an upgrade"
expect "$(md5sum /etc/mlvpn/home.conf)" "$sum" "the configuration after an upgrade"
dpkg --compare-versions "$former" lt 3.0.0 || fail "$former is not before its release"

dpkg --remove mlvpn >/dev/null 2>&1 || fail "cannot remove"
expect "$(md5sum /etc/mlvpn/home.conf)" "$sum" "the configuration after a removal"
[ ! -e /usr/bin/mlvpn ] || fail "the program is left after a removal"

install /run/packages/2.deb
expect "$(md5sum /etc/mlvpn/home.conf)" "$sum" "the configuration after another installation"
dpkg --purge mlvpn >/dev/null 2>&1 || fail "cannot purge"
[ ! -e /etc/mlvpn ] || fail "the configuration is left after a purge"
files >/run/after
# The package system's own notes, the user, and the folder that a link was put into above.
left=$(comm -13 /run/before /run/after | grep -Ev '^/(var/(lib/dpkg|log|cache)|etc/(systemd|passwd-|group-|shadow-|gshadow-|subuid|subgid))' || true)
expect "$left" "" "left after a purge"
expect "$(find /etc/systemd -lname '*mlvpn@.service')" "" "links that lead nowhere"
echo "the package installs, upgrades, keeps the configuration, and leaves nothing after a purge"
