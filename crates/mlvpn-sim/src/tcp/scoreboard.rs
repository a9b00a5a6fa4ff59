//! What is in flight, segment by segment (RFC 6675), and which of it is lost (RFC 8985).

use core::time::Duration;
use std::collections::VecDeque;

use mlvpn_proto::time::Instant;

use super::delivery_rate::Stamp;

/// A segment that was sent and not yet acknowledged cumulatively.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// When it was last sent.
    pub(super) at: Instant,
    /// The state of the connection when it was last sent.
    pub(super) stamp: Stamp,
    pub(super) is_sacked: bool,
    pub(super) is_lost: bool,
    /// Ever.
    pub(super) is_retransmitted: bool,
    /// The retransmission is in flight.
    pub(super) is_retransmitting: bool,
}

/// What an acknowledgement delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// Segments newly acknowledged, cumulatively or selectively.
    pub(super) segments: u64,
    /// The most recently sent of them.
    pub(super) newest: Option<Sent>,
    /// Time of sending of the newest that was sent only once.
    pub(super) rtt_from: Option<Instant>,
    /// Start of the lowest that was sent only once and had been overtaken.
    pub(super) overtaken: Option<u64>,
    /// An original transmission was acknowledged cumulatively.
    pub(super) advanced: bool,
}

impl Delivery {
    fn add(&mut self, sent: &Sent, highest_sacked: u64) {
        self.segments += 1;
        let is_newer = |newest: &Sent| (sent.at, sent.end) > (newest.at, newest.end);
        if self.newest.as_ref().is_none_or(is_newer) {
            self.newest = Some(*sent);
        }
        if !sent.is_retransmitted {
            self.rtt_from = self.rtt_from.max(Some(sent.at));
            if sent.start < highest_sacked {
                self.overtaken =
                    Some(self.overtaken.map_or(sent.start, |start| start.min(sent.start)));
            }
        }
    }
}

/// The segments between the first unacknowledged byte and the next to send.
#[derive(Clone, Debug, Default)]
pub(super) struct Scoreboard {
    segments: VecDeque<Sent>,
    sacked: usize,
    lost: usize,
    retransmitting: usize,
    highest_sacked: u64,
    found_lost: u64,
}

impl Scoreboard {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn sacked(&self) -> usize {
        self.sacked
    }

    pub(super) fn lost(&self) -> usize {
        self.lost
    }

    /// How often a transmission was found to be lost, in all.
    pub(super) fn found_lost(&self) -> u64 {
        self.found_lost
    }

    /// Retransmissions in flight.
    pub(super) fn retransmitting(&self) -> usize {
        self.retransmitting
    }

    /// End of the highest segment acknowledged selectively.
    pub(super) fn highest_sacked(&self) -> u64 {
        self.highest_sacked
    }

    /// Segments believed to be in the network, Linux's `tcp_packets_in_flight`.
    pub(super) fn in_flight(&self) -> usize {
        self.segments.len() + self.retransmitting - self.sacked - self.lost
    }

    pub(super) fn push(&mut self, start: u64, end: u64, stamp: Stamp, now: Instant) {
        self.segments.push_back(Sent {
            start,
            end,
            at: now,
            stamp,
            is_sacked: false,
            is_lost: false,
            is_retransmitted: false,
            is_retransmitting: false,
        });
    }

    /// Everything below `ack` has arrived.
    ///
    /// `highest` is the highest byte selectively acknowledged before.
    pub(super) fn acknowledge(&mut self, ack: u64, highest: u64, delivery: &mut Delivery) {
        while self.segments.front().is_some_and(|sent| sent.end <= ack) {
            let Some(sent) = self.segments.pop_front() else { return };
            self.sacked -= usize::from(sent.is_sacked);
            self.lost -= usize::from(sent.is_lost);
            self.retransmitting -= usize::from(sent.is_retransmitting);
            if !sent.is_sacked {
                delivery.add(&sent, highest);
                delivery.advanced |= !sent.is_retransmitted;
            }
        }
    }

    /// The segments within `start..end` have arrived. `highest` is the highest selectively
    /// acknowledged byte before this acknowledgement.
    pub(super) fn select(&mut self, start: u64, end: u64, highest: u64, delivery: &mut Delivery) {
        let first = self.segments.partition_point(|sent| sent.start < start);
        for sent in self.segments.range_mut(first..) {
            if sent.end > end {
                break;
            }
            if sent.is_sacked {
                continue;
            }
            delivery.add(sent, highest);
            self.lost -= usize::from(sent.is_lost);
            self.retransmitting -= usize::from(sent.is_retransmitting);
            self.sacked += 1;
            (sent.is_sacked, sent.is_lost, sent.is_retransmitting) = (true, false, false);
            self.highest_sacked = self.highest_sacked.max(sent.end);
        }
    }

    /// Marks as lost what was sent before `newest` (sent at, end) and should have arrived at
    /// `rtt` + `reorder_window` after it was sent (RFC 8985 section 6.2 step 5).
    ///
    /// Returns when the next segment is to be marked, if any.
    pub(super) fn mark_lost(
        &mut self,
        newest: (Instant, u64),
        rtt: Duration,
        reorder_window: Duration,
        now: Instant,
    ) -> Option<Instant> {
        // Segments are sent in order: without any of these nothing can have been overtaken.
        if self.sacked + self.lost + self.retransmitting == 0 {
            return None;
        }
        let mut next: Option<Instant> = None;
        for sent in &mut self.segments {
            let is_out = !sent.is_sacked && (!sent.is_lost || sent.is_retransmitting);
            if !is_out || (sent.at, sent.end) >= newest {
                continue;
            }
            let due = sent.at + rtt + reorder_window;
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            self.found_lost += 1;
            self.lost += usize::from(!sent.is_lost);
            self.retransmitting -= usize::from(sent.is_retransmitting);
            (sent.is_lost, sent.is_retransmitting) = (true, false);
        }
        next
    }

