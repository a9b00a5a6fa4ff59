//! Received datagrams.

use std::net::SocketAddr;

use super::Ecn;

/// Room for the messages of one receive call, and what came in them. Reused for every call.
#[derive(Debug)]
pub struct RecvBatch {
    buffer: Box<[u8]>,
    slot_len: usize,
    messages: Vec<Message>,
}

/// What one message holds: one datagram, or several of equal size that the kernel merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) len: usize,
    pub(super) from: SocketAddr,
    pub(super) ecn: Option<Ecn>,
    pub(super) received_at_us: u64,
    /// Size of the merged datagrams; the last may be shorter.
    pub(super) segment_size: Option<usize>,
    pub(super) is_truncated: bool,
}

/// One received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The payload, to be changed at will.
    pub data: &'a mut [u8],
    /// The sender.
    pub from: SocketAddr,
    /// The ECN mark, where the system tells it.
    pub ecn: Option<Ecn>,
    /// When the kernel received it, in the clock's microseconds; elsewhere when it was read.
    /// Merged datagrams share one time.
    pub received_at_us: u64,
    /// The buffer was too short: `data` is only a beginning, or is followed by datagrams that were
    /// lost with it.
    pub is_truncated: bool,
}

impl RecvBatch {
    /// Most messages in a batch.
    pub const MAX_SLOTS: usize = 32;

    /// Room for `slots` (1 to [`RecvBatch::MAX_SLOTS`]) messages of up to 64 KiB.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self::with_slot_len(slots, 65_536)
    }

    /// Room for `slots` messages of `slot_len` bytes. Less than 64 KiB only fits sockets without
    /// offload, else merged datagrams are truncated.
    #[must_use]
    pub fn with_slot_len(slots: usize, slot_len: usize) -> Self {
        let slots = slots.clamp(1, Self::MAX_SLOTS);
        let slot_len = slot_len.max(1);
        Self {
            buffer: vec![0; slots * slot_len].into_boxed_slice(),
            slot_len,
            messages: Vec::with_capacity(slots),
        }
    }

    /// Messages that fit.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.buffer.len() / self.slot_len
    }

    /// The received datagrams in order of arrival.
    pub fn datagrams(&mut self) -> Datagrams<'_> {
        Datagrams {
            buffer: &mut self.buffer,
            slot_len: self.slot_len,
            messages: &self.messages,
            taken: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.buffer.chunks_exact_mut(self.slot_len)
    }

    pub(super) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }
}

/// Iterates over the datagrams of a batch.
#[derive(Debug)]
pub struct Datagrams<'a> {
    /// The slots from the current message on, without what was given out.
    buffer: &'a mut [u8],
    slot_len: usize,
    messages: &'a [Message],
    /// Bytes of the current message given out.
    taken: usize,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        let (message, later) = self.messages.split_first()?;
        let rest = message.len - self.taken;
        let len = message.segment_size.unwrap_or(rest).clamp(rest.min(1), rest);
        let (data, after) = std::mem::take(&mut self.buffer).split_at_mut(len);
        self.taken += len;
        let is_last = self.taken == message.len;
        if is_last {
            self.buffer = &mut after[self.slot_len - self.taken..];
            self.messages = later;
            self.taken = 0;
        } else {
            self.buffer = after;
        }
        Some(Datagram {
            data,
            from: message.from,
            ecn: message.ecn,
            received_at_us: message.received_at_us,
            is_truncated: message.is_truncated && is_last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize, segment_size: Option<usize>, is_truncated: bool) -> Message {
        let from = "192.0.2.1:9".parse().unwrap();
        Message { len, from, ecn: None, received_at_us: 0, segment_size, is_truncated }
    }

    #[test]
    fn merged_datagrams_come_apart_and_only_the_last_is_truncated() {
        let mut batch = RecvBatch::with_slot_len(4, 10);
        for (slot, fill) in batch.slots_mut().zip(b"abcd") {
            slot.fill(*fill);
        }
        batch.push(message(10, Some(4), true));
        batch.push(message(0, None, false));
        batch.push(message(3, Some(8), false));
        batch.push(message(10, None, false));
        let seen: Vec<_> = batch
            .datagrams()
            .map(|d| (String::from_utf8_lossy(d.data).into_owned(), d.is_truncated))
            .collect();
        let expected = [
            ("aaaa", false),
            ("aaaa", false),
            ("aa", true),
            ("", false),
            ("ccc", false),
            ("dddddddddd", false),
        ];
        assert_eq!(seen, expected.map(|(s, t)| (s.to_owned(), t)));
    }

    #[test]
    fn a_segment_size_of_zero_does_not_loop() {
        let mut batch = RecvBatch::with_slot_len(1, 3);
        batch.push(message(3, Some(0), false));
        assert_eq!(batch.datagrams().count(), 3);
    }
}
