//! ICMP errors that tell a host inside the tunnel that its packet is too big for the tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ip::ethernet::Frame;
use crate::ip::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, Packet, checksum, protocol};

/// The source of an ICMPv4 error from a router without an address of its own (RFC 7600 section 4.8).
const DUMMY_IPV4_SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// The longest ICMPv4 error, header included, in bytes (RFC 1812 section 4.3.2.3).
const MAX_ICMPV4_LEN: usize = 576;
/// The longest ICMPv6 error, header included, in bytes: the smallest MTU of IPv6 (RFC 4443 section 2.4 c).
const MAX_ICMPV6_LEN: usize = 1280;
/// The length of an ICMP header, in bytes.
const ICMP_HEADER_LEN: usize = 8;
/// Destination unreachable (RFC 792).
const ICMPV4_UNREACHABLE: u8 = 3;
/// Fragmentation needed and DF set (RFC 792).
const ICMPV4_FRAGMENTATION_NEEDED: u8 = 4;
/// Packet too big (RFC 4443 section 3.2).
const ICMPV6_PACKET_TOO_BIG: u8 = 2;
/// Redirect (RFC 4861 section 4.5); no error may answer it (RFC 4443 section 2.4 e.2).
const ICMPV6_REDIRECT: u8 = 137;
/// Precedence "internetwork control", which errors have (RFC 1812 section 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;
/// The time to live and hop limit of errors, the default of RFC 1700.
const HOP_LIMIT: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Writes to `out` (emptied first) the error that answers the too big IP packet `offending`: ICMPv4 type 3 code 4
/// (RFC 792, RFC 1191) or ICMPv6 type 2 (RFC 4443 section 3.2).
///
/// `mtu` is the largest IP packet that would have passed, in bytes. The error comes from `local4` or `local6`;
/// without one, from 192.0.0.8 (RFC 7600), or in IPv6 from the destination of the packet.
///
/// Returns `false` and leaves `out` empty where no error may be sent (RFC 1122 section 3.2.2, RFC 1812 section
/// 4.3.2.7, RFC 4443 section 2.4): in answer to what is no valid IP packet, an ICMP error, a fragment other than
/// the first, a packet from an address that no single host has, an IPv4 packet to many hosts, or an IPv4 packet
/// that may be fragmented.
pub fn packet_too_big(
    offending: &[u8],
    mtu: u16,
    local4: Option<Ipv4Addr>,
    local6: Option<Ipv6Addr>,
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    append_packet_too_big(offending, mtu, local4, local6, out)
}

/// Like [`packet_too_big`] for an Ethernet frame: the error goes back in a frame with the hardware addresses
/// swapped and the same VLAN tags.
///
/// `mtu` counts the IP packet alone, without the frame's header. Also returns `false` for a frame from or to a
/// group of stations.
pub fn packet_too_big_frame(
    offending: &[u8],
    mtu: u16,
    local4: Option<Ipv4Addr>,
    local6: Option<Ipv6Addr>,
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    let Ok(frame) = Frame::parse(offending) else { return false };
    // The lowest bit of the first byte marks group addresses, which are no source of a frame either.
    let is_group = (frame.source()[0] | frame.destination()[0]) & 1 != 0;
    let Ok(packet) = frame.ip_packet() else { return false };
    if is_group {
        return false;
    }
    frame.append_reply_header(out);
    let is_answered = append_packet_too_big(packet.bytes(), mtu, local4, local6, out);
    if !is_answered {
        out.clear();
    }
    is_answered
}

