//! Interfaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::{Netlink, NetlinkError};

/// An interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace, from 1.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Whether something is at the other end of its cable, as far as the device knows.
    pub has_carrier: bool,
    /// What kind of virtual interface it is, as `ip link` calls it: `bridge`, `tun`, `veth`; none when the
    /// driver of a device made it.
    pub kind: Option<String>,
    /// The number of the interface that it is a member of: a bridge, a bond, a VRF.
    pub controller: Option<u32>,
    /// The largest IP packet, in bytes.
    pub mtu: u32,
    /// Packets that its queue holds.
    pub tx_queue_len: u32,
    /// What it has carried so far.
    pub counters: LinkCounters,
}

/// What an interface has carried since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets from the link to the host.
    pub rx_packets: u64,
    /// Packets from the host to the link.
    pub tx_packets: u64,
    /// Bytes from the link to the host, without lower-layer framing.
    pub rx_bytes: u64,
    /// Bytes from the host to the link.
    pub tx_bytes: u64,
    /// Received packets that the host had no room for.
    pub rx_dropped: u64,
    /// Packets that the interface's queue had no room for.
    pub tx_dropped: u64,
}

impl Netlink {
    /// The interface called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn link_by_name(&mut self, name: &str) -> Result<Link, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let operation = || format!("find the interface {name}");
        match self.query(&operation, RouteNetlinkMessage::GetLink(message))? {
            RouteNetlinkMessage::NewLink(found) => Ok(Link::from_message(&found)),
            _ => Err(NetlinkError {
                operation: operation(),
                source: std::io::Error::from_raw_os_error(libc::ENODEV),
            }),
        }
    }

    /// All interfaces of the namespace.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump(&|| "list the interfaces".to_owned(), request)?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(Link::from_message(message)),
                _ => None,
            })
            .collect())
    }

    /// Sets the interface up or down.
    ///
    /// # Errors
    /// When there is no such interface or no permission.
    pub fn set_link_up(&mut self, index: u32, up: bool) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        let direction = if up { "up" } else { "down" };
        self.execute(
            &|| format!("set interface {index} {direction}"),
            RouteNetlinkMessage::SetLink(message),
            0,
        )
    }

    /// Sets the largest IP packet of the interface, in bytes.
    ///
    /// # Errors
    /// When the device does not support the size.
    pub fn set_link_mtu(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        self.set_link(index, LinkAttribute::Mtu(mtu), &|| {
            format!("set the mtu of interface {index} to {mtu}")
        })
    }

    /// Sets how many packets wait in the interface's queue.
    ///
    /// # Errors
    /// When there is no such interface or no permission.
    pub fn set_link_tx_queue_len(&mut self, index: u32, packets: u32) -> Result<(), NetlinkError> {
        self.set_link(index, LinkAttribute::TxQueueLen(packets), &|| {
            format!("set the queue of interface {index} to {packets} packets")
        })
    }

    /// Moves the interface to another network namespace; it loses its addresses and goes down.
    ///
    /// # Errors
    /// When the interface may not move (loopback), or the name is taken there.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        self.set_link(index, LinkAttribute::NetNsFd(namespace.as_raw_fd()), &|| {
            format!("move interface {index} to another network namespace")
        })
    }

    /// Creates two ethernet interfaces joined by a cable: `name` here, `peer` in `peer_namespace` or
    /// also here.
    ///
    /// # Errors
    /// When a name is taken, or the kernel has no veth.
    pub fn create_veth(
        &mut self,
        name: &str,
        peer: &str,
        peer_namespace: Option<BorrowedFd<'_>>,
    ) -> Result<(), NetlinkError> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        if let Some(namespace) = peer_namespace {
            other.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        self.execute(
            &|| format!("create the veth pair {name} and {peer}"),
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Deletes the interface, and its peer when it is one of a pair.
    ///
    /// # Errors
    /// When there is no such interface, or it is not a virtual one.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.execute(
            &|| format!("delete interface {index}"),
            RouteNetlinkMessage::DelLink(message),
            0,
        )
    }

    fn set_link(
        &mut self,
        index: u32,
        attribute: LinkAttribute,
        operation: &dyn Fn() -> String,
    ) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(attribute);
        self.execute(operation, RouteNetlinkMessage::SetLink(message), 0)
    }
}

impl Link {
    fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            is_up: message.header.flags.contains(LinkFlags::Up),
            has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
            kind: None,
            controller: None,
            mtu: 0,
            tx_queue_len: 0,
            counters: LinkCounters::default(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::TxQueueLen(packets) => link.tx_queue_len = *packets,
                LinkAttribute::Stats64(stats) => {
                    link.counters = LinkCounters {
                        rx_packets: stats.rx_packets,
                        tx_packets: stats.tx_packets,
                        rx_bytes: stats.rx_bytes,
                        tx_bytes: stats.tx_bytes,
                        rx_dropped: stats.rx_dropped,
                        tx_dropped: stats.tx_dropped,
                    };
                }
                _ => {}
            }
        }
        link
    }
}
