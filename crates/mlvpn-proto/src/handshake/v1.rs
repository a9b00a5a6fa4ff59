//! Version 1: one conversation per link, kept alive by a packet a second.
//!
//! The client asks every second until the server grants. Then both send a keepalive every second
//! and answer those of the other; a link without them for its timeout is down.

use crate::config::Role;
use crate::event::DownReason;
use crate::time::{Duration, Instant};
use crate::wire::v1::Kind;

/// Between two requests, and between two keepalives.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest timeout that a link may have.
const MIN_TIMEOUT: Duration = Duration::from_secs(2);
/// A client that has heard nothing at all for this long asks again while it keeps the link: a
/// server that lost its memory grants at once instead of after the timeout. A C server calls its
/// status command whenever it grants, so a few lost packets must not be enough: it sends a
/// keepalive every two seconds at the least, and answers ours.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The state of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// There is no socket.
    Closed,
    /// The peer has not answered yet, or no longer does.
    Down,
    /// The link carries data.
    Up,
}

/// A change of the link's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Up,
    Down(DownReason),
}

/// What is to be done after an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reaction {
    /// A packet to send.
    pub(crate) send: Option<Kind>,
    /// How the state changed.
    pub(crate) change: Option<Change>,
}

/// Why a conversation wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    Ask,
    Keepalive,
    Expire,
}

/// The conversation on one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversation {
    role: Role,
    timeout: Duration,
    state: State,
    /// When and why the state was entered.
    since: Instant,
    reason: DownReason,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Down {
        next_request: Instant,
        has_asked: bool,
        last_refusal: Option<Instant>,
    },
    Up {
        next_keepalive: Instant,
        /// When the last packet came that keeps the link up.
        last_keepalive: Instant,
        /// When the last authentic packet of any kind came.
        last_heard: Instant,
        last_answer: Option<Instant>,
    },
}

impl Conversation {
    pub(crate) fn new(role: Role, timeout: Duration, now: Instant) -> Self {
        let reason = DownReason::NeverUp;
        Self { role, timeout, state: State::Closed, since: now, reason }.with_timeout(timeout)
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        *self = self.with_timeout(timeout);
    }

    pub(crate) fn state(&self) -> LinkState {
        match self.state {
            State::Closed => LinkState::Closed,
            State::Down { .. } => LinkState::Down,
            State::Up { .. } => LinkState::Up,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// When the present state was entered.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Why the link is not up, or was not before.
    pub(crate) fn reason(&self) -> DownReason {
        self.reason
    }

    /// Whether a request is on its way.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.state, State::Down { has_asked: true, .. })
    }

    /// The link has a socket from now on.
    pub(crate) fn on_opened(&mut self, now: Instant) {
        if matches!(self.state, State::Closed) {
            self.state = State::down(now);
            self.since = now;
        }
    }

    /// The link ends on our side; a link that is up takes leave.
    pub(crate) fn close(&mut self, reason: DownReason, now: Instant) -> Reaction {
        let was_up = self.is_up();
        self.state = State::Closed;
        self.since = now;
        self.reason = reason;
        if !was_up {
            return Reaction::default();
        }
        let send = (reason != DownReason::SocketClosed).then_some(Kind::Disconnect);
        Reaction { send, change: Some(Change::Down(reason)) }
    }

    /// A packet of the peer's current process came.
    pub(crate) fn on_packet(&mut self, kind: Kind, now: Instant) -> Reaction {
        if let State::Up { last_heard, .. } = &mut self.state {
            *last_heard = now;
        }
        match kind {
            Kind::Auth | Kind::AuthOk => self.on_auth(now),
            Kind::Keepalive => self.on_keepalive(now),
            Kind::Disconnect => self.on_disconnect(now),
            Kind::Data if self.is_up() => Reaction::default(),
            Kind::Data => Reaction { send: self.refuse(now), change: None },
        }
    }

    /// A packet came that opened under our key but belongs to no process of the peer that we
    /// know: we have forgotten a peer that believes the link to be up. Tell it.
    pub(crate) fn on_stranger(&mut self, now: Instant) -> Option<Kind> {
        if self.is_up() { None } else { self.refuse(now) }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        match self.state {
            State::Down { next_request, .. } if self.role == Role::Client => {
                Some((next_request, Wake::Ask))
            }
            State::Up { next_keepalive, last_keepalive, .. } => {
                let expiry = last_keepalive + self.timeout;
                Some(if expiry < next_keepalive {
                    (expiry, Wake::Expire)
                } else {
                    (next_keepalive, Wake::Keepalive)
                })
            }
            State::Closed | State::Down { .. } => None,
        }
    }

    /// To be called when [`Self::poll_timeout`] says; sends at most one packet per call.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Reaction {
        match &mut self.state {
            State::Down { next_request, has_asked, .. }
                if self.role == Role::Client && *next_request <= now =>
            {
                *next_request = now + INTERVAL;
                *has_asked = true;
                Reaction { send: Some(Kind::Auth), change: None }
            }
            State::Up { last_keepalive, .. }
                if now.saturating_since(*last_keepalive) >= self.timeout =>
            {
                self.go_down(DownReason::Timeout, now)
            }
            State::Up { next_keepalive, last_heard, .. } if *next_keepalive <= now => {
                *next_keepalive = now + INTERVAL;
                let is_silent = now.saturating_since(*last_heard) >= ASK_AGAIN_AFTER;
                let asks = is_silent && self.role == Role::Client;
                let kind = if asks { Kind::Auth } else { Kind::Keepalive };
                Reaction { send: Some(kind), change: None }
            }
            _ => Reaction::default(),
        }
    }

    fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.max(MIN_TIMEOUT), ..self }
    }

    fn on_auth(&mut self, now: Instant) -> Reaction {
        let send = (self.role == Role::Server).then_some(Kind::AuthOk);
        match &mut self.state {
            State::Closed => Reaction::default(),
            State::Up { last_keepalive, .. } => {
                *last_keepalive = now;
                Reaction { send, change: None }
            }
            State::Down { has_asked: false, .. } if self.role == Role::Client => {
                Reaction::default()
            }
            State::Down { .. } => {
                self.state = State::Up {
                    next_keepalive: now + INTERVAL,
                    last_keepalive: now,
                    last_heard: now,
                    last_answer: None,
                };
                self.since = now;
                Reaction { send, change: Some(Change::Up) }
            }
        }
    }

    fn on_keepalive(&mut self, now: Instant) -> Reaction {
        let State::Up { last_keepalive, last_answer, .. } = &mut self.state else {
            return Reaction { send: self.refuse(now), change: None };
        };
        *last_keepalive = now;
        if last_answer.is_some_and(|at| now.saturating_since(at) < INTERVAL) {
            return Reaction::default();
        }
        *last_answer = Some(now);
        Reaction { send: Some(Kind::Keepalive), change: None }
    }

    fn on_disconnect(&mut self, now: Instant) -> Reaction {
        if self.is_up() {
            self.go_down(DownReason::PeerDisconnected, now)
        } else {
            Reaction::default()
        }
    }

    fn go_down(&mut self, reason: DownReason, now: Instant) -> Reaction {
        self.state = State::down(now);
        self.since = now;
        self.reason = reason;
        Reaction { send: None, change: Some(Change::Down(reason)) }
    }

    /// A server whose link is down tells the peer so, at most once a second: the peer would
    /// otherwise believe in the link until its timeout.
    fn refuse(&mut self, now: Instant) -> Option<Kind> {
        let State::Down { last_refusal, .. } = &mut self.state else { return None };
        if self.role == Role::Client
            || last_refusal.is_some_and(|at| now.saturating_since(at) < INTERVAL)
        {
            return None;
        }
        *last_refusal = Some(now);
        Some(Kind::Disconnect)
    }
}

