//! An IP address with a prefix length.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use netlink_packet_route::AddressFamily;

/// An address and how many of its leading bits name the network: `192.0.2.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address; bits beyond the prefix may be set (an interface's own address).
    pub address: IpAddr,
    /// 0 to 32, or 0 to 128.
    pub length: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address with a prefix length such as 192.0.2.1/24 or 2001:db8::1/64")]
pub struct ParsePrefixError(String);

impl Prefix {
    /// Everything in IPv4: `0.0.0.0/0`.
    pub const ALL_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
    /// Everything in IPv6: `::/0`.
    pub const ALL_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// An address and its prefix length, which is cut to what the family has.
    #[must_use]
    pub fn new(address: impl Into<IpAddr>, length: u8) -> Self {
        let address = address.into();
        Self { address, length: length.min(bits(address)) }
    }

    /// Exactly one address: `/32` or `/128`.
    #[must_use]
    pub fn host(address: impl Into<IpAddr>) -> Self {
        Self::new(address, 128)
    }

    /// Everything in the family of `address`.
    #[must_use]
    pub const fn all_of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::ALL_V4,
            IpAddr::V6(_) => Self::ALL_V6,
        }
    }

    /// Whether the address is IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    pub(super) fn family(&self) -> AddressFamily {
        if self.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePrefixError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let length = match length {
            Some(length) => length.parse().map_err(|_| error())?,
            None => bits(address),
        };
        if length > bits(address) { Err(error()) } else { Ok(Self { address, length }) }
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_and_print() {
        for (text, printed) in [
            ("192.0.2.1/24", "192.0.2.1/24"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1/64", "2001:db8::1/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), printed);
        }
        for text in ["", "192.0.2.1/33", "2001:db8::/129", "192.0.2/24", "192.0.2.1/x", "/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        assert_eq!(Prefix::host(Ipv4Addr::LOCALHOST).length, 32);
    }
}
