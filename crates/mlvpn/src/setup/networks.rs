//! Addresses for the tunnel: networks that nothing on this host clashes with, and that other servers'
//! hardly do either.

use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::bail;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::PublicKey;
use siphasher::sip::SipHasher13;

use crate::network::present::Present;

/// How many networks of each of the private ranges are tried.
const ATTEMPTS: u32 = 64;

/// The networks that the host knows a way to, without what leads to the interface called `tunnel` and
/// without default routes.
pub(super) fn known(present: &Present, tunnel: &str) -> Vec<IpNet> {
    let tunnel = present.link(tunnel).map(|link| link.index);
    let is_other = |link: Option<u32>| tunnel.is_none() || link != tunnel;
    let routes = present.routes.iter().filter(|route| is_other(route.link));
    let routes = routes.map(|route| route.destination);
    let addresses = present.addresses.iter().filter(|address| is_other(Some(address.link)));
    let addresses = addresses.map(|address| address.prefix);
    let all = routes.chain(addresses);
    let nets = all.filter_map(|prefix| IpNet::new(prefix.address, prefix.length).ok());
    let mut nets: Vec<_> = nets.map(|net| net.trunc()).filter(|net| net.prefix_len() > 0).collect();
    nets.sort();
    nets.dedup();
    nets
}

/// The first of `known` that shares addresses with `net`.
pub(super) fn clash(net: IpNet, known: &[IpNet]) -> Option<IpNet> {
    known.iter().copied().find(|other| other.contains(&net) || net.contains(other))
}

/// A /24 for the tunnel of the server with this key: of 10.64.0.0 to 10.254.255.255, else of the other private
/// ranges.
pub(super) fn choose_v4(key: &PublicKey, known: &[IpNet]) -> anyhow::Result<Ipv4Net> {
    for (range, attempt) in (0..3).flat_map(|range| (0..ATTEMPTS).map(move |n| (range, n))) {
        let [a, b, ..] = hash(key, range * ATTEMPTS + attempt).to_be_bytes();
        let address = match range {
            0 => Ipv4Addr::new(10, 64 + a % 191, b, 0),
            1 => Ipv4Addr::new(172, 16 + a % 16, b, 0),
            _ => Ipv4Addr::new(192, 168, b, 0),
        };
        let net = Ipv4Net::new_assert(address, 24);
        if clash(net.into(), known).is_none() {
            return Ok(net);
        }
    }
    bail!("no private IPv4 network is free here: name one with --ip4 NET")
}

/// A unique local /64 (RFC 4193, its 40 bits from the server's key).
pub(super) fn choose_v6(key: &PublicKey, known: &[IpNet]) -> anyhow::Result<Ipv6Net> {
    for attempt in 0..ATTEMPTS {
        let [a, b, c, d, e, ..] = hash(key, 0x6000 + attempt).to_be_bytes();
        let mut octets = [0; 16];
        octets[..6].copy_from_slice(&[0xfd, a, b, c, d, e]);
        let net = Ipv6Net::new_assert(Ipv6Addr::from(octets), 64);
        if clash(net.into(), known).is_none() {
            return Ok(net);
        }
    }
    bail!("no private IPv6 network is free here: name one with --ip6 NET")
}

/// The server's own address in a network: the first.
pub(super) fn server_v4(net: Ipv4Net) -> Ipv4Net {
    let first = u32::from(net.network()) + 1;
    Ipv4Net::new_assert(first.into(), net.prefix_len())
}

/// The server's own address in a network: the first.
pub(super) fn server_v6(net: Ipv6Net) -> Ipv6Net {
    let first = u128::from(net.network()) + 1;
    Ipv6Net::new_assert(first.into(), net.prefix_len())
}

/// Addresses for one more client, with the same number in both networks, of which `own` is the server's
/// address. None of `taken` is among them.
pub(super) fn next_client(
    own: (Option<Ipv4Net>, Option<Ipv6Net>),
    taken: &[IpNet],
) -> anyhow::Result<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
    let (own4, own6) = own;
    for number in 1..=u16::MAX {
        let v4 = own4.map(|net| Ipv4Addr::from(u32::from(net.network()) + u32::from(number)));
        let v6 = own6.map(|net| Ipv6Addr::from(u128::from(net.network()) + u128::from(number)));
        let is_left = |ip: IpAddr| !taken.iter().any(|net| net.contains(&ip));
        let fits_v4 = v4.is_none_or(|ip| {
            own4.is_some_and(|net| {
                net.contains(&ip)
                    && ip != net.addr()
                    && (ip != net.broadcast() || net.prefix_len() > 30)
            }) && is_left(ip.into())
        });
        let fits_v6 = v6.is_none_or(|ip| {
            own6.is_some_and(|net| net.contains(&ip) && ip != net.addr()) && is_left(ip.into())
        });
        let is_beyond = v4.zip(own4).is_some_and(|(ip, net)| !net.contains(&ip));
        if is_beyond {
            break;
        }
        if fits_v4 && fits_v6 {
            return Ok((v4, v6));
        }
    }
    bail!(
        "the tunnel's network is too small for one more client: set a larger one with --ip4 NET --force"
    )
}

fn hash(key: &PublicKey, attempt: u32) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(key.as_bytes());
    hasher.write_u32(attempt.to_be());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_private_the_same_each_time_and_free() {
        let keys = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        let first = choose_v4(&keys[0], &[]).unwrap();
        assert_eq!(first, choose_v4(&keys[0], &[]).unwrap());
        assert_ne!(first, choose_v4(&keys[1], &[]).unwrap());
        assert!(net("10.64.0.0/10").contains(&IpNet::V4(first)) || first.addr().octets()[1] >= 128);
        let second = choose_v4(&keys[0], &[first.into()]).unwrap();
        assert_ne!(first, second);
        let third = choose_v4(&keys[0], &[net("10.0.0.0/8")]).unwrap();
        assert!(net("172.16.0.0/12").contains(&IpNet::V4(third)), "{third}");
        let fourth = choose_v4(&keys[0], &[net("10.0.0.0/8"), net("172.16.0.0/12")]).unwrap();
        assert!(net("192.168.0.0/16").contains(&IpNet::V4(fourth)), "{fourth}");
        let all = [net("10.0.0.0/8"), net("172.16.0.0/12"), net("192.168.0.0/16")];
        assert!(choose_v4(&keys[0], &all).unwrap_err().to_string().contains("--ip4"));
        let six = choose_v6(&keys[0], &[]).unwrap();
        assert!(net("fd00::/8").contains(&IpNet::V6(six)) && six.prefix_len() == 64);
        assert_ne!(six, choose_v6(&keys[0], &[six.into()]).unwrap());
    }

    #[test]
    fn clients_get_the_first_addresses_that_nobody_has() {
        let own = (Some("10.9.0.1/24".parse().unwrap()), Some("fd00::1/64".parse().unwrap()));
        let next = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
            let (v4, v6) = next_client(own, &taken).unwrap();
            (v4.unwrap().to_string(), v6.unwrap().to_string())
        };
        assert_eq!(next(&[]), ("10.9.0.2".to_owned(), "fd00::2".to_owned()));
        assert_eq!(next(&["10.9.0.2/32", "fd00::3/128"]).0, "10.9.0.4");
        assert_eq!(next(&["10.9.0.0/25"]).1, "fd00::80");
        let small = (Some("10.9.0.2/30".parse().unwrap()), None);
        assert_eq!(next_client(small, &[]).unwrap().0.unwrap().to_string(), "10.9.0.1");
        assert!(next_client(small, &[net("10.9.0.1/32")]).is_err());
    }
}
