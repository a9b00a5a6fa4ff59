//! Keeps every link supplied with a socket.
//!
//! A link's life, on the control thread: resolve its names, ask the privileged process for a
//! socket, hand that to the data thread; and again, later and later, whenever it is of no use.

use std::net::SocketAddr;
use std::time::Duration;

use mlvpn_proto::DownReason;
use tokio::time::Instant;

use super::plan::{Endpoints, ResolveError};
use crate::config::{Link, Mode};

/// The first wait before another attempt, and the longest.
const RETRY: Backoff = Backoff { next: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// How long a client gives a socket to bring the link up before it tries another one (another
/// source port, and perhaps another address of the server): the first time, and at most.
const PATIENCE: Backoff =
    Backoff { next: Duration::from_secs(10), longest: Duration::from_secs(60) };

/// A link as the control thread sees it.
#[derive(Debug)]
pub(super) struct LinkControl {
    pub(super) config: Link,
    pub(super) phase: Phase,
    /// Numbers the attempts, so that a late answer to a former one is not taken for the present.
    pub(super) attempt: u64,
    /// The addresses in use or about to be.
    pub(super) endpoints: Option<Endpoints>,
    pub(super) is_up: bool,
    retry: Backoff,
    patience: Backoff,
}

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its names are being resolved.
    Resolving,
    /// A socket is being opened.
    Opening,
    /// It has a socket; a client's is given until then to come up.
    Attached { until: Option<Instant> },
    /// The next attempt is made then.
    Waiting { until: Instant },
}

/// Growing waits.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl LinkControl {
    pub(super) fn new(config: Link) -> Self {
        Self {
            config,
            phase: Phase::Resolving,
            attempt: 0,
            endpoints: None,
            is_up: false,
            retry: RETRY,
            patience: PATIENCE,
        }
    }

    /// Begins another attempt; its names are to be resolved.
    pub(super) fn begin(&mut self) -> u64 {
        self.attempt += 1;
        self.phase = Phase::Resolving;
        self.attempt
    }

    /// The names are resolved. Returns the address to bind to.
    pub(super) fn on_resolved(
        &mut self,
        found: Result<Vec<Endpoints>, ResolveError>,
        now: Instant,
    ) -> Result<SocketAddr, ResolveError> {
        match found {
            Ok(candidates) => {
                let turn = (self.attempt.max(1) - 1) as usize % candidates.len();
                self.endpoints = Some(candidates[turn]);
                self.phase = Phase::Opening;
                Ok(candidates[turn].bind)
            }
            Err(error) => {
                self.wait(now);
                Err(error)
            }
        }
    }

    /// The socket is with the data thread.
    pub(super) fn on_attached(&mut self, mode: Mode, now: Instant) {
        let until = (mode == Mode::Client).then(|| now + self.patience.take());
        self.phase = Phase::Attached { until };
    }

    /// The socket could not be opened, or failed.
    pub(super) fn wait(&mut self, now: Instant) {
        self.phase = Phase::Waiting { until: now + self.retry.take() };
    }

    pub(super) fn on_up(&mut self) {
        self.is_up = true;
        self.retry = RETRY;
        self.patience = PATIENCE;
        if let Phase::Attached { until } = &mut self.phase {
            *until = None;
        }
    }

    /// The link is down although its socket may work. A client whose server fell silent tries
    /// another socket at once: the server may have moved, or a router on the way lost its mapping.
    /// One that was sent away gives the server time to come back.
    pub(super) fn on_down(&mut self, mode: Mode, reason: DownReason, now: Instant) {
        self.is_up = false;
        if let Phase::Attached { until } = &mut self.phase
            && mode == Mode::Client
        {
            let is_silent = reason == DownReason::Timeout;
            *until = Some(if is_silent { now } else { now + self.patience.take() });
        }
    }

    /// When [`Self::is_due`] becomes true.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resolving | Phase::Opening => None,
            Phase::Attached { until } => until,
            Phase::Waiting { until } => Some(until),
        }
    }

    /// Whether another attempt is to be made now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }
}

impl Backoff {
    fn take(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkControl {
        let text = format!(
            "[general]\nmode = \"client\"\npassword = \"{}\"\n\
             [l]\nremotehost = \"192.0.2.1\"\nremoteport = 1\n",
            "x".repeat(40)
        );
        LinkControl::new(crate::config::parse("t", text.as_bytes()).unwrap().config.links.remove(0))
    }

    fn endpoints(last: u8) -> Endpoints {
        let remote = Some(SocketAddr::from(([192, 0, 2, last], 1)));
        Endpoints { bind: "0.0.0.0:0".parse().unwrap(), remote }
    }

    #[test]
    fn failures_are_retried_later_and_later() {
        let mut link = link();
        let now = Instant::now();
        let waits: Vec<_> = (0..7)
            .map(|_| {
                link.wait(now);
                (link.deadline().unwrap() - now).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        link.on_up();
        link.wait(now);
        assert_eq!(link.deadline().unwrap() - now, Duration::from_secs(1));
    }

    #[test]
    fn each_attempt_takes_the_next_address() {
        let mut link = link();
        let now = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..3 {
            link.begin();
            link.on_resolved(Ok(vec![endpoints(1), endpoints(2)]), now).unwrap();
            seen.push(link.endpoints.unwrap());
        }
        assert_eq!(seen, [endpoints(1), endpoints(2), endpoints(1)]);
    }

    #[test]
    fn a_client_that_was_sent_away_waits_and_then_looks_for_the_server_anew() {
        let now = Instant::now();
        let mut link = link();
        link.on_attached(Mode::Client, now);
        link.on_up();
        link.on_down(Mode::Client, DownReason::PeerDisconnected, now);
        assert!(!link.is_due(now) && link.is_due(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_client_whose_link_went_down_is_due_at_once_and_a_server_is_not() {
        let now = Instant::now();
        let mut link = link();
        link.on_attached(Mode::Client, now);
        link.on_up();
        assert!(!link.is_due(now));
        link.on_down(Mode::Client, DownReason::Timeout, now);
        assert!(link.is_due(now));

        link.on_attached(Mode::Server, now);
        link.on_up();
        link.on_down(Mode::Server, DownReason::Timeout, now);
        assert_eq!(link.deadline(), None);
    }
}
