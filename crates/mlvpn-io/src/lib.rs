//! Sockets, tun devices, poller, clock and netlink.

#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod netns;
