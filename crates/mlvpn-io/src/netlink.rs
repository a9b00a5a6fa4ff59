//! A small synchronous client of the kernel's routing socket (rtnetlink, RFC 3549).
//!
//! One request, one answer, on the caller's thread. A [`Netlink`] speaks for the network namespace of
//! the thread that opened it, whichever thread uses it later.

mod address;
mod link;
mod monitor;
mod nftables;
mod prefix;
mod route;
mod rule;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use address::Address;
pub use link::{Link, LinkCounters};
pub use monitor::Monitor;
pub use nftables::{TableMonitor, TableNews};
pub use prefix::{ParsePrefixError, Prefix};
pub use route::{PROTOCOL_KERNEL, PROTOCOL_STATIC, Route, RouteMetrics, TABLE_MAIN};
pub use rule::{Rule, RuleAction};

/// An open routing socket.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A request that the kernel refused, or that could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}")]
pub struct NetlinkError {
    /// What was asked for, as a phrase: "set the mtu of link 3 to 1400".
    pub operation: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NetlinkError {
    /// Whether what was to be deleted or read is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.source.raw_os_error(),
            Some(libc::ENODEV | libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL)
        )
    }

    /// Whether what was to be created exists.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EEXIST)
    }
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no rtnetlink or no more sockets.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetlinkError {
            operation: "open a routing socket".to_owned(),
            source,
        })?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request that changes something and waits until the kernel has done it.
    fn execute(
        &mut self,
        operation: &dyn Fn() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.converse(message, NLM_F_ACK | flags).map(drop).map_err(named(operation))
    }

    /// Reads a whole table.
    fn dump(
        &mut self,
        operation: &dyn Fn() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.converse(message, NLM_F_DUMP).map_err(named(operation))
    }

    /// Reads one object.
    fn query(
        &mut self,
        operation: &dyn Fn() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, NetlinkError> {
        let answer = self.converse(message, NLM_F_ACK);
        answer
            .and_then(|mut messages| {
                messages.pop().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
            })
            .map_err(named(operation))
    }

    /// One request and everything that answers it, up to the acknowledgement or the end of the dump.
    fn converse(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if collect_answers(&datagram, self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Adds the messages in `datagram` that answer request `sequence`; `true` after the last one.
///
/// A message that the codec does not understand (a kind of interface from a newer kernel) is skipped:
/// its neighbours are still wanted.
fn collect_answers(
    mut datagram: &[u8],
    sequence: u32,
    answers: &mut Vec<RouteNetlinkMessage>,
) -> io::Result<bool> {
    while let Some(length) = datagram.first_chunk::<4>().map(|b| u32::from_ne_bytes(*b) as usize) {
        if length < 16 || length > datagram.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a truncated netlink message"));
        }
        let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]);
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
        let Ok(message) = parsed else {
            tracing::debug!("skipped a netlink message that could not be decoded");
            continue;
        };
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(io::Error::from_raw_os_error(done.code.abs()));
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) => return Ok(true),
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            _ => {}
        }
    }
    Ok(false)
}

fn named(operation: &dyn Fn() -> String) -> impl FnOnce(io::Error) -> NetlinkError {
    move |source| NetlinkError { operation: operation(), source }
}

#[cfg(test)]
mod tests;
