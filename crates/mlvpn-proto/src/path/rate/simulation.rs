//! One sender, one bottleneck, one receiver, packet by packet: what the constants are chosen with.
//!
//! ```text
//!  backlog ─► Pacer, in-flight cap ─► policer, loss ─► drop-tail FIFO ─► delay, jitter ─► receiver
//!                  ▲                                        ▲                                │
//!            RateController ◄────── delay, lost reports ◄───┼──── reports as Receipt makes ──┘
//!                                                  AIMD rival (optional)
//! ```

mod link;
mod record;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::{FeedbackSample, RateController};
use crate::path::pacer::Pacer;
use crate::time::{Duration, Instant};
use link::{Bottleneck, step_at};
pub(super) use link::{LEN, Link, MEGABIT, Random};
pub(super) use record::Record;

/// The receiver's clock is ahead of ours by so much.
const CLOCK_OFFSET: u64 = 7_777_777_777;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake,
    Arrival(u64),
    Report,
    Feedback(usize),
    RivalStart,
    RivalAck,
    RivalLoss,
    Tick,
}

/// The sender, and all that it talks to. Times are µs.
pub(super) struct Simulation {
    link: Link,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    random: Random,
    controller: RateController,
    pacer: Pacer,
    wake_at: u64,
    flight: VecDeque<(u64, bool)>,
    first_in_flight: u64,
    queued: f64,
    queued_at: u64,
    is_limited: bool,
    min_rtt: Option<Duration>,
    bottleneck: Bottleneck,
    receiver: Receiver,
    feedbacks: Vec<(u64, u64, u64, Option<i64>, u64)>,
    rival: Rival,
    record: Record,
    sent: u64,
    lost: u64,
}

#[derive(Default)]
struct Receiver {
    bytes: u64,
    largest: u64,
    largest_at: u64,
    lowest: Option<i64>,
    last_report: u64,
    is_due: bool,
    has_news: bool,
}

#[derive(Default)]
struct Rival {
    window: f64,
    in_flight: u64,
    is_past_slow_start: bool,
    recovered_at: u64,
    delivered: u64,
}

impl Simulation {
    pub(super) fn new(link: Link, controller: RateController) -> Self {
        let rate = controller.rate();
        let mut simulation = Self {
            random: Random::new(link.seed),
            bottleneck: Bottleneck::new(link.seed + 1),
            link,
            now: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            controller,
            pacer: Pacer::new(rate, Instant::ZERO),
            wake_at: 0,
            flight: VecDeque::new(),
            first_in_flight: 0,
            queued: 0.0,
            queued_at: 0,
            is_limited: true,
            min_rtt: None,
            receiver: Receiver::default(),
            feedbacks: Vec::new(),
            rival: Rival::default(),
            record: Record::default(),
            sent: 0,
            lost: 0,
        };
        simulation.schedule(0, Event::Wake);
        simulation.schedule(1_000, Event::Tick);
        if let Some(from) = simulation.link.rival_from_ms {
            simulation.schedule(from * 1_000, Event::RivalStart);
        }
        simulation
    }

