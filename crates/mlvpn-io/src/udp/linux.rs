//! Batched UDP on Linux.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockAddr;

use super::batch::Message;
use super::cmsg::{self, Control};
use super::outcome::may_be_of_another_send;
use super::sys::{self, Received};
use super::{
    Ecn, MAX_PAYLOAD, MAX_SEGMENTS, OpenError, RecvBatch, SendError, SendOutcome, SocketError,
    error_queue,
};
use crate::clock::{Clock, ClockSample};

/// Payloads up to this size fit the smallest MTU of IPv6 (1280), so that a refusal to segment them
/// is not about their size.
const ALWAYS_FITS: usize = 1232;
/// How often a call is made again that only reports errors of earlier sends.
const STALE_ERRORS: usize = 3;

/// What the socket's interface turned out to do.
#[derive(Debug)]
pub(super) struct State {
    is_v6: bool,
    /// Datagrams of this size and above are not sent segmented; zero: none are.
    refused_size: AtomicUsize,
}

/// Where and how a batch goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) segment_size: usize,
    pub(super) to: SocketAddr,
    pub(super) ecn: Ecn,
}

impl State {
    pub(super) fn new(fd: BorrowedFd<'_>, is_v6: bool, offload: bool) -> Result<Self, OpenError> {
        let set = |step: &str, level, name, value| {
            sys::set_option(fd, level, name, value).map_err(|e| OpenError::new(step, e))
        };
        let (class, error) = if is_v6 {
            ((libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
        } else {
            ((libc::IPPROTO_IP, libc::IP_RECVTOS), (libc::IPPROTO_IP, libc::IP_RECVERR))
        };
        set("receive ECN marks", class.0, class.1, 1)?;
        set("receive errors", error.0, error.1, 1)?;
        set("receive timestamps", libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        // Kernels before 5.0 and 4.18 have neither; that is no error.
        let _ = sys::set_option(fd, libc::SOL_UDP, libc::UDP_GRO, i32::from(offload));
        let can_segment = offload && sys::option(fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        let refused_size = AtomicUsize::new(if can_segment { usize::MAX } else { 0 });
        Ok(Self { is_v6, refused_size })
    }

    pub(super) fn is_segmenting(&self, segment_size: usize) -> bool {
        segment_size < self.refused_size.load(Ordering::Relaxed)
    }

    pub(super) fn send_batch(
        &self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        target: Target,
    ) -> SendOutcome {
        let send = Send { fd, to: target.to.into(), is_v6: self.is_v6, target };
        let size = target.segment_size;
        let mut segments_sent = 0;
        while let Some(rest) = bytes.get(segments_sent * size..).filter(|rest| !rest.is_empty()) {
            let per_call = (MAX_PAYLOAD / size).clamp(1, MAX_SEGMENTS);
            let chunk = &rest[..rest.len().min(per_call * size)];
            let outcome = if chunk.len() > size && self.is_segmenting(size) {
                self.send_segmented(&send, chunk)
            } else {
                send.apart(chunk)
            };
            segments_sent += outcome.segments_sent;
            if outcome.error.is_some() {
                return SendOutcome { segments_sent, ..outcome };
            }
        }
        SendOutcome { segments_sent, error: None }
    }

    /// Sends a chunk in one call; if that is refused, sends it apart and, should that succeed,
    /// remembers.
    fn send_segmented(&self, send: &Send<'_>, chunk: &[u8]) -> SendOutcome {
        let error = match send.segmented(chunk) {
            Ok(()) => {
                let segments_sent = chunk.len().div_ceil(send.target.segment_size);
                return SendOutcome { segments_sent, error: None };
            }
            Err(error) => error,
        };
        if !is_refusal(&error) {
            return SendOutcome { segments_sent: 0, error: Some(error.into()) };
        }
        let outcome = send.apart(chunk);
        if outcome.segments_sent > 0 {
            self.remember_refusal(&error, send.target.segment_size);
        }
        outcome
    }

    fn remember_refusal(&self, error: &io::Error, segment_size: usize) {
        let is_about_size = error.raw_os_error() != Some(libc::EIO) && segment_size > ALWAYS_FITS;
        let limit = if is_about_size { segment_size } else { 0 };
        self.refused_size.fetch_min(limit, Ordering::Relaxed);
        tracing::debug!(%error, segment_size, "segmented sends are refused; sending apart");
    }

    pub(super) fn recv_batch(
        &self,
        fd: BorrowedFd<'_>,
        batch: &mut RecvBatch,
        clock: &Clock,
    ) -> io::Result<usize> {
        batch.clear();
        let mut messages = [None; RecvBatch::MAX_SLOTS];
        let received = definite(|| {
            let (mut count, sample) = (0, clock.sample());
            sys::receive_many(fd, batch.slots_mut(), |received| {
                messages[count] = Some(message(&received, sample));
                count += 1;
            })
        });
        let received = match received {
            // Errors of sends only, several at once: there is nothing to read yet.
            Err(e) if may_be_of_another_send(&e) => return Err(io::ErrorKind::WouldBlock.into()),
            other => other?,
        };
        messages.into_iter().flatten().for_each(|message| batch.push(message));
        Ok(received)
    }

    /// Kernels before 4.12 do not tell.
    #[expect(clippy::unused_self, reason = "the same signature as on other systems")]
    pub(super) fn queue_drops(&self, fd: BorrowedFd<'_>) -> u64 {
        sys::queue_drops(fd).map_or(0, u64::from)
    }

    #[expect(clippy::unused_self, reason = "the same signature as on other systems")]
    pub(super) fn poll_error(&self, fd: BorrowedFd<'_>) -> io::Result<Option<SocketError>> {
        error_queue::poll(fd)
    }
}

/// One batch on its way.
struct Send<'a> {
    fd: BorrowedFd<'a>,
    to: SockAddr,
    is_v6: bool,
    target: Target,
}

impl Send<'_> {
    fn segmented(&self, chunk: &[u8]) -> io::Result<()> {
        let mut control = Control::<64>::EMPTY;
        let len = self.push_ecn(&mut control.0);
        let size = (self.target.segment_size as u16).to_ne_bytes();
        let len = cmsg::push(&mut control.0, len, libc::SOL_UDP, libc::UDP_SEGMENT, &size);
        definite(|| sys::send(self.fd, chunk, &self.to, &control.0[..len])).map(drop)
    }

    /// Sends each segment as a datagram of its own until one fails.
    fn apart(&self, chunk: &[u8]) -> SendOutcome {
        let mut control = Control::<64>::EMPTY;
        let len = self.push_ecn(&mut control.0);
        let total = chunk.len().div_ceil(self.target.segment_size);
        let mut segments_sent = 0;
        while segments_sent < total {
            let rest = &chunk[segments_sent * self.target.segment_size..];
            let datagrams = || rest.chunks(self.target.segment_size);
            let sent =
                definite(|| sys::send_many(self.fd, datagrams(), &self.to, &control.0[..len]));
            match sent {
                Ok(count) => segments_sent += count,
                Err(error) => {
                    return SendOutcome { segments_sent, error: Some(SendError::from(error)) };
                }
            }
        }
        SendOutcome { segments_sent, error: None }
    }

    fn push_ecn(&self, control: &mut [u8]) -> usize {
        if self.target.ecn == Ecn::NotEct {
            return 0;
        }
        let (level, kind) = if self.is_v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TOS)
        };
        cmsg::push(control, 0, level, kind, &i32::from(self.target.ecn.bits()).to_ne_bytes())
    }
}