fn append_packet_too_big(
    offending: &[u8],
    mtu: u16,
    local4: Option<Ipv4Addr>,
    local6: Option<Ipv6Addr>,
    out: &mut Vec<u8>,
) -> bool {
    let Ok(packet) = Packet::parse(offending) else { return false };
    if !packet.is_first_fragment() || !packet.dont_fragment() || is_icmp_error(&packet) {
        return false;
    }
    match (packet.source(), packet.destination()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            if !is_single_host4(source) || !is_single_host4(destination) {
                return false;
            }
            append_icmpv4(packet.bytes(), mtu, local4.unwrap_or(DUMMY_IPV4_SOURCE), source, out);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // An error may answer a multicast packet (RFC 4443 section 2.4 e.3), but not come from its destination.
            let local = local6.unwrap_or(destination);
            if !is_single_host6(source) || local.is_multicast() {
                return false;
            }
            append_icmpv6(packet.bytes(), mtu, local, source, out);
        }
        _ => unreachable!("both addresses of a packet are of its version"),
    }
    true
}

/// Whether the packet is an ICMP error, or an ICMP message that is cut off too early to tell.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let kind = packet.payload().first().copied();
    match packet.protocol() {
        // Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 1122 section 3.2.2).
        protocol::ICMP if packet.is_ipv4() => {
            kind.is_none_or(|kind| matches!(kind, 3..=5 | 11 | 12))
        }
        // Errors have the high bit clear (RFC 4443 section 2.1).
        protocol::ICMPV6 if !packet.is_ipv4() => {
            kind.is_none_or(|kind| kind < 128 || kind == ICMPV6_REDIRECT)
        }
        _ => false,
    }
}

/// Not in 0.0.0.0/8, loopback, multicast, class E or the broadcast address.
fn is_single_host4(address: Ipv4Addr) -> bool {
    address.octets()[0] != 0 && !address.is_loopback() && address.octets()[0] < 224
}

fn is_single_host6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

fn append_icmpv4(
    offending: &[u8],
    mtu: u16,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    out: &mut Vec<u8>,
) {
    let room = MAX_ICMPV4_LEN - IPV4_HEADER_LEN - ICMP_HEADER_LEN;
    let quote = &offending[..offending.len().min(room)];
    let total_len = (IPV4_HEADER_LEN + ICMP_HEADER_LEN + quote.len()) as u16;

    let mut header = [0; IPV4_HEADER_LEN];
    header[0] = 0x45;
    header[1] = INTERNETWORK_CONTROL;
    header[2..4].copy_from_slice(&total_len.to_be_bytes());
    header[6..8].copy_from_slice(&DONT_FRAGMENT);
    header[8] = HOP_LIMIT;
    header[9] = protocol::ICMP;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut icmp = [0; ICMP_HEADER_LEN];
    icmp[0] = ICMPV4_UNREACHABLE;
    icmp[1] = ICMPV4_FRAGMENTATION_NEEDED;
    icmp[6..8].copy_from_slice(&mtu.to_be_bytes());
    let sum = checksum(&[&icmp, quote]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());

    for part in [&header[..], &icmp, quote] {
        out.extend_from_slice(part);
    }
}

fn append_icmpv6(
    offending: &[u8],
    mtu: u16,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut Vec<u8>,
) {
    let room = MAX_ICMPV6_LEN - IPV6_HEADER_LEN - ICMP_HEADER_LEN;
    let quote = &offending[..offending.len().min(room)];
    let payload_len = (ICMP_HEADER_LEN + quote.len()) as u16;

    let mut header = [0; IPV6_HEADER_LEN];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&payload_len.to_be_bytes());
    header[6] = protocol::ICMPV6;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&destination.octets());

    let mut icmp = [0; ICMP_HEADER_LEN];
    icmp[0] = ICMPV6_PACKET_TOO_BIG;
    icmp[4..8].copy_from_slice(&u32::from(mtu).to_be_bytes());
    // The pseudo-header (RFC 8200 section 8.1): addresses, length, protocol.
    let rest = [payload_len.to_be_bytes(), [0, protocol::ICMPV6]].concat();
    let sum = checksum(&[&header[8..40], &rest, &icmp, quote]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());

    for part in [&header[..], &icmp, quote] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests;
