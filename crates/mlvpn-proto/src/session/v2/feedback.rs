//! What the peer tells of the paths: what arrived and what was lost, and how fast to send. And how much
//! this end may tell of its own.

use super::path::Path;
use super::progress::News;
use super::{Session, Shared};
use crate::id::{PacketNumber, PathId};
use crate::path::flight::Outcome;
use crate::path::rate::FeedbackSample;
use crate::path::receipt::{Receipt, Report};
use crate::recovery::Parcel;
use crate::stats::Traffic;
use crate::time::{Duration, Instant};
use crate::wire::v2::{Feedback, modular};

/// Feedback may take this share of what the path that carries it can carry, or so many bytes per
/// second if that is more `[F8]`, and this much at once.
const FEEDBACK_SHARE: f64 = 0.02;
const FEEDBACK_FLOOR: f64 = 2_000.0;
const FEEDBACK_BURST: f64 = 1_500.0;
/// Of a path whose capacity is known what tells of no loss takes as much only where there is as much to tell: a share
/// of what came there; else so many bytes per second less, but no less than that many `[F25]`.
const SHARE_OF_HEARD: f64 = 0.1;
const WITHHELD: f64 = 1_400.0;
const LEAST_SPARED: f64 = 600.0;
/// So much of it is left to reports of losses: one of them. With more, so many losses would leave nothing to the
/// others that paths would seem to be dead.
const FEEDBACK_RESERVE: f64 = 200.0;
/// What a path is taken to carry at least while nothing tells otherwise, in bytes per second. As soon as anything
/// but feedback loads it, it is known.
const UNKNOWN_RATE: u64 = 600_000;
/// So much feedback may be saved up meanwhile, in bytes, and is there at first: a transfer that begins needs more of it.
const SAVED_WHILE_UNKNOWN: (f64, f64) = (60_000.0, 30_000.0);
/// For so long it may be saved up once that is known.
const SAVED: Duration = Duration::from_millis(50);

impl Session {
    /// Feedback about a path, which came over the path `over` at `arrived_at`.
    pub(super) fn on_feedback(
        &mut self,
        feedback: &Feedback,
        (over, arrived_at): (PathId, Instant),
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        let Self { paths, upload, .. } = self;
        let Some(path) = paths[feedback.path.slot()].as_deref_mut() else { return };
        let Some(largest) = path.own_number(feedback.largest) else { return };
        let report = report_of(feedback, largest, &path.demand.reported);
        let is_newer = report.packets > path.demand.reported.packets;
        let srtt = path.rtt.estimator.smoothed();
        let outcome = path.flight.on_report(&report, srtt, arrived_at);
        if let Some(rtt) = outcome.rtt {
            path.rtt.on_sample(rtt, now);
        }
        path.health.is_said_silent = feedback.is_silent && !path.flight.is_empty();
        let transit = report.lowest_transit.filter(|_| is_newer);
        let transit = transit.map(|transit| upload.unwrap_transit(transit));
        let lost = path.on_outcome(&outcome, now);
        if is_newer {
            path.on_newest(&outcome, lost, transit, &report, now);
            path.demand.reported = ReportedCounts {
                at_micros: report.largest_at_micros,
                packets: report.packets,
                bytes: report.bytes,
                marks: report.congestion_marks,
            };
        }
        let (id, rtt, round) = (path.id, path.srtt(), outcome.rtt);
        let newest = outcome.acked.iter().map(|packet| packet.sent_at).max();
        let news = newest.map(|sent_at| News { sent_at, is_own: over == id });
        self.settle(id, outcome, rtt, shared, now);
        if let Some(news) = news {
            self.on_news(id, news, now);
        }
        if is_newer {
            self.overtake_late(id, now);
        }
        if round.is_some() {
            self.order.set_round_trip(id, rtt);
            self.update_repair_time();
        }
    }

    /// Buffers of what arrived go back to the stock; what was lost is sent again.
    fn settle(
        &mut self,
        id: PathId,
        outcome: Outcome<Parcel>,
        rtt: Duration,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        for parcel in outcome.acked.into_iter().filter_map(|packet| packet.content) {
            if parcel.is_copy {
                self.upload.copies.on_arrived(parcel.lane, parcel.seq);
            }
            self.upload.give_back(parcel, shared);
        }
        let largest = self.largest_packet().map_or(usize::MAX, usize::from);
        for parcel in outcome.lost.into_iter().filter_map(|packet| packet.content) {
            if parcel.is_copy || self.upload.copies.has_arrived(&parcel) {
                self.upload.give_back(parcel, shared);
            } else if parcel.bytes.len() > largest {
                let bytes = self.upload.recovery.give_up(parcel);
                self.upload.refuse(bytes, true, shared);
            } else if let Some(freed) = self.upload.recovery.on_lost(parcel, id, rtt, now) {
                shared.pool.give(freed);
            }
        }
    }

