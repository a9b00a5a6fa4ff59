//! A path of a session: addresses, numbers, what is measured, and its life.

mod estimates;

use std::net::SocketAddr;

use super::feedback::FeedbackBudget;
use super::migration::Migration;
use super::progress::Progress;
use crate::crypto::replay::ReplayWindow;
use crate::crypto::v2::PacketCounter;
use crate::id::{LinkIndex, PacketNumber, PathId};
use crate::path::dispersion::Dispersion;
use crate::path::flight::Flight;
use crate::path::mtu::{self, MtuDiscovery};
use crate::path::pacer::Pacer;
use crate::path::rate::RateController;
use crate::path::receipt::{Receipt, report_interval};
use crate::path::validation::Validation;
use crate::policy::LinkTerms;
use crate::recovery::Parcel;
use crate::stats::{PathStats, Traffic};
use crate::time::{Duration, Instant};
use crate::wire::v2::{DATA_OVERHEAD, PathStatus, SendTime, TruncatedNumber};
use estimates::{Demand, LossShare, ReceivedLoss, RttTracker};

/// What a round trip is taken to be before one was measured (RFC 9002 section 6.2.2).
const INITIAL_RTT: Duration = Duration::from_millis(333);
/// The least variation in a probe timeout `[M2]`.
const LEAST_VARIATION: Duration = Duration::from_millis(5);
/// Packets that wait to be acknowledged.
const MAX_ACKS: usize = 1_024;
/// What is told of what arrives is about so long a time.
const DELIVERY_SPAN: Duration = Duration::from_secs(1);
/// UDP payload of full packets over Ethernet and IPv4, and IPv6.
const ETHERNET_PAYLOAD_V4: u16 = 1_472;
const ETHERNET_PAYLOAD_V6: u16 = 1_452;

/// Where a path is in its life (section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PathState {
    /// It has no socket, or the peer says that it is gone.
    Absent,
    /// Its address is being validated.
    Joining,
    /// It carries what it is given.
    Up,
    /// Nothing arrives for its probe timeout, while another path lives.
    Suspect,
    /// Silent for long.
    Down,
}

/// A local socket and an address of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub(crate) link: LinkIndex,
    pub(crate) remote: SocketAddr,
}

/// A path. Its numbers live as long as the session, whatever becomes of its addresses `[S2]`.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) route: Route,
    /// The initiator's: where the peer is according to the configuration.
    pub(crate) home: Option<Route>,
    pub(crate) validation: Validation,
    pub(crate) migration: Option<Migration>,
    pub(crate) last_migration: Option<Instant>,
    pub(crate) state: PathState,
    pub(crate) since: Instant,
    pub(crate) numbers: PacketCounter,
    pub(crate) window: ReplayWindow,
    pub(crate) flight: Flight<Parcel>,
    pub(crate) receipt: Receipt,
    pub(crate) rtt: RttTracker,
    pub(crate) mtu: MtuDiscovery,
    pub(crate) dispersion: Dispersion,
    pub(crate) pacer: Pacer,
    pub(crate) rate: RateController,
    pub(crate) demand: Demand,
    pub(crate) status: Status,
    /// Bytes per second that this end may send at most.
    pub(crate) own_limit: Option<u64>,
    /// What both ends want of it beyond that.
    pub(crate) terms: LinkTerms,
    /// Packets to acknowledge.
    pub(crate) acks: Vec<TruncatedNumber>,
    pub(crate) times: Times,
    pub(super) progress: Progress,
    pub(super) budget: FeedbackBudget,
    pub(crate) loss: LossShare,
    pub(crate) received_loss: ReceivedLoss,
    pub(crate) counters: Counters,
    pub(crate) health: Health,
    /// It was up at some time.
    pub(crate) has_been_up: bool,
    /// Its socket takes nothing at the moment.
    pub(crate) is_blocked: bool,
}

/// What both ends want the path used for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) ours: PathStatus,
    pub(crate) our_sequence: u16,
    pub(crate) peers: PathStatus,
    pub(crate) peer_sequence: Option<u16>,
}

/// When things happened last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Something that the peer answers.
    pub(crate) sent: Instant,
    pub(crate) received: Option<Instant>,
    /// When the latest packet with data that came was sent, on the peer's clock, and when it came.
    pub(crate) data_sent: Option<(SendTime, Instant)>,
    /// The latest packet that repairs a loss, as long as too little follows it.
    repair: Option<Repair>,
}

/// A packet that was sent again, on a path on which perhaps nothing follows it.
#[derive(Clone, Copy, Debug)]
struct Repair {
    at: Instant,
    /// Packets that elicit feedback and were sent since.
    followers: u8,
}

/// So many packets that come prove that one before them is lost `[M1]`.
const FOLLOWERS: u8 = 3;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
    pub(crate) resent: Traffic,
}