    /// Runs until `ms` and tells what happened.
    pub(super) fn run(mut self, ms: u64) -> (Record, RateController) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > ms * 1_000 {
                break;
            }
            self.now = at;
            match event {
                Event::Wake if at == self.wake_at => self.send(),
                Event::Wake => {}
                Event::Arrival(number) => self.on_arrival(number),
                Event::Report => self.report(),
                Event::Feedback(index) => self.on_feedback(index),
                Event::RivalStart => {
                    self.rival.window = 10.0;
                    self.send_rival();
                }
                Event::RivalAck => self.on_rival_ack(),
                Event::RivalLoss => self.on_rival_loss(),
                Event::Tick => self.tick(),
            }
        }
        (self.record, self.controller)
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    fn in_flight(&self) -> u64 {
        self.flight.len() as u64 * LEN
    }

    fn send(&mut self) {
        loop {
            self.fill();
            if self.queued < LEN as f64 {
                self.is_limited = false;
                let offered = step_at(&self.link.demand, self.now).max(1.0);
                let wait = (LEN as f64 - self.queued) / offered * 1e6;
                self.wake(self.now + (wait as u64).clamp(1, 10_000));
                return;
            }
            if self.in_flight() + LEN > self.controller.in_flight_cap() {
                return;
            }
            if !self.pacer.is_open(self.instant()) {
                let late = (self.random.uniform() * self.link.late_us as f64) as u64;
                self.wake(self.pacer.opens_at().as_micros().max(self.now) + late);
                return;
            }
            self.send_packet();
        }
    }

    fn wake(&mut self, at: u64) {
        self.wake_at = at;
        self.schedule(at, Event::Wake);
    }

    fn fill(&mut self) {
        let offered = step_at(&self.link.demand, self.now);
        let time = (self.now - self.queued_at) as f64 / 1e6;
        self.queued_at = self.now;
        self.queued = (self.queued + offered * time).min(3e5);
        if offered.is_infinite() {
            self.queued = 3e5;
        }
    }

    fn send_packet(&mut self) {
        self.queued -= LEN as f64;
        self.pacer.on_sent(LEN as usize, self.controller.rate(), self.instant());
        self.sent += 1;
        let arrival = self.bottleneck.carry(&self.link, self.now);
        let number = self.first_in_flight + self.flight.len() as u64;
        self.flight.push_back((self.now, arrival.is_some()));
        match arrival {
            Some(at) => self.schedule(at, Event::Arrival(number)),
            None => self.lost += 1,
        }
    }

    fn on_arrival(&mut self, number: u64) {
        let Some(index) = number.checked_sub(self.first_in_flight) else { return };
        let sent = self.flight[index as usize].0;
        let drift = (self.now as f64 * self.link.clock_drift_ppm / 1e6) as u64;
        let received = self.now + CLOCK_OFFSET + drift;
        let transit = (received / 64 * 64) as i64 - (sent / 64 * 64) as i64;
        let receiver = &mut self.receiver;
        let is_gap = number > receiver.largest + 1;
        receiver.bytes += LEN;
        receiver.largest = number;
        receiver.largest_at = self.now;
        receiver.lowest = Some(receiver.lowest.map_or(transit, |lowest| lowest.min(transit)));
        receiver.has_news = true;
        let interval = (self.link.rtt_ms * 1_000 / 3).clamp(5_000, 50_000);
        let due = receiver.last_report + if is_gap { 1_000 } else { interval };
        if !receiver.is_due || is_gap {
            receiver.is_due = true;
            self.schedule(due.max(self.now), Event::Report);
        }
    }

    fn report(&mut self) {
        let receiver = &mut self.receiver;
        if !receiver.has_news {
            return;
        }
        (receiver.is_due, receiver.has_news) = (false, false);
        receiver.last_report = self.now;
        let held = self.now - receiver.largest_at;
        let lowest = receiver.lowest.take();
        let report = (receiver.largest, receiver.largest_at, receiver.bytes, lowest, held);
        if self.random.uniform() >= self.link.feedback_loss {
            self.feedbacks.push(report);
            let at = self.now + self.link.rtt_ms * 500;
            self.schedule(at, Event::Feedback(self.feedbacks.len() - 1));
        }
    }

    fn on_feedback(&mut self, index: usize) {
        let (largest, at, bytes, lowest_transit, held) = self.feedbacks[index];
        let (mut acked, mut lost, mut rtt, mut sent_at) = (0, 0, None, None);
        while self.first_in_flight <= largest {
            let Some((sent, is_acked)) = self.flight.pop_front() else { break };
            self.first_in_flight += 1;
            (acked, lost) = if is_acked { (acked + 1, lost) } else { (acked, lost + 1) };
            sent_at = Some(Instant::from_micros(sent));
            rtt = Some(Duration::from_micros(self.now - held - sent));
        }
        self.min_rtt = self.min_rtt.into_iter().chain(rtt).min();
        let sample = FeedbackSample {
            received_bytes: bytes,
            received_at: Instant::from_micros(at + CLOCK_OFFSET),
            sent_at,
            lowest_transit,
            rtt,
            min_rtt: self.min_rtt,
            acked_packets: acked,
            oldest: None,
            longest_packet: LEN,
            lost_packets: lost,
            is_limited: self.is_limited,
        };
        self.controller.on_feedback(&sample, self.instant());
        self.pacer.set_rate(self.controller.rate(), self.instant());
        self.is_limited = self.queued >= LEN as f64;
        self.send();
    }

    fn send_rival(&mut self) {
        while (self.rival.in_flight as f64) < self.rival.window {
            self.rival.in_flight += 1;
            let back = self.link.rtt_ms * 500;
            match self.bottleneck.carry(&self.link, self.now) {
                Some(at) => self.schedule(at + back, Event::RivalAck),
                None => {
                    let known = self.bottleneck.last_arrival.max(self.now) + back + 1_000;
                    self.schedule(known, Event::RivalLoss);
                }
            }
        }
    }

    fn on_rival_ack(&mut self) {
        self.rival.in_flight -= 1;
        self.rival.delivered += LEN;
        let is_past = self.rival.is_past_slow_start;
        self.rival.window += if is_past { 1.0 / self.rival.window } else { 1.0 };
        self.send_rival();
    }

    fn on_rival_loss(&mut self) {
        self.rival.in_flight -= 1;
        if self.now >= self.rival.recovered_at {
            self.rival.window = (self.rival.window * 0.7).max(2.0);
            self.rival.is_past_slow_start = true;
            self.rival.recovered_at = self.bottleneck.last_arrival + self.link.rtt_ms * 500;
        }
        self.send_rival();
    }

    fn tick(&mut self) {
        self.record.queue.push(self.bottleneck.queue_ms(self.now));
        self.record.delivered.push(self.receiver.bytes);
        self.record.sent.push(self.sent);
        self.record.lost.push(self.lost);
        self.record.capacity.push(self.controller.capacity());
        self.record.rival.push(self.rival.delivered);
        self.give_up_old();
        self.schedule(self.now + 1_000, Event::Tick);
    }

    /// What a probe timeout does when everything on its way was lost.
    fn give_up_old(&mut self) {
        let timeout = self.link.rtt_ms * 1_000 + 600_000;
        let mut is_freed = false;
        while self.flight.front().is_some_and(|&(sent, _)| sent + timeout < self.now) {
            self.flight.pop_front();
            self.first_in_flight += 1;
            is_freed = true;
        }
        if is_freed {
            self.send();
        }
    }
}
