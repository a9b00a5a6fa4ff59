//! Sockets, tun devices, poller, clock and netlink.

pub mod checksum;
pub mod clock;
pub mod fdpass;
#[cfg(target_os = "linux")]
pub mod freed;
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod poller;
pub mod privileges;
pub mod sandbox;
pub mod title;
pub mod tun;
pub mod udp;
