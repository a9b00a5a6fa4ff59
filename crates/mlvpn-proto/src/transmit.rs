//! What a session wants sent.

use std::net::SocketAddr;

use crate::id::LinkIndex;

/// Most datagrams in one batch: what Linux takes in one `UDP_SEGMENT` send.
pub const MAX_SEGMENTS: usize = 64;
/// Most bytes in one batch: the largest UDP payload over IPv4, with room for IPv6.
pub const MAX_BATCH: usize = 65_000;

/// One send: a batch of datagrams to one address on one link, in the [`TransmitBuf`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// The link whose socket sends it.
    pub link: LinkIndex,
    /// Where to.
    pub to: SocketAddr,
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of each datagram; the last one may be shorter.
    pub segment_size: usize,
}

impl Transmit {
    /// How many datagrams the batch has.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.len.div_ceil(self.segment_size)
    }
}

/// The caller's buffer that [`crate::Endpoint::poll_transmit`] writes batches into.
#[derive(Debug, Default)]
pub struct TransmitBuf {
    bytes: Vec<u8>,
    segment_size: usize,
    segments: usize,
    is_closed: bool,
}

impl TransmitBuf {
    /// An empty buffer with room for one batch.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(MAX_BATCH), ..Self::default() }
    }

    /// The batch's datagrams, one after the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The batch's datagrams, one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.segment_size.max(1))
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.segment_size = 0;
        self.segments = 0;
        self.is_closed = false;
    }

    /// Whether a datagram of `len` bytes may join the batch: all have the first one's size, and a
    /// shorter one is the last.
    pub(crate) fn accepts(&self, len: usize) -> bool {
        self.segments == 0
            || (!self.is_closed
                && len <= self.segment_size
                && self.segments < MAX_SEGMENTS
                && self.bytes.len() + len <= MAX_BATCH)
    }

    /// Appends a datagram of `len` zeroed bytes for the caller to fill.
    pub(crate) fn push(&mut self, len: usize) -> &mut [u8] {
        debug_assert!(self.accepts(len), "asked before");
        if self.segments == 0 {
            self.segment_size = len;
        }
        self.is_closed = len < self.segment_size;
        self.segments += 1;
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        &mut self.bytes[start..]
    }

    /// Takes the last datagram back. Nothing may be appended any more.
    pub(crate) fn pop(&mut self) {
        let last = self.bytes.len() - (self.segments.max(1) - 1) * self.segment_size;
        self.bytes.truncate(self.bytes.len() - last);
        self.segments -= 1;
        self.is_closed = true;
    }

    pub(crate) fn transmit(&self, link: LinkIndex, to: SocketAddr) -> Option<Transmit> {
        (self.segments > 0).then_some(Transmit {
            link,
            to,
            len: self.bytes.len(),
            segment_size: self.segment_size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_equal_segments_and_one_shorter_tail() {
        let mut buf = TransmitBuf::new();
        buf.push(100);
        assert!(buf.accepts(100) && buf.accepts(40) && !buf.accepts(101));
        buf.push(40);
        assert!(!buf.accepts(40), "nothing may follow the tail");
        let to = "192.0.2.1:5080".parse().unwrap();
        let transmit = buf.transmit(LinkIndex(0), to).unwrap();
        assert_eq!((transmit.len, transmit.segment_size, transmit.segments()), (140, 100, 2));
        assert_eq!(buf.datagrams().map(<[u8]>::len).collect::<Vec<_>>(), [100, 40]);
    }
}
