//! Sockets, tun devices, poller, clock and netlink.
