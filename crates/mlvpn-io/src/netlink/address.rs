//! Addresses of interfaces.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use super::{Netlink, NetlinkError, Prefix};

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub link: u32,
    /// The interface's own address, with the length of the network it is in.
    pub prefix: Prefix,
    /// The other end, when it is a point-to-point address.
    pub peer: Option<std::net::IpAddr>,
}

impl Netlink {
    /// Gives the interface an address, usable at once: no duplicate address detection in IPv6.
    ///
    /// # Errors
    /// When it has that address ([`NetlinkError::is_already_there`]) or there is no such interface.
    pub fn add_address(&mut self, link: u32, prefix: Prefix) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("add address {prefix} to interface {link}"),
            RouteNetlinkMessage::NewAddress(address_message(link, prefix)),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Takes an address from the interface.
    ///
    /// # Errors
    /// When it does not have that address ([`NetlinkError::is_not_found`]).
    pub fn delete_address(&mut self, link: u32, prefix: Prefix) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("delete address {prefix} of interface {link}"),
            RouteNetlinkMessage::DelAddress(address_message(link, prefix)),
            0,
        )
    }

    /// All addresses in the namespace.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&|| "list the addresses".to_owned(), request)?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => Address::from_message(message),
                _ => None,
            })
            .collect())
    }
}

impl Address {
    /// IFA_LOCAL is the interface's own address and IFA_ADDRESS the peer's, or the own one again;
    /// IPv6 without a peer has only IFA_ADDRESS.
    fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut own = None;
        let mut other = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => own = Some(*ip),
                AddressAttribute::Address(ip) => other = Some(*ip),
                _ => {}
            }
        }
        let address = own.or(other)?;
        Some(Self {
            link: message.header.index,
            prefix: Prefix { address, length: message.header.prefix_len },
            peer: other.filter(|ip| *ip != address),
        })
    }
}

fn address_message(link: u32, prefix: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = prefix.family();
    message.header.prefix_len = prefix.length;
    message.header.index = link;
    if prefix.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Local(prefix.address));
    message.attributes.push(AddressAttribute::Address(prefix.address));
    message
}
