//! The error queue of a UDP socket on Linux (`IP_RECVERR`, ip(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::cmsg::{self, Control};
use super::sys::{self, Name};
use super::{IcmpError, SocketError};

/// `struct sock_extended_err`: errno, origin, type, code, padding, info, data. The address of who
/// reported it follows.
const EXTENDED_ERROR_LEN: usize = 16;

/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6`; others are local.
const ORIGIN_ICMP: [u8; 2] = [2, 3];

/// Takes one error; entries that are none (timestamps) are skipped.
pub(super) fn poll(fd: BorrowedFd<'_>) -> io::Result<Option<SocketError>> {
    loop {
        let mut control = Control::<256>::EMPTY;
        let (to, control) = match sys::receive_error(fd, &mut control) {
            Ok(entry) => entry,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(e),
        };
        let error = cmsg::iter(control)
            .filter(|(level, kind, _)| {
                [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)]
                    .contains(&(*level, *kind))
            })
            .find_map(|(_, _, value)| parse(to?, value));
        if error.is_some() {
            return Ok(error);
        }
    }
}

fn parse(to: SocketAddr, value: &[u8]) -> Option<SocketError> {
    let (error, offender) = value.split_first_chunk::<EXTENDED_ERROR_LEN>()?;
    let errno = cmsg::int(error)?;
    let (origin, kind, code) = (error[4], error[5], error[6]);
    let info = cmsg::int(&error[8..])? as u32;
    if errno == libc::EMSGSIZE {
        return Some(SocketError::TooBig { to, mtu: info });
    }
    let is_icmp = ORIGIN_ICMP.contains(&origin);
    let from: Option<IpAddr> = Name::decode(offender).map(|address| address.ip());
    Some(SocketError::Unreachable {
        to,
        from: from.filter(|_| is_icmp),
        icmp: is_icmp.then_some(IcmpError { kind, code }),
        errno,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_too_big_carries_its_mtu_and_short_values_are_ignored() {
        let to = "192.0.2.1:5".parse().unwrap();
        let mut value = [0; EXTENDED_ERROR_LEN];
        value[..4].copy_from_slice(&libc::EMSGSIZE.to_ne_bytes());
        value[8..12].copy_from_slice(&1400_u32.to_ne_bytes());
        assert_eq!(parse(to, &value), Some(SocketError::TooBig { to, mtu: 1400 }));
        assert_eq!(parse(to, &value[..15]), None);
    }
}