/// Relapses of a path that was suspect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    /// When it was suspect last, and how often within ten seconds of one another.
    pub(crate) suspected: Option<Instant>,
    pub(crate) relapses: u32,
    /// Nothing new goes over it until then.
    pub(crate) held_down_until: Option<Instant>,
    /// Probes sent and when the next is due, while it is suspect or down.
    pub(crate) probes: u32,
    pub(crate) next_probe: Option<Instant>,
    /// The peer says that nothing comes.
    pub(crate) is_said_silent: bool,
    /// It is not looked at again before.
    pub(crate) recheck: Instant,
}

impl Path {
    /// A path that is to be validated.
    pub(crate) fn new(id: PathId, route: Route, now: Instant) -> Self {
        Self {
            id,
            route,
            home: None,
            validation: Validation::new(route.remote, now),
            migration: None,
            last_migration: None,
            state: PathState::Joining,
            since: now,
            numbers: PacketCounter::new(id),
            window: ReplayWindow::new(),
            flight: Flight::default(),
            receipt: Receipt::default(),
            rtt: RttTracker::default(),
            mtu: MtuDiscovery::new(payload_limit(route.remote)),
            dispersion: Dispersion::default(),
            pacer: Pacer::new(0, now),
            rate: RateController::new(None, None),
            demand: Demand::new(now),
            status: Status {
                ours: PathStatus::Available,
                our_sequence: 0,
                peers: PathStatus::Available,
                peer_sequence: None,
            },
            own_limit: None,
            terms: LinkTerms::default(),
            acks: Vec::new(),
            times: Times { sent: now, received: None, data_sent: None, repair: None },
            progress: Progress::new(now),
            budget: FeedbackBudget::new(now),
            loss: LossShare::default(),
            received_loss: ReceivedLoss::default(),
            counters: Counters::default(),
            health: Health::default(),
            has_been_up: false,
            is_blocked: false,
        }
    }

    /// The path has other addresses, and is to be validated anew `[P6]`.
    pub(crate) fn reopen(&mut self, route: Route, now: Instant) {
        self.route = route;
        self.validation = Validation::new(route.remote, now);
        self.migration = None;
        self.is_blocked = false;
        self.enter(PathState::Joining, now);
        self.on_new_route(now);
    }

    /// What was measured on the former addresses does not hold `[P11]`.
    pub(crate) fn on_new_route(&mut self, now: Instant) {
        self.flight.abandon();
        self.rtt = RttTracker::default();
        self.mtu.restart(payload_limit(self.route.remote));
        self.dispersion = Dispersion::default();
        self.rate.restart(now);
        self.loss = LossShare::default();
        self.health = Health::default();
        self.progress.restart(now);
    }

    pub(crate) fn enter(&mut self, state: PathState, now: Instant) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// The packet `number` is to be acknowledged; what is beyond the limit is asked for again.
    pub(crate) fn acknowledge(&mut self, number: PacketNumber) {
        if self.acks.len() < MAX_ACKS {
            self.acks.push(TruncatedNumber::from(number));
        }
    }

    /// Whether data may be given to it.
    pub(crate) fn is_up(&self) -> bool {
        self.state == PathState::Up
    }