    /// How long the receiver's counterpart of this end takes to repair a loss towards us is about what
    /// we take: the paths are the same. What the fastest path loses is repaired over a slower one, after some more
    /// packets of a slow path have shown the loss, and in its turn. Half a round trip more is waited for that: what
    /// will not come at all is skipped by the sender, and seldom.
    fn update_repair_time(&mut self) {
        let up = || self.paths().filter(|path| path.is_up());
        let slowest = up().map(|path| path.srtt() * 3 / 2 + path.rtt_deviation() * 2).max();
        self.order.set_repair_time(slowest.map(|time| time + Duration::from_millis(5)));
    }
}

impl Path {
    fn rtt_deviation(&self) -> Duration {
        self.rtt.estimator.variation().unwrap_or_default()
    }

    /// What became of packets. Returns how many were lost for another reason than their size.
    fn on_outcome(&mut self, outcome: &Outcome<Parcel>, now: Instant) -> u64 {
        let headers = self.wire_len(0) as u16;
        let payload = |len: u16| len.saturating_sub(headers);
        let mut lost = self.mtu.take_withheld();
        for packet in &outcome.lost {
            lost += self.mtu.on_lost(payload(packet.len), packet.sent_at, now);
        }
        for packet in &outcome.acked {
            self.mtu.on_arrived(payload(packet.len), packet.sent_at);
        }
        self.loss.on_packets(outcome.acked.len(), lost as usize, now);
        lost
    }

    /// Feeds the newest report into the rate controller.
    fn on_newest(
        &mut self,
        outcome: &Outcome<Parcel>,
        lost_packets: u64,
        transit: Option<i64>,
        report: &Report,
        now: Instant,
    ) {
        if let Some(transit) = transit {
            self.demand.on_transit(transit, now);
        }
        let since = self.demand.reported_sent_at;
        let was_busy = since.is_some_and(|since| self.demand.idle_at < since);
        // A queue that stays in the network says the same: more was sent than the path carries.
        // Without data the report says nothing of it.
        let (is_over, rtt) = (self.rate.is_over(), self.unloaded_rtt());
        let stands = transit.is_some()
            && (self.demand.is_over(is_over, rtt, now) || self.rate.is_overwhelmed());
        let is_limited = was_busy || stands;
        self.demand.reported_sent_at = outcome.largest_sent_at.or(since);
        let sample = FeedbackSample {
            received_bytes: report.bytes,
            received_at: Instant::from_micros(report.largest_at_micros),
            sent_at: outcome.largest_sent_at,
            lowest_transit: transit,
            rtt: outcome.rtt,
            min_rtt: self.rtt.min(),
            acked_packets: outcome.acked.len() as u64,
            oldest: outcome.acked.iter().map(|packet| now.saturating_since(packet.sent_at)).max(),
            longest_packet: outcome.acked.iter().map(|packet| packet.len).max().unwrap_or(0).into(),
            lost_packets,
            is_limited,
        };
        self.rate.on_feedback(&sample, now);
        self.pacer.set_rate(self.rate.rate(), now);
    }
}

/// The counters of the last report about a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReportedCounts {
    pub(crate) at_micros: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) marks: u64,
}

/// What a FEEDBACK frame says, with its counters in full. `before` is what the one before it said.
fn report_of(feedback: &Feedback, largest: PacketNumber, before: &ReportedCounts) -> Report {
    let near = |low: u64, bits: u32, known: u64| modular::nearest(low, bits, known);
    Report {
        largest,
        largest_at_micros: near(u64::from(feedback.received_at), 32, before.at_micros),
        delay: feedback.held.duration(),
        received: feedback.received,
        packets: near(u64::from(feedback.packets), 32, before.packets),
        bytes: near(feedback.bytes, 48, before.bytes),
        congestion_marks: near(u64::from(feedback.congestion_marks), 24, before.marks),
        lowest_transit: feedback.lowest_transit,
    }
}

/// Feedback of all paths that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FeedbackSent {
    /// Packets, copies among them; bytes with all headers.
    pub(super) traffic: Traffic,
    /// Packets that could have had a copy.
    pub(super) turns: u64,
}

/// How much feedback may be sent over a path. What may be sent now is told in bytes, below zero when the last packet
/// took more than there was.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeedbackBudget {
    /// Of what is told at all.
    credit: f64,
    /// Of what tells of no loss.
    spare: f64,
    at: Instant,
    /// Bytes that had come on the path by then.
    heard: u64,
}

impl FeedbackBudget {
    /// That of a path that is new.
    pub(super) fn new(now: Instant) -> Self {
        Self { credit: SAVED_WHILE_UNKNOWN.1, spare: SAVED_WHILE_UNKNOWN.1, at: now, heard: 0 }
    }

