//! One run, and what it is worth beside others.

use core::time::Duration;

use mlvpn_proto::lanes::LaneStats;
use mlvpn_proto::time::Instant;

use super::load::{Flows, UDP_SIZE};
use super::{Cell, Load};
use crate::tcp::TcpSender;
use crate::world::{SessionEndpoint, Tunnel, World, millis, secs};

/// The tunnel's MTU over links of 1500 bytes, and the payload of TCP in it.
const MTU: u16 = 1_440;
const TCP_PAYLOAD: f64 = 1_388.0;
const LINK_MTU: f64 = 1_500.0;

/// What a run over some links came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Mbit/s of payload in the first and in the second half.
    pub mbit: [f64; 2],
    /// How long requests took: the 95th percentile, and on average.
    pub answers: [Duration; 2],
    /// One-way delay of sparse packets above the shortest link's: 95th and 99th percentile.
    pub sparse: [Duration; 2],
    /// Packets that the tunnel took and could not deliver, of a million.
    pub residual_ppm: f64,
    /// Packets that came after a later one of their flow.
    pub reordered: u64,
    /// The longest time in which a flow got nothing, after the first second.
    pub silence: Duration,
    /// Packets sent again, of those taken.
    pub resent: f64,
    /// The most packets that an end held back.
    pub held: usize,
}

/// A cell that runs: its world, in which the load has begun.
#[derive(Debug)]
pub struct Running {
    /// The world; the load began when it was handed out.
    pub world: World<SessionEndpoint>,
    flows: Flows,
}

impl Running {
    /// Brings the links of `cell` up and begins to send one second after the beginning of time.
    #[must_use]
    pub fn start(cell: &Cell) -> Self {
        let links = cell.lines.iter().map(|line| line.link.clone()).collect();
        let mut world = Tunnel::v2(links).with(|config| config.mtu = MTU).start_up(cell.seed);
        world.set_inner_mtu(usize::from(MTU));
        world.run_until(Instant::from_secs(1));
        for (index, line) in cell.lines.iter().enumerate() {
            world.schedule(index, line.schedule(secs(cell.seconds)));
        }
        let flows = cell.load.start(&mut world, cell.from, cell.udp_mbit);
        Self { world, flows }
    }

    /// Mbit/s of payload that the load, requests and sparse flows apart, got between two moments.
    #[must_use]
    pub fn mbit(&self, from: Instant, to: Instant) -> f64 {
        mbit(&self.world, &self.flows, from, to)
    }

    /// The sender of the first TCP flow of the load.
    #[must_use]
    pub fn first_sender(&self) -> Option<&TcpSender> {
        self.flows.transfers.first().map(|&flow| self.world.tcp(flow).sender())
    }
}

/// Runs `cell` over all its links.
pub(super) fn run(cell: &Cell) -> Outcome {
    let Running { mut world, flows } = Running::start(cell);
    world.run_for(secs(cell.seconds));
    world.oracle().assert_clean();
    Outcome {
        mbit: halves(cell).map(|(from, to)| mbit(&world, &flows, from, to)),
        answers: answers(&world, &flows),
        sparse: sparse(&world, cell, &flows),
        residual_ppm: residual_ppm(&world, cell),
        reordered: world.oracle().reordered(),
        silence: silence(&world, &flows),
        resent: resent(&world, cell),
        held: world.oracle().held_max(),
    }
}

fn halves(cell: &Cell) -> [(Instant, Instant); 2] {
    let [start, middle, end] =
        [0, cell.seconds / 2, cell.seconds].map(|at| Instant::from_secs(1 + at));
    [(start, middle), (middle, end)]
}

fn mbit(world: &World<SessionEndpoint>, flows: &Flows, from: Instant, to: Instant) -> f64 {
    let tcp: f64 =
        flows.transfers.iter().map(|&flow| world.tcp(flow).progress().rate(from, to)).sum();
    let packets = flows.udp.map_or(0, |flow| world.udp_flow(flow).arrivals_within(from, to));
    let udp = (packets * UDP_SIZE * 8) as f64 / to.saturating_since(from).as_secs_f64();
    (tcp + udp) / 1e6
}