    /// Whether it counts as up for the user: a suspect path most often comes back.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, PathState::Up | PathState::Suspect)
    }

    /// Whether it was up when the session ended, or before.
    pub(crate) fn was_usable(&self) -> bool {
        self.has_been_up
    }

    pub(crate) fn stats(&self, now: Instant) -> PathStats {
        PathStats {
            id: self.id,
            capacity: self.rate.capacity(),
            rate_state: self.rate.state(),
            queue_delay: self.rate.queue_delay(),
            min_rtt: self.rtt.min(),
            loss: self.loss.share(now),
            received_loss: self.received_loss.share(now),
            delivery_rate: self.delivery_rate(now),
            in_flight: self.flight.bytes(),
            resent: self.counters.resent,
            mtu: self.mtu.size(),
            is_suspect: self.state == PathState::Suspect,
            terms: self.terms,
        }
    }

    /// A packet came: counts those that should have come before it.
    pub(crate) fn count_missing(&mut self, now: Instant) {
        if let Some(largest) = self.receipt.largest() {
            self.received_loss.on_received(largest.0, self.receipt.packets(), now);
        }
    }

    /// What arrived at the peer lately, in bytes per second; nothing when it has told of nothing for a while.
    fn delivery_rate(&self, now: Instant) -> Option<u64> {
        let is_over = now.saturating_since(self.progress.last_news()?) > DELIVERY_SPAN;
        if is_over { Some(0) } else { self.rate.delivery_rate(DELIVERY_SPAN) }
    }

    /// Whether either end keeps it for when no other is up.
    pub(crate) fn is_backup(&self) -> bool {
        self.status.ours == PathStatus::Backup || self.status.peers == PathStatus::Backup
    }

    /// Whether it may carry new data now, apart from pacing.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_up() && !self.is_blocked
    }

    /// Whether it is left alone as long as another path is ready, since it was silent again and again.
    pub(crate) fn is_held_down(&self, now: Instant) -> bool {
        self.health.held_down_until.is_some_and(|until| now < until)
    }

    /// Whether as much is on the way as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.flight.bytes() >= self.rate.in_flight_cap()
    }

    /// Whether copies, which nobody waits for, may be added to what is on the way: half of what may be there is
    /// about two thirds of the rate.
    pub(crate) fn has_room_for_copies(&self) -> bool {
        self.flight.bytes() < self.rate.in_flight_cap() / 2
    }

    /// Its place among the paths where one is to carry everything: by whether it is a backup, by whether it is
    /// metered, by its cost, and by its number, which is its place in the initiator's configuration `[F24]`.
    pub(crate) fn rank(&self) -> u64 {
        let cost = self.terms.cost.as_micros().min(u128::from(u32::MAX)) as u64;
        u64::from(self.is_backup()) << 41
            | u64::from(self.terms.is_metered) << 40
            | cost << 4
            | u64::from(self.id.number())
    }

    /// The largest IP packet or frame that fits.
    pub(crate) fn max_packet(&self) -> usize {
        usize::from(self.mtu.size()).saturating_sub(DATA_OVERHEAD)
    }

    /// Whether the oldest packet on its way is one that a path may be too small for.
    pub(crate) fn has_large_outstanding(&self) -> bool {
        let base = self.wire_len(usize::from(mtu::BASE));
        self.flight.oldest_len().is_some_and(|len| usize::from(len) > base)
    }

    /// The smoothed round trip, or what it is taken to be.
    pub(crate) fn srtt(&self) -> Duration {
        self.rtt.estimator.smoothed().unwrap_or(INITIAL_RTT)
    }

    /// The lowest round trip known.
    pub(crate) fn unloaded_rtt(&self) -> Duration {
        self.rtt.min().unwrap_or(self.srtt())
    }

    /// The round trip that feedback for the peer goes by: until one is known, a short one.
    pub(crate) fn report_rtt(&self) -> Duration {
        self.rtt.estimator.smoothed().unwrap_or_default()
    }

    /// News of what is sent now comes within this time, if at all `[M2]`.
    pub(crate) fn probe_timeout(&self) -> Duration {
        let variation = self.rtt.estimator.variation().unwrap_or(INITIAL_RTT / 2);
        let interval = report_interval(self.srtt()).max(self.progress.interval());
        self.srtt() + (variation * 4).max(LEAST_VARIATION) + interval
    }

    /// Bytes that a datagram of `len` bytes of UDP payload takes on the link `[F16]`.
    pub(crate) fn wire_len(&self, len: usize) -> usize {
        len + if self.route.remote.is_ipv4() { 28 } else { 48 }
    }

    /// The full number of a packet of this end that a frame names; none of one that was not sent yet `[F17]`.
    pub(crate) fn own_number(&self, number: TruncatedNumber) -> Option<PacketNumber> {
        let largest = self.numbers.largest()?;
        Some(number.near(largest)).filter(|number| *number <= largest)
    }
}

impl Times {
    /// Something that the peer answers is sent.
    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.sent = now;
        if let Some(repair) = &mut self.repair {
            repair.followers += 1;
        }
        self.repair = self.repair.filter(|repair| repair.followers < FOLLOWERS);
    }

    /// What was sent just now is sent again.
    pub(crate) fn on_repair_sent(&mut self, now: Instant) {
        self.repair = Some(Repair { at: now, followers: 0 });
    }

    /// When a PING is to follow a repair, so that its loss is known as soon as that of a packet among
    /// others `[M4]`: the repair of a repair must not wait for a probe timeout.
    pub(crate) fn repair_probe_at(&self, srtt: Duration) -> Option<Instant> {
        // An eighth more than the time threshold, which is that of the round trip then.
        self.repair.map(|repair| repair.at + srtt * 5 / 4)
    }

    /// A PING follows the latest repair, or nothing is on its way any more.
    pub(crate) fn on_repair_followed(&mut self) {
        self.repair = None;
    }
}

/// UDP payload that an Ethernet device sends whole towards `remote`.
fn payload_limit(remote: SocketAddr) -> u16 {
    let is_v4 = remote.ip().to_canonical().is_ipv4();
    if is_v4 { ETHERNET_PAYLOAD_V4 } else { ETHERNET_PAYLOAD_V6 }
}