    /// What is left for anything so urgent.
    fn left(&self, urgency: Urgency) -> f64 {
        let left = match urgency {
            Urgency::Loss => self.credit,
            Urgency::Usual | Urgency::Copy => self.credit.min(self.spare),
        };
        left - urgency.reserve()
    }

    /// Whether anything so urgent may be sent.
    pub(super) fn is_left(&self, urgency: Urgency) -> bool {
        self.left(urgency) > 0.0
    }

    pub(super) fn refill(&mut self, allowed: Allowed, now: Instant) {
        let time = now.saturating_since(self.at);
        let most = allowed.saved().max(FEEDBACK_BURST);
        self.credit = (self.credit + time.as_secs_f64() * allowed.bytes_per_sec()).min(most);
        self.spare = (self.spare + allowed.spared(time, self.heard)).min(most);
        self.at = now;
        self.heard = allowed.heard;
    }

    /// A packet that takes `len` bytes on the link is sent.
    pub(super) fn spend(&mut self, len: usize) {
        self.credit -= len as f64;
        // Many losses must not silence what else is to be told.
        self.spare = (self.spare - len as f64).max(-FEEDBACK_BURST);
    }

    /// When there is credit for that again.
    pub(super) fn refilled_at(&self, urgency: Urgency, allowed: Allowed) -> Instant {
        if self.is_left(urgency) {
            return Instant::ZERO;
        }
        // Rounded up: there is credit then, whatever the fractions.
        let reserve = urgency.reserve() + 1.0;
        let time =
            Duration::from_secs_f64((reserve - self.credit).max(0.0) / allowed.bytes_per_sec());
        let spared = match urgency {
            Urgency::Loss => Duration::ZERO,
            _ => allowed.time_to_spare((reserve - self.spare).max(0.0), self.heard),
        };
        self.at + time.max(spared) + Duration::from_micros(1)
    }
}

/// What a report is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    /// What another path tells as well.
    Copy,
    /// How the path goes on.
    Usual,
    /// What was lost, which others wait for.
    Loss,
}

impl Urgency {
    /// Of the path that was heard of by `receipt`.
    pub(super) fn of(receipt: &Receipt) -> Self {
        if receipt.has_loss() { Self::Loss } else { Self::Usual }
    }

    /// Credit that is left to what is more urgent, in bytes.
    fn reserve(self) -> f64 {
        match self {
            Self::Copy => FEEDBACK_BURST / 2.0,
            Self::Usual => FEEDBACK_RESERVE,
            Self::Loss => 0.0,
        }
    }
}

/// How much feedback a path may carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// What the path carries, in bytes per second.
    rate: u64,
    /// Whether that was found out.
    is_known: bool,
    /// Bytes that have come on the path.
    heard: u64,
}

impl Allowed {
    /// A share of what the path carries; while nobody knows that, of what has arrived there lately, or of what it
    /// is taken to carry.
    pub(super) fn on(path: &Path) -> Self {
        let heard = path.receipt.bytes();
        if path.rate.is_tested() {
            return Self { rate: path.rate.capacity(), is_known: true, heard };
        }
        let shown = path.rate.delivered_lately().unwrap_or(0);
        let most = path.dispersion.most().map_or(UNKNOWN_RATE, |most| most as u64);
        let rate = shown.max(UNKNOWN_RATE.min(most)).min(path.rate.limit());
        Self { rate, is_known: false, heard }
    }

    fn bytes_per_sec(self) -> f64 {
        (self.rate as f64 * FEEDBACK_SHARE).max(FEEDBACK_FLOOR)
    }

    /// The least that is spared in a second, however little there is to tell.
    fn least_per_sec(self) -> f64 {
        let most = self.bytes_per_sec();
        if self.is_known { (most - WITHHELD).max(LEAST_SPARED) } else { most }
    }

    /// What is spared for telling of what came since `heard_before` bytes had.
    fn spared_for(self, heard_before: u64) -> f64 {
        self.heard.saturating_sub(heard_before) as f64 * SHARE_OF_HEARD
    }

    /// What is spared in a time, in bytes.
    fn spared(self, time: Duration, heard_before: u64) -> f64 {
        let seconds = time.as_secs_f64();
        let most = seconds * self.bytes_per_sec();
        self.spared_for(heard_before).min(most).max(seconds * self.least_per_sec())
    }

    /// How long it takes to spare so many bytes if nothing more comes.
    fn time_to_spare(self, bytes: f64, heard_before: u64) -> Duration {
        let is_heard = self.spared_for(heard_before) >= bytes;
        let per_sec = if is_heard { self.bytes_per_sec() } else { self.least_per_sec() };
        Duration::from_secs_f64(bytes / per_sec)
    }

    /// So many bytes may be saved up.
    fn saved(self) -> f64 {
        match self.is_known {
            true => self.bytes_per_sec() * SAVED.as_secs_f64(),
            false => SAVED_WHILE_UNKNOWN.0,
        }
    }
}
