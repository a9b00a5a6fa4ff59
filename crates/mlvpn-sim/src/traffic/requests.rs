//! Requests and responses.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::{FlowId, TcpFlow};
use crate::packet::{FlowAddress, Side, classify};
use crate::rng::Stream;

const REQUEST_PORT: u16 = 8_080;
const RESPONSE_PORT: u16 = 8_081;

/// The client asks, the server answers at once, the client thinks and asks again. Each direction
/// is a connection of its own.
#[derive(Clone, Debug)]
pub struct Requests {
    request: TcpFlow,
    response: TcpFlow,
    habit: Habit,
    /// Bytes of all requests so far, and of all responses to them.
    asked_bytes: u64,
    answer_bytes: u64,
    asked: u64,
    answered: u64,
    ask_at: Option<Instant>,
    asked_at: Instant,
    times: Vec<Duration>,
}

/// What a client asks for, and when.
#[derive(Clone, Debug)]
pub enum Habit {
    /// Always the same.
    Same {
        /// Bytes of a request.
        request: u64,
        /// Bytes of its response.
        response: u64,
        /// From the end of the response to the next request.
        think: Duration,
    },
    /// As people browse: 500 bytes of request, responses of 2 to 512 KB of which as many are between
    /// 2 and 4 as between 256 and 512, and 20 to 500 ms until the next.
    Browsing(Box<Stream>),
}

impl Habit {
    /// Bytes of the next request and of its response.
    fn sizes(&mut self) -> (u64, u64) {
        match self {
            Self::Same { request, response, .. } => (*request, *response),
            Self::Browsing(rng) => {
                let size = 2_000 << rng.below(8);
                (500, size + rng.below(size))
            }
        }
    }

    fn think(&mut self) -> Duration {
        match self {
            Self::Same { think, .. } => *think,
            Self::Browsing(rng) => Duration::from_millis(20 + rng.below(481)),
        }
    }
}

impl Requests {
    /// Asks first at `start`, and again each time some time after the whole response has come.
    #[must_use]
    pub fn new(id: FlowId, mtu: usize, habit: Habit, start: Instant) -> Self {
        let request = id.address(Side::Client, REQUEST_PORT);
        let response = id.address(Side::Server, RESPONSE_PORT);
        Self {
            request: TcpFlow::new(Side::Client, request, mtu, 0),
            response: TcpFlow::new(Side::Server, response, mtu, 0),
            habit,
            asked_bytes: 0,
            answer_bytes: 0,
            asked: 0,
            answered: 0,
            ask_at: Some(start),
            asked_at: start,
            times: Vec::new(),
        }
    }

    /// How long each answered request took, from asking to the last byte of the response.
    #[must_use]
    pub fn times(&self) -> &[Duration] {
        &self.times
    }

    pub(super) fn handle_packet(&mut self, side: Side, packet: &[u8], now: Instant) {
        let Some((address, _)) = classify(packet) else { return };
        let ports = [address.source.port(), address.destination.port()];
        if ports.contains(&REQUEST_PORT) {
            self.request.handle_packet(side, packet, now);
        } else {
            self.response.handle_packet(side, packet, now);
        }
        if self.request.progress().total() == self.asked_bytes && self.answered < self.asked {
            self.answered = self.asked;
            self.response.write(self.answer_bytes - self.response.wanted());
        }
        let is_complete = self.response.progress().total() == self.answer_bytes;
        if is_complete && self.times.len() as u64 + 1 == self.asked {
            self.times.push(now.saturating_since(self.asked_at));
            self.ask_at = Some(now + self.habit.think());
        }
    }

    pub(super) fn handle_refusal(
        &mut self,
        side: Side,
        address: FlowAddress,
        mtu: usize,
        now: Instant,
    ) {
        let ports = [address.source.port(), address.destination.port()];
        let flow =
            if ports.contains(&REQUEST_PORT) { &mut self.request } else { &mut self.response };
        flow.handle_refusal(side, mtu, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.request.handle_timeout(now);
        self.response.handle_timeout(now);
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
            self.asked_at = now;
            self.asked += 1;
            let (request, response) = self.habit.sizes();
            self.asked_bytes += request;
            self.answer_bytes += response;
            self.request.write(request);
        }
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<(Side, Vec<u8>)> {
        self.request.poll_packet(now).or_else(|| self.response.poll_packet(now))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let inner = [self.request.poll_timeout(), self.response.poll_timeout(), self.ask_at];
        inner.into_iter().flatten().min()
    }
}
