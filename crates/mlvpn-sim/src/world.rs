//! Two endpoints, the links between them, and the traffic through them, on one virtual clock.
//!
//! ```text
//! host 10.0.0.1 ─ client endpoint ═╦═ WanLink 0 ═╦═ server endpoint ─ host 10.0.0.2
//!                                  ╚═ WanLink 1 ═╝
//! ```
//!
//! A test adds traffic, lets time pass, changes links, and looks at what the traffic measured:
//!
//! ```
//! use mlvpn_sim::link::{LinkSpec, WanLink};
//! use mlvpn_sim::world::{PlainEndpoint, World, secs};
//!
//! let link = WanLink::symmetric(LinkSpec::new(10.0, 20));
//! let mut world = World::new(1, vec![link], PlainEndpoint::new(), PlainEndpoint::new());
//! let download = world.download();
//! world.run_for(secs(5));
//! assert!(world.goodput(download, 2, 5) > 9.0);
//! world.oracle().assert_clean();
//! ```

mod attack;
mod changes;
mod endpoint;
mod flows;
mod network;
mod tunnel;

pub use attack::{Attack, Recording};
pub use endpoint::{Endpoint, Outgoing, PlainEndpoint};
pub use network::{Network, client_address, server_address};
pub use tunnel::{SessionEndpoint, Tunnel};

use core::time::Duration;

use mlvpn_proto::time::Instant;

use crate::link::WanLink;
use crate::oracle::Oracle;
use crate::packet::{FlowAddress, Side, classify, too_big};
use crate::rng::{Seed, fnv1a, fnv1a_extend};
use crate::traffic::{FlowId, Traffic};

/// Steps at one and the same time after which something is taken to be running in circles.
const MAX_STEPS_AT_ONCE: u32 = 100_000;
const MEMORY_CHECK_INTERVAL: Duration = millis(10);

/// The simulation. `E` is what sits at both ends.
#[derive(Debug)]
pub struct World<E: Endpoint> {
    now: Instant,
    seed: Seed,
    ends: [E; 2],
    network: Network,
    traffic: Vec<Traffic>,
    oracle: Oracle,
    events: Vec<(Instant, Side, E::Event)>,
    trace: u64,
    inner_mtu: usize,
    memory_checked: Instant,
}