    /// Gives up on all that was not acknowledged selectively (RFC 6298 (5.4), RFC 8985 6.3).
    pub(super) fn mark_all_lost(&mut self) {
        for sent in &mut self.segments {
            let is_out = !sent.is_sacked && (!sent.is_lost || sent.is_retransmitting);
            self.found_lost += u64::from(is_out);
            sent.is_retransmitting = false;
            sent.is_lost = !sent.is_sacked;
        }
        self.retransmitting = 0;
        self.lost = self.segments.len() - self.sacked;
    }

    /// Cuts up what is larger than `segment` and was not acknowledged selectively, and takes it to be
    /// lost. Returns whether there was any.
    pub(super) fn cut_up(&mut self, segment: u64) -> bool {
        let mut has_cut = false;
        for sent in core::mem::take(&mut self.segments) {
            if sent.is_sacked || sent.end - sent.start <= segment {
                self.segments.push_back(sent);
                continue;
            }
            has_cut = true;
            self.lost -= usize::from(sent.is_lost);
            self.retransmitting -= usize::from(sent.is_retransmitting);
            let mut start = sent.start;
            while start < sent.end {
                let end = sent.end.min(start + segment);
                self.segments.push_back(Sent {
                    start,
                    end,
                    is_lost: true,
                    is_retransmitting: false,
                    ..sent
                });
                self.lost += 1;
                start = end;
            }
        }
        has_cut
    }

    /// Believes all lost segments to be in flight after all.
    pub(super) fn unmark_lost(&mut self) {
        for sent in &mut self.segments {
            sent.is_lost = false;
        }
        self.lost = 0;
    }

    /// The lowest lost segment that is not being retransmitted.
    pub(super) fn next_lost(&self) -> Option<usize> {
        if self.lost == 0 {
            return None;
        }
        self.segments.iter().position(|sent| sent.is_lost && !sent.is_retransmitting)
    }

    /// Notes that the segment at `index` is sent again and returns it.
    pub(super) fn retransmit(&mut self, index: usize, stamp: Stamp, now: Instant) -> Sent {
        let sent = &mut self.segments[index];
        self.retransmitting += usize::from(!sent.is_retransmitting);
        // A tail probe repeats what is not marked: counted as in flight twice, as by Linux.
        (sent.is_retransmitted, sent.is_retransmitting) = (true, true);
        (sent.at, sent.stamp) = (now, stamp);
        *sent
    }

    /// The position of the highest segment.
    pub(super) fn last(&self) -> Option<usize> {
        self.segments.len().checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn board(segments: u64) -> Scoreboard {
        let mut board = Scoreboard::default();
        for i in 0..segments {
            board.push(i * 100, (i + 1) * 100, Stamp::default(), ms(i));
        }
        board
    }

    #[test]
    fn acknowledgements_count_once() {
        let mut board = board(5);
        let mut first = Delivery::default();
        board.select(200, 400, 0, &mut first);
        board.select(200, 400, 0, &mut first);
        assert_eq!((first.segments, board.sacked(), board.in_flight()), (2, 2, 3));
        assert_eq!(first.overtaken, None);
        let mut second = Delivery::default();
        board.acknowledge(300, 400, &mut second);
        assert_eq!((second.segments, board.sacked(), board.in_flight()), (2, 1, 1));
        assert_eq!(second.overtaken, Some(0), "overtaken by what was selected before");
    }

    #[test]
    fn what_was_sent_before_a_delivered_segment_is_lost_after_the_reorder_window() {
        let mut board = board(5);
        board.select(300, 400, 0, &mut Delivery::default());
        let rtt = Duration::from_millis(20);
        let next = board.mark_lost((ms(3), 400), rtt, Duration::from_millis(5), ms(26));
        assert_eq!((board.lost(), next), (2, Some(ms(27))));
        assert_eq!(board.next_lost(), Some(0));
        let sent = board.retransmit(0, Stamp::default(), ms(30));
        assert_eq!((sent.start, board.next_lost(), board.in_flight()), (0, Some(1), 3));
    }

    #[test]
    fn what_is_too_big_is_cut_up_and_lost() {
        let mut board = board(3);
        board.push(300, 340, Stamp::default(), ms(3));
        board.select(100, 200, 0, &mut Delivery::default());
        assert!(board.cut_up(60));
        assert_eq!((board.len(), board.lost(), board.in_flight()), (6, 4, 1));
        let again: Vec<_> = (0..4)
            .map(|_| {
                let next = board.next_lost().unwrap();
                let sent = board.retransmit(next, Stamp::default(), ms(9));
                (sent.start, sent.end)
            })
            .collect();
        assert_eq!(again, [(0, 60), (60, 100), (200, 260), (260, 300)]);
        assert!(!board.cut_up(60));
    }

    #[test]
    fn a_timeout_spares_what_was_selected() {
        let mut board = board(3);
        board.select(100, 200, 0, &mut Delivery::default());
        board.mark_all_lost();
        assert_eq!((board.lost(), board.in_flight()), (2, 0));
        board.unmark_lost();
        assert_eq!((board.lost(), board.in_flight()), (0, 2));
    }
}