/// Repeats a call that was interrupted, or that reported the error of an earlier send.
fn definite(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut stale_errors = 0;
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if may_be_of_another_send(&e) && stale_errors < STALE_ERRORS => {
                stale_errors += 1;
            }
            other => return other,
        }
    }
}

/// EIO: the interface computes no checksums. EINVAL, and since 6.14 EMSGSIZE: the segments exceed
/// the MTU, or the kernel will not for another reason.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

fn message(received: &Received<'_>, sample: ClockSample) -> Message {
    let mut message = Message {
        len: received.len,
        from: received.from,
        ecn: None,
        received_at_us: sample.now_us(),
        segment_size: None,
        is_truncated: received.is_truncated,
    };
    for (level, kind, value) in cmsg::iter(received.control) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                message.ecn =
                    value.first_chunk().map(|class: &[u8; 1]| class[0]).map(Ecn::from_bits);
                // The class of IPv6 is an int.
                if let Some(class) = cmsg::int(value) {
                    message.ecn = Some(Ecn::from_bits(class as u8));
                }
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                if let Some(at) = cmsg::timespec_ns(value) {
                    message.received_at_us = sample.from_realtime_ns(at);
                }
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                message.segment_size = cmsg::int(value).and_then(|size| usize::try_from(size).ok());
            }
            _ => {}
        }
    }
    message
}