fn answers(world: &World<SessionEndpoint>, flows: &Flows) -> [Duration; 2] {
    let times = flows.users.iter().flat_map(|&user| world.request_times(user));
    let mut times: Vec<Duration> = times.copied().collect();
    times.sort_unstable();
    let rank = (times.len() * 95).div_ceil(100).saturating_sub(1);
    let mean = times.iter().sum::<Duration>() / times.len().max(1) as u32;
    [times.get(rank).copied().unwrap_or_default(), mean]
}

/// Of the sparse flow that fares worst.
fn sparse(world: &World<SessionEndpoint>, cell: &Cell, flows: &Flows) -> [Duration; 2] {
    let way = cell.direction();
    let idle = cell.lines.iter().map(|line| line.link.spec(way).delay).min().unwrap_or_default();
    let reports = flows.sparse.iter().map(|&flow| world.udp_flow(flow).report(world.now()));
    let delays = reports.map(|report| [report.delay_p95, report.delay_p99]);
    delays.fold([Duration::ZERO; 2], |[p95, p99], [own_p95, own_p99]| {
        [p95.max(own_p95.saturating_sub(idle)), p99.max(own_p99.saturating_sub(idle))]
    })
}

fn residual_ppm(world: &World<SessionEndpoint>, cell: &Cell) -> f64 {
    let taken = world.stats(cell.from).from_tun.packets.max(1);
    let peers = world.stats(cell.from.other()).peers;
    let given_up = |lanes: &LaneStats| {
        let holes = lanes.proven_lost + lanes.skipped + lanes.deadline + lanes.overflow;
        holes.saturating_sub(lanes.late)
    };
    let lost: u64 = peers.iter().map(|peer| given_up(&peer.lanes)).sum();
    lost as f64 * 1e6 / taken as f64
}

fn resent(world: &World<SessionEndpoint>, cell: &Cell) -> f64 {
    let stats = world.stats(cell.from);
    let resent: u64 = stats.peers.iter().map(|peer| peer.recovery.resent).sum();
    resent as f64 / stats.from_tun.packets.max(1) as f64
}

fn silence(world: &World<SessionEndpoint>, flows: &Flows) -> Duration {
    let (from, to) = (Instant::from_secs(2), world.now());
    let tcp =
        flows.transfers.iter().map(|&flow| world.tcp(flow).progress().longest_silence(from, to));
    let udp = flows.udp.iter().chain(&flows.sparse);
    let udp = udp.map(|&flow| world.udp_flow(flow).longest_silence(from, to));
    // A sparse packet is always due.
    tcp.chain(udp).max().unwrap_or(millis(0))
}

/// A cell's row: what it came to, compared with the best link alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Payload in the second half, as a share of what the headers leave; none of requests.
    pub share: Option<f64>,
    /// To the best link alone: payload in the first half, or the 95th percentile of requests.
    pub start_ratio: f64,
    /// To the best link alone: payload in the second half, or the mean time of requests.
    pub settled_ratio: f64,
    /// The run itself.
    pub bonded: Outcome,
}

impl Row {
    pub(super) fn new(cell: &Cell, bonded: &Outcome, alone: &[Outcome]) -> Self {
        let payload = if cell.load == Load::Udp { UDP_SIZE as f64 } else { TCP_PAYLOAD };
        let possible = cell.mean_mbit(cell.seconds / 2, cell.seconds) * payload / LINK_MTU;
        let ratio = |half: usize| match cell.load {
            Load::Web => {
                let best = alone.iter().map(|outcome| outcome.answers[half]).min();
                let best = best.unwrap_or_default().as_secs_f64();
                best / bonded.answers[half].as_secs_f64().max(1e-6)
            }
            _ => {
                let best = alone.iter().map(|outcome| outcome.mbit[half]).fold(0.0, f64::max);
                bonded.mbit[half] / best.max(1e-6)
            }
        };
        Self {
            share: (cell.load != Load::Web).then(|| bonded.mbit[1] / possible),
            start_ratio: ratio(0),
            settled_ratio: ratio(1),
            bonded: bonded.clone(),
        }
    }

    /// The lower of both ratios.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.start_ratio.min(self.settled_ratio)
    }
}
