#!/bin/sh
# The status command of mlvpn for Linux: gives the tunnel interface its addresses and routes.
# Install it as /etc/mlvpn/mlvpn_updown.sh, owned by root, mode 0700.
#
# Called as: mlvpn_updown.sh INTERFACE EVENT [LINK]
# Environment: IP4 IP6 IP4_GATEWAY IP6_GATEWAY IP4_ROUTES IP6_ROUTES DEVICE MTU; PATH is not set.

PATH=/usr/sbin:/usr/bin:/sbin:/bin
interface=$1
event=$2
link=$3

tunnel_up() {
	[ -n "$MTU" ] && ip link set dev "$interface" mtu "$MTU"
	ip link set dev "$interface" up
	[ -n "$IP4" ] && ip -4 address replace "$IP4" dev "$interface"
	[ -n "$IP6" ] && ip -6 address replace "$IP6" dev "$interface" nodad
	for route in $IP4_ROUTES; do
		ip -4 route replace "$route" ${IP4_GATEWAY:+via "$IP4_GATEWAY"} dev "$interface"
	done
	for route in $IP6_ROUTES; do
		ip -6 route replace "$route" ${IP6_GATEWAY:+via "$IP6_GATEWAY"} dev "$interface"
	done
}

tunnel_down() {
	for route in $IP4_ROUTES; do
		ip -4 route del "$route" dev "$interface" 2>/dev/null
	done
	for route in $IP6_ROUTES; do
		ip -6 route del "$route" dev "$interface" 2>/dev/null
	done
	[ -n "$IP4" ] && ip -4 address del "$IP4" dev "$interface" 2>/dev/null
	[ -n "$IP6" ] && ip -6 address del "$IP6" dev "$interface" 2>/dev/null
}

case $event in
tuntap_up) tunnel_up ;;
tuntap_down) tunnel_down ;;
rtun_up) echo "link $link is up" ;;
rtun_down) echo "link $link is down" ;;
esac
exit 0