/// `seconds` as a duration.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `millis` as a duration.
#[must_use]
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl<E: Endpoint> World<E> {
    /// A world at time zero without traffic. Inner packets have at most 1,400 bytes until
    /// [`Self::set_inner_mtu`].
    #[must_use]
    pub fn new(seed: u64, links: Vec<WanLink>, client: E, server: E) -> Self {
        let seed = Seed(seed);
        Self {
            now: Instant::ZERO,
            seed,
            ends: [client, server],
            network: Network::new(links, seed.derive("network")),
            traffic: Vec::new(),
            oracle: Oracle::default(),
            events: Vec::new(),
            trace: fnv1a(b""),
            inner_mtu: 1_400,
            memory_checked: Instant::ZERO,
        }
    }

    /// The largest inner packet of traffic added from now on, in bytes.
    pub fn set_inner_mtu(&mut self, mtu: usize) {
        self.inner_mtu = mtu;
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The seed of everything.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The endpoint at `side`.
    #[must_use]
    pub fn endpoint(&self, side: Side) -> &E {
        &self.ends[side as usize]
    }

    /// The witness of all inner packets.
    #[must_use]
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// What the endpoints reported, and when.
    #[must_use]
    pub fn events(&self) -> &[(Instant, Side, E::Event)] {
        &self.events
    }

    /// A hash of every datagram sent and every inner packet delivered so far, with their times.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace
    }

    /// The links, their addresses and their attackers.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// The event loop.
impl<E: Endpoint> World<E> {
    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass until `end`.
    ///
    /// # Panics
    /// When an endpoint keeps asking to be called at once, without end.
    pub fn run_until(&mut self, end: Instant) {
        self.pump();
        let mut steps = 0;
        while let Some(next) = self.next_event().filter(|&next| next <= end) {
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(
                steps < MAX_STEPS_AT_ONCE,
                "{:?}: time stands still for {:?}",
                self.now,
                self.ends.each_ref().map(E::poll_timeout)
            );
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until `condition` holds, looking each millisecond; for `limit` at most.
    /// Tells whether it holds.
    pub fn run_while_not(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !condition(self) && self.now < end {
            self.run_for(millis(1));
        }
        condition(self)
    }

    fn next_event(&self) -> Option<Instant> {
        let traffic = self.traffic.iter().filter_map(Traffic::poll_timeout);
        let ends = self.ends.iter().filter_map(E::poll_timeout);
        traffic.chain(ends).chain(self.network.next_event()).min()
    }

    fn step(&mut self) {
        let now = self.now;
        self.network.apply_schedules(now);
        while let Some(mut arrival) = self.network.poll_arrival(now) {
            let end = &mut self.ends[arrival.to as usize];
            end.handle_datagram(arrival.link, arrival.from, &mut arrival.payload, now);
            self.pump_endpoint(arrival.to);
        }
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|at| at <= now) {
                end.handle_timeout(now);
            }
        }
        for flow in &mut self.traffic {
            if flow.poll_timeout().is_some_and(|at| at <= now) {
                flow.handle_timeout(now);
            }
        }
        self.pump();
        self.check_memory();
    }

    fn check_memory(&mut self) {
        if self.now < self.memory_checked + MEMORY_CHECK_INTERVAL {
            return;
        }
        self.memory_checked = self.now;
        for side in [Side::Client, Side::Server] {
            let end = &self.ends[side as usize];
            let (held, limit) = (end.held_packets(self.now), end.held_limit());
            self.oracle.on_held(side, held, limit, self.now);
        }
    }

    /// Moves packets until nobody has any.
    fn pump(&mut self) {
        self.pump_endpoint(Side::Client);
        self.pump_endpoint(Side::Server);
        for index in 0..self.traffic.len() {
            self.pump_flow(index);
        }
    }

    fn pump_flow(&mut self, index: usize) {
        while let Some((side, packet)) = self.traffic[index].poll_packet(self.now) {
            self.oracle.on_entered(side, &packet, self.now);
            self.ends[side as usize].handle_ip_packet(&packet, self.now);
            self.pump_endpoint(side);
        }
    }

    /// Drains the endpoint at `side`, and lets the traffic answer to what came out.
    fn pump_endpoint(&mut self, side: Side) {
        let now = self.now;
        let end = &mut self.ends[side as usize];
        while let Some(outgoing) = end.poll_transmit(now) {
            self.trace = trace(self.trace, now, &outgoing.payload);
            self.network.send(side, outgoing, now);
        }
        while let Some(event) = end.poll_event() {
            self.events.push((now, side, event));
        }
        let mut woken = Vec::new();
        while let Some(packet) = self.ends[side as usize].poll_ip_packet() {
            self.trace = trace(self.trace, now, &packet);
            if let Some((address, mtu)) = too_big(&packet) {
                woken.extend(self.pass_refusal(side, address, mtu, now));
                continue;
            }
            self.oracle.on_left(side, &packet, now);
            let flow = classify(&packet).and_then(|(address, _)| FlowId::of(address, side));
            let Some(index) = flow.map(|flow| usize::from(flow.0)) else { continue };
            if let Some(flow) = self.traffic.get_mut(index) {
                flow.handle_packet(side, &packet, now);
                woken.push(index);
            }
        }
        woken.dedup();
        for index in woken {
            self.pump_flow(index);
        }
    }
}

impl<E: Endpoint> World<E> {
    /// The endpoint at `side` refused a packet from `address`. Returns the index of its flow.
    fn pass_refusal(
        &mut self,
        side: Side,
        address: FlowAddress,
        mtu: usize,
        now: Instant,
    ) -> Option<usize> {
        let index = usize::from(FlowId::of(address.reversed(), side)?.0);
        self.traffic.get_mut(index)?.handle_refusal(side, address, mtu, now);
        Some(index)
    }
}

fn trace(hash: u64, now: Instant, bytes: &[u8]) -> u64 {
    let hash = fnv1a_extend(hash, &now.as_micros().to_be_bytes());
    let hash = fnv1a_extend(hash, &bytes.len().to_be_bytes());
    fnv1a_extend(hash, &bytes[..bytes.len().min(64)])
}

#[cfg(test)]
mod tests;