impl State {
    fn down(now: Instant) -> Self {
        Self::Down { next_request: now, has_asked: false, last_refusal: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn open(role: Role) -> Conversation {
        let mut talk = Conversation::new(role, Duration::from_secs(5), at(0));
        talk.on_opened(at(0));
        talk
    }

    fn up(role: Role) -> Conversation {
        let mut talk = open(role);
        talk.handle_timeout(at(0));
        let change = talk.on_packet(Kind::AuthOk, at(0)).change;
        assert_eq!(change, Some(Change::Up));
        talk
    }

    #[test]
    fn a_client_asks_every_second_until_it_is_granted() {
        let mut talk = open(Role::Client);
        assert_eq!(talk.on_packet(Kind::AuthOk, at(0)).change, None, "it has not asked");
        assert_eq!(talk.handle_timeout(at(0)).send, Some(Kind::Auth));
        assert_eq!(talk.handle_timeout(at(999)).send, None);
        assert_eq!(talk.handle_timeout(at(1_000)).send, Some(Kind::Auth));
        assert_eq!(talk.on_packet(Kind::AuthOk, at(1_010)).change, Some(Change::Up));
        assert!(talk.is_up());
    }

    #[test]
    fn a_server_grants_at_any_time_and_never_asks() {
        let mut talk = open(Role::Server);
        assert_eq!(talk.poll_timeout(), None);
        let first = Reaction { send: Some(Kind::AuthOk), change: Some(Change::Up) };
        assert_eq!(talk.on_packet(Kind::Auth, at(5)), first);
        let again = Reaction { send: Some(Kind::AuthOk), change: None };
        assert_eq!(talk.on_packet(Kind::Auth, at(6)), again);
    }

    #[test]
    fn a_keepalive_is_answered_once_a_second() {
        let mut talk = up(Role::Server);
        assert_eq!(talk.on_packet(Kind::Keepalive, at(100)).send, Some(Kind::Keepalive));
        assert_eq!(talk.on_packet(Kind::Keepalive, at(1_099)).send, None);
        assert_eq!(talk.on_packet(Kind::Keepalive, at(1_100)).send, Some(Kind::Keepalive));
    }

    #[test]
    fn data_does_not_keep_a_link_up() {
        let mut talk = up(Role::Server);
        for ms in (0..5_000).step_by(500) {
            talk.on_packet(Kind::Data, at(ms));
            assert_eq!(talk.handle_timeout(at(ms)).change, None);
        }
        let change = talk.handle_timeout(at(5_000)).change;
        assert_eq!(change, Some(Change::Down(DownReason::Timeout)));
    }

    #[test]
    fn no_timeout_is_shorter_than_two_seconds() {
        let mut talk = up(Role::Server);
        talk.set_timeout(Duration::ZERO);
        assert_eq!(talk.handle_timeout(at(1_999)).change, None);
        assert!(talk.handle_timeout(at(2_000)).change.is_some());
    }

    #[test]
    fn a_client_that_hears_nothing_asks_again_before_the_timeout() {
        let mut talk = up(Role::Client);
        talk.set_timeout(Duration::from_secs(60));
        let sent: Vec<_> =
            (1..=6).filter_map(|s| talk.handle_timeout(at(s * 1_000)).send).collect();
        assert_eq!(sent[..4], [Kind::Keepalive; 4]);
        assert_eq!(sent[4..], [Kind::Auth; 2]);
    }

    #[test]
    fn a_client_that_hears_data_does_not_ask_again() {
        let mut talk = up(Role::Client);
        talk.set_timeout(Duration::from_secs(60));
        for second in 1..30 {
            talk.on_packet(Kind::Data, at(second * 1_000));
            assert_eq!(talk.handle_timeout(at(second * 1_000)).send, Some(Kind::Keepalive));
        }
    }

    #[test]
    fn a_server_that_forgot_its_client_tells_it_once_a_second() {
        let mut talk = open(Role::Server);
        assert_eq!(talk.on_stranger(at(0)), Some(Kind::Disconnect));
        assert_eq!(talk.on_packet(Kind::Keepalive, at(500)).send, None);
        assert_eq!(talk.on_packet(Kind::Data, at(1_000)).send, Some(Kind::Disconnect));
        assert_eq!(open(Role::Client).on_stranger(at(0)), None);
    }

    #[test]
    fn leave_is_taken_only_of_a_peer_that_was_there() {
        let leave = up(Role::Client).close(DownReason::SessionClosed, at(1));
        assert_eq!(leave.send, Some(Kind::Disconnect));
        assert_eq!(open(Role::Client).close(DownReason::SessionClosed, at(1)), Reaction::default());
        assert_eq!(up(Role::Client).close(DownReason::SocketClosed, at(1)).send, None);
    }

    #[test]
    fn a_disconnected_client_asks_again_at_once() {
        let mut talk = up(Role::Client);
        talk.on_packet(Kind::Disconnect, at(10));
        assert_eq!(talk.poll_timeout(), Some((at(10), Wake::Ask)));
    }
}
