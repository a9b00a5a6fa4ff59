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

/// How long names may take to resolve, and a socket to be opened, before another attempt is made.
const RESOLVE_TIME: Duration = Duration::from_secs(60);
const OPEN_TIME: Duration = Duration::from_secs(10);

/// A link as the control thread sees it.
///
/// Every attempt at a socket has a number that no other attempt of any link has; the socket that
/// comes of it keeps that number. What is told about another attempt or socket than the present
/// one comes too late and is not believed.
#[derive(Debug)]
pub(super) struct LinkControl {
    pub(super) config: Link,
    pub(super) phase: Phase,
    /// The addresses in use or about to be.
    pub(super) endpoints: Option<Endpoints>,
    /// Whether the socket that the data thread has brought the link up.
    pub(super) is_up: bool,
    /// The attempt that is under way.
    pending: Option<u64>,
    /// The socket that the data thread has.
    socket: Option<u64>,
    /// Attempts made.
    attempts: usize,
    retry: Backoff,
    patience: Backoff,
    /// Switched off by hand: it gets no socket.
    is_disabled: bool,
}

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its names are being resolved; until then.
    Resolving { until: Instant },
    /// A socket is being opened; until then.
    Opening { until: Instant },
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
    /// A link for which nothing has been done yet: an attempt is due.
    pub(super) fn new(config: Link, now: Instant) -> Self {
        Self {
            config,
            phase: Phase::Waiting { until: now },
            endpoints: None,
            is_up: false,
            pending: None,
            socket: None,
            attempts: 0,
            retry: RETRY,
            patience: PATIENCE,
            is_disabled: false,
        }
    }

    /// Switches the link off: the attempt under way is given up, and none is made until
    /// [`Self::enable`].
    pub(super) fn disable(&mut self) {
        self.is_disabled = true;
        self.pending = None;
        self.on_detached();
    }

    /// Switches the link on: an attempt is due, as for a new one.
    pub(super) fn enable(&mut self, now: Instant) {
        *self = Self::new(self.config.clone(), now);
    }

    /// Whether it is switched off.
    pub(super) fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    /// Begins another attempt; its names are to be resolved.
    pub(super) fn begin(&mut self, attempt: u64, now: Instant) {
        self.pending = Some(attempt);
        self.attempts += 1;
        self.phase = Phase::Resolving { until: now + RESOLVE_TIME };
    }

    /// Whether this attempt is the one under way.
    pub(super) fn awaits(&self, attempt: u64) -> bool {
        self.pending == Some(attempt)
    }

    /// Whether the data thread has this socket.
    pub(super) fn has(&self, socket: u64) -> bool {
        self.socket == Some(socket)
    }

    /// The names are resolved. Returns the address to bind to.
    pub(super) fn on_resolved(
        &mut self,
        found: Result<Vec<Endpoints>, ResolveError>,
        now: Instant,
    ) -> Result<SocketAddr, ResolveError> {
        match found {
            Ok(candidates) => {
                let turn = self.attempts.saturating_sub(1) % candidates.len();
                self.endpoints = Some(candidates[turn]);
                self.phase = Phase::Opening { until: now + OPEN_TIME };
                Ok(candidates[turn].bind)
            }
            Err(error) => {
                self.wait(now);
                Err(error)
            }
        }
    }

    /// The socket of this attempt is with the data thread, in place of the former one.
    pub(super) fn on_attached(&mut self, attempt: u64, mode: Mode, now: Instant) {
        self.pending = None;
        self.on_detached();
        self.socket = Some(attempt);
        let until = (mode == Mode::Client).then(|| now + self.patience.take());
        self.phase = Phase::Attached { until };
    }

    /// The data thread was told to give up its socket.
    pub(super) fn on_detached(&mut self) {
        self.socket = None;
        self.is_up = false;
    }

    /// A socket failed and is closed. Another one may be on its way already.
    pub(super) fn on_failed(&mut self, socket: u64, now: Instant) {
        if self.has(socket) {
            self.on_detached();
            if self.pending.is_none() {
                self.wait(now);
            }
        }
    }

    /// The attempt came to nothing; another one is made later.
    pub(super) fn wait(&mut self, now: Instant) {
        self.pending = None;
        self.phase = Phase::Waiting { until: now + self.retry.take() };
    }

    /// A socket brought the link up: it stays, and an attempt at another one is given up.
    pub(super) fn on_up(&mut self, socket: u64) {
        if self.has(socket) {
            self.is_up = true;
            self.pending = None;
            self.retry = RETRY;
            self.patience = PATIENCE;
            self.phase = Phase::Attached { until: None };
        }
    }

    /// The link is down although its socket may work. A client whose server fell silent tries
    /// another socket at once: the server may have moved, or a router on the way lost its mapping.
    /// One that was sent away gives the server time to come back.
    pub(super) fn on_down(&mut self, socket: u64, mode: Mode, reason: DownReason, now: Instant) {
        if !self.has(socket) {
            return;
        }
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
            _ if self.is_disabled => None,
            Phase::Attached { until } => until,
            Phase::Resolving { until } | Phase::Opening { until } | Phase::Waiting { until } => {
                Some(until)
            }
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
        let mut config = crate::config::parse("t", text.as_bytes()).unwrap().config;
        LinkControl::new(config.links.remove(0), Instant::now())
    }

    fn endpoints(last: u8) -> Endpoints {
        let remote = Some(SocketAddr::from(([192, 0, 2, last], 1)));
        Endpoints { bind: "0.0.0.0:0".parse().unwrap(), remote }
    }

    /// A client's link with socket 1, in use since `now`.
    fn attached(now: Instant) -> LinkControl {
        let mut link = link();
        open(&mut link, 1, now);
        link.on_attached(1, Mode::Client, now);
        link
    }

    fn open(link: &mut LinkControl, attempt: u64, now: Instant) {
        link.begin(attempt, now);
        link.on_resolved(Ok(vec![endpoints(1)]), now).unwrap();
    }

    #[test]
    fn failures_are_retried_later_and_later() {
        let now = Instant::now();
        let mut link = attached(now);
        let waits: Vec<_> = (0..7)
            .map(|_| {
                link.wait(now);
                (link.deadline().unwrap() - now).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        link.on_up(1);
        link.wait(now);
        assert_eq!(link.deadline().unwrap() - now, Duration::from_secs(1));
    }

    #[test]
    fn each_attempt_takes_the_next_address() {
        let mut link = link();
        let now = Instant::now();
        let mut seen = Vec::new();
        for attempt in [4, 9, 23] {
            link.begin(attempt, now);
            link.on_resolved(Ok(vec![endpoints(1), endpoints(2)]), now).unwrap();
            seen.push(link.endpoints.unwrap());
        }
        assert_eq!(seen, [endpoints(1), endpoints(2), endpoints(1)]);
    }

    #[test]
    fn a_client_that_was_sent_away_waits_and_then_looks_for_the_server_anew() {
        let now = Instant::now();
        let mut link = attached(now);
        link.on_up(1);
        link.on_down(1, Mode::Client, DownReason::PeerDisconnected, now);
        assert!(!link.is_due(now) && link.is_due(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_client_whose_link_went_down_is_due_at_once_and_a_server_is_not() {
        let now = Instant::now();
        let mut link = attached(now);
        link.on_up(1);
        assert!(!link.is_due(now));
        link.on_down(1, Mode::Client, DownReason::Timeout, now);
        assert!(link.is_due(now));

        link.on_attached(2, Mode::Server, now);
        link.on_up(2);
        link.on_down(2, Mode::Server, DownReason::Timeout, now);
        assert_eq!(link.deadline(), None);
    }

    #[test]
    fn names_and_sockets_that_do_not_come_are_asked_for_again() {
        let mut link = link();
        let now = Instant::now();
        assert!(link.is_due(now), "nothing was tried yet");
        link.begin(1, now);
        assert_eq!(link.deadline(), Some(now + RESOLVE_TIME));
        link.on_resolved(Ok(vec![endpoints(1)]), now).unwrap();
        assert_eq!(link.deadline(), Some(now + OPEN_TIME));
        link.begin(2, now);
        assert!(!link.awaits(1) && link.awaits(2));
    }

    #[test]
    fn a_socket_that_recovers_is_kept_whatever_the_attempt_at_another_had_come_to() {
        let now = Instant::now();
        let begin: fn(&mut LinkControl, Instant) = |link, now| link.begin(2, now);
        for progress in [begin, |link, now| open(link, 2, now), |link, now| link.wait(now)] {
            let mut link = attached(now);
            progress(&mut link, now);
            link.on_up(1);
            assert!(link.is_up && !link.awaits(2));
            assert_eq!(link.phase, Phase::Attached { until: None });
        }
    }

    #[test]
    fn what_is_told_about_a_former_socket_is_not_believed() {
        let now = Instant::now();
        let mut link = attached(now);
        link.on_up(1);
        link.on_detached();
        assert!(!link.is_up);
        open(&mut link, 2, now);
        link.on_up(1);
        assert!(!link.is_up && link.awaits(2));

        link.on_attached(2, Mode::Client, now);
        link.on_up(2);
        link.on_down(1, Mode::Client, DownReason::SocketClosed, now);
        link.on_failed(1, now);
        assert!(link.is_up && link.has(2));
        assert_eq!(link.phase, Phase::Attached { until: None });
    }

    #[test]
    fn a_failed_socket_is_replaced_and_disturbs_no_attempt_under_way() {
        let now = Instant::now();
        let mut link = attached(now);
        link.on_failed(1, now);
        assert_eq!(link.phase, Phase::Waiting { until: now + Duration::from_secs(1) });

        let mut link = attached(now);
        open(&mut link, 2, now);
        link.on_failed(1, now);
        assert!(link.awaits(2) && !link.has(1));
    }
}
