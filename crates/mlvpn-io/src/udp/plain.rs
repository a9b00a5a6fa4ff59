//! UDP with one datagram per call, for systems whose batched calls are not used yet.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use socket2::{MaybeUninitSlice, SockRef, Socket};

use super::batch::Message;
use super::{Ecn, OpenError, RecvBatch, SendOutcome, SocketError};
use crate::clock::Clock;

/// Nothing is remembered of a socket.
#[derive(Debug)]
pub(super) struct State;

/// Where and how a batch goes. ECN marks are not set.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) segment_size: usize,
    pub(super) to: SocketAddr,
    #[expect(dead_code, reason = "setting the mark per datagram takes control messages")]
    pub(super) ecn: Ecn,
}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the interface of all systems")]
impl State {
    pub(super) fn new(_: BorrowedFd<'_>, _is_v6: bool, _offload: bool) -> Result<Self, OpenError> {
        Ok(Self)
    }

    pub(super) fn is_segmenting(&self, _segment_size: usize) -> bool {
        false
    }

    pub(super) fn send_batch(
        &self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        target: Target,
    ) -> SendOutcome {
        let (socket, to) = (SockRef::from(&fd), target.to.into());
        let mut segments_sent = 0;
        for datagram in bytes.chunks(target.segment_size) {
            if let Err(error) = retry_interrupted(|| socket.send_to(datagram, &to)) {
                return SendOutcome { segments_sent, error: Some(error.into()) };
            }
            segments_sent += 1;
        }
        SendOutcome { segments_sent, error: None }
    }

    pub(super) fn recv_batch(
        &self,
        fd: BorrowedFd<'_>,
        batch: &mut RecvBatch,
        clock: &Clock,
    ) -> io::Result<usize> {
        batch.clear();
        let socket = SockRef::from(&fd);
        let mut messages = Vec::with_capacity(batch.slots());
        for slot in batch.slots_mut() {
            let (len, is_truncated, from) = match retry_interrupted(|| receive(&socket, slot)) {
                Ok(received) => received,
                Err(e) if messages.is_empty() => return Err(e),
                Err(_) => break,
            };
            messages.push(Message {
                len,
                from,
                ecn: None,
                received_at_us: clock.now_us(),
                segment_size: None,
                is_truncated,
            });
        }
        let count = messages.len();
        messages.into_iter().for_each(|message| batch.push(message));
        Ok(count)
    }

    /// There is no portable way to ask.
    pub(super) fn queue_drops(&self, _: BorrowedFd<'_>) -> u64 {
        0
    }

    /// Without an error queue there is nothing to tell.
    pub(super) fn poll_error(&self, _: BorrowedFd<'_>) -> io::Result<Option<SocketError>> {
        Ok(None)
    }
}

fn receive(socket: &Socket, slot: &mut [u8]) -> io::Result<(usize, bool, SocketAddr)> {
    let len = slot.len();
    // SAFETY: initialised bytes may be seen as possibly uninitialised; the call writes only bytes.
    let slot = unsafe { std::slice::from_raw_parts_mut(slot.as_mut_ptr().cast(), len) };
    let (len, flags, from) = socket.recv_from_vectored(&mut [MaybeUninitSlice::new(slot)])?;
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((len, flags.is_truncated(), from))
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::udp::{SendError, UdpOptions};

    #[test]
    fn a_batch_arrives_datagram_by_datagram_and_a_long_one_is_flagged() {
        let options = UdpOptions::new("127.0.0.1:0".parse().unwrap());
        let (near, far) = (options.bind_fd().unwrap(), options.bind_fd().unwrap());
        let to = SockRef::from(&far).local_addr().unwrap().as_socket().unwrap();
        let state = State::new(near.as_fd(), false, true).unwrap();
        let target = Target { segment_size: 4, to, ecn: Ecn::NotEct };
        assert!(!state.is_segmenting(4));
        let outcome = state.send_batch(near.as_fd(), b"aaaabbbbcc", target);
        assert!(outcome.segments_sent == 3 && outcome.error.is_none());
        let whole = Target { segment_size: 100, ..target };
        assert_eq!(state.send_batch(near.as_fd(), b"too long", whole).segments_sent, 1);

        let (mut batch, clock) = (RecvBatch::with_slot_len(8, 5), Clock::new());
        assert_eq!(state.recv_batch(far.as_fd(), &mut batch, &clock).unwrap(), 4);
        let seen: Vec<_> = batch.datagrams().map(|d| (d.data.to_vec(), d.is_truncated)).collect();
        let expected = [("aaaa", false), ("bbbb", false), ("cc", false), ("too l", true)];
        assert_eq!(seen, expected.map(|(data, cut)| (data.as_bytes().to_vec(), cut)));
        let empty = state.recv_batch(far.as_fd(), &mut batch, &clock).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(state.poll_error(near.as_fd()).unwrap(), None);
        assert_eq!(state.queue_drops(far.as_fd()), 0);
    }

    #[test]
    fn what_is_too_big_is_told() {
        let options = UdpOptions::new("127.0.0.1:0".parse().unwrap());
        let near = options.bind_fd().unwrap();
        let state = State::new(near.as_fd(), false, false).unwrap();
        let to = "127.0.0.1:9".parse().unwrap();
        let target = Target { segment_size: 70_000, to, ecn: Ecn::NotEct };
        let outcome = state.send_batch(near.as_fd(), &[0; 70_000], target);
        assert!(outcome.segments_sent == 0 && matches!(outcome.error, Some(SendError::TooBig)));
    }
}
