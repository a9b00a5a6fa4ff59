//! When paths come up, are suspect, and go down (section 6.3 of the specification).

use super::migration::{Migration, Verdict};
use super::path::{Path, PathState, Route};
use super::progress::News;
use super::{Session, Shared};
use crate::config::Role;
use crate::id::PathId;
use crate::path::validation::{Token, Validation};
use crate::time::{Duration, Instant};
use crate::wire::v2::Frame;

/// A path that is silent for this long is down `[P8]`.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// Between two looks at a path that would be suspect if another one lived.
const RECHECK: Duration = Duration::from_millis(10);
/// Probes of a suspect path: the first so many in quick succession, at least so far apart.
const QUICK_PROBES: u32 = 5;
const QUICKEST_PROBE: Duration = Duration::from_millis(20);
const SLOW_PROBE: Duration = Duration::from_millis(200);
/// A path that is suspect again within this time relapses.
const RELAPSE_TIME: Duration = Duration::from_secs(10);
/// Relapses that are forgiven, and how long a path is left alone after the next one: doubling.
const FORGIVEN: u32 = 2;
const FIRST_HOLD_DOWN: Duration = Duration::from_secs(1);
const LONGEST_HOLD_DOWN: Duration = Duration::from_secs(30);
/// Keepalives `[P7]`.
const ACTIVE_KEEPALIVE: Duration = Duration::from_secs(1);
const IDLE_KEEPALIVE: Duration = Duration::from_secs(10);
/// At most one change of address a second `[P4]`.
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);
/// A peer from which nothing came for this long, though it was spoken to, may have lost its keys
/// `[H22]`.
const DESERTION: Duration = Duration::from_secs(2);
/// A session whose paths are all down for this long ends `[P9]`.
pub(super) const ABANDONED: Duration = Duration::from_secs(180);

impl Path {
    /// The path's packets come over `to`: look into it, unless that was done a moment ago, or another address
    /// is being looked into and may still answer.
    pub(super) fn begin_migration(&mut self, to: Route, len: usize, now: Instant) {
        if let Some(migration) = &mut self.migration {
            if migration.to == to {
                migration.new.on_received(len);
                return;
            }
            if !migration.is_fruitless(now) {
                return;
            }
        }
        let is_soon = |at: Instant| now.saturating_since(at) < MIGRATION_PAUSE;
        if self.last_migration.is_some_and(is_soon) {
            return;
        }
        self.last_migration = Some(now);
        let mut migration = Migration::new(self.route, to, self.probe_timeout(), now);
        migration.new.on_received(len);
        self.migration = Some(migration);
    }

    /// Since when nothing arrives though something is on its way.
    fn silent_since(&self) -> Option<Instant> {
        self.flight.oldest().map(|oldest| oldest.max(self.progress.at()))
    }

    /// When the path becomes suspect if nothing arrives.
    fn suspect_at(&self) -> Option<Instant> {
        Some(self.doubtful_at()?.max(self.health.recheck))
    }

    /// When it has been silent for longer than it should be.
    fn doubtful_at(&self) -> Option<Instant> {
        let patience = self.progress.patience().unwrap_or_else(|| self.probe_timeout());
        Some(self.silent_since()? + patience)
    }

    fn down_at(&self) -> Option<Instant> {
        Some(self.silent_since()? + SILENCE)
    }

    /// When a PING is due: to keep the path known `[P7]`, behind a repair that nothing else follows, or
    /// since nothing is heard of what was sent and nothing follows it, doubling the time that this has
    /// lasted. The session is active until `active_until`.
    fn ping_at(&self, active_until: Option<Instant>) -> Instant {
        let active = self.times.sent + ACTIVE_KEEPALIVE;
        // What is paid for is kept alive no more often than has to be [F23].
        let is_spared = self.terms.is_metered;
        let is_active = !is_spared && active_until.is_some_and(|until| active < until);
        let keepalive = if is_active { active } else { self.times.sent + IDLE_KEEPALIVE };
        let Some(since) = self.silent_since().filter(|_| self.is_up()) else { return keepalive };
        let lasted = self.times.sent.saturating_since(since);
        let silence = self.times.sent + self.probe_timeout().max(lasted);
        let repair = self.times.repair_probe_at(self.srtt());
        keepalive.min(silence).min(repair.unwrap_or(silence))
    }

    /// Whether silence would put the size of its datagrams in doubt `[Z3]`.
    fn has_doubtful_size(&self) -> bool {
        self.mtu.can_be_doubted() && self.has_large_outstanding()
    }

    /// Whether larger datagrams may be tried: on what is paid for, once.
    fn may_probe_sizes(&self) -> bool {
        !(self.terms.is_metered && self.mtu.is_complete())
    }

    /// Something that was sent has arrived: a path that was suspect is up again, unless that is belated news of what
    /// was before `[P12]`, `[P14]`.
    fn on_news(&mut self, news: News, now: Instant) {
        if self.flight.is_empty() {
            self.times.on_repair_followed();
        }
        if self.state == PathState::Suspect && news.sent_at >= self.since {
            self.progress.expect_from_others();
        }
        if !self.progress.on_news(news, self.srtt(), now) {
            return;
        }
        self.progress.set_patience(self.probe_timeout());
        self.health.is_said_silent = false;
        if self.state == PathState::Suspect {
            self.on_revived(now);
        }
    }

    fn on_revived(&mut self, now: Instant) {
        let was_short = now.saturating_since(self.since) < self.probe_timeout();
        self.enter(PathState::Up, now);
        self.health.next_probe = None;
        if was_short {
            // A false alarm is no relapse.
            self.health.relapses = self.health.relapses.saturating_sub(1);
            self.health.held_down_until = None;
        } else {
            self.rate.on_outage_end(now);
        }
    }

    fn on_suspected(&mut self, now: Instant) {
        let is_relapse = |at: Instant| now.saturating_since(at) < RELAPSE_TIME;
        let relapses = if self.health.suspected.is_some_and(is_relapse) {
            self.health.relapses + 1
        } else {
            0
        };
        self.health.relapses = relapses;
        self.health.suspected = Some(now);
        self.health.probes = 0;
        self.health.next_probe = Some(now);
        if relapses >= FORGIVEN {
            let doublings = (relapses - FORGIVEN).min(5);
            let pause = (FIRST_HOLD_DOWN * 2u32.pow(doublings)).min(LONGEST_HOLD_DOWN);
            self.health.held_down_until = Some(now + pause);
        }
        self.enter(PathState::Suspect, now);
    }

    /// The next probe of a suspect path.
    fn take_probe(&mut self, now: Instant) -> bool {
        let is_due =
            self.state == PathState::Suspect && self.health.next_probe.is_some_and(|at| at <= now);
        if is_due {
            let quick = (self.probe_timeout() / 2).max(QUICKEST_PROBE);
            let wait = if self.health.probes < QUICK_PROBES { quick } else { SLOW_PROBE };
            self.health.probes += 1;
            self.health.next_probe = Some(now + wait);
        }
        is_due
    }
}

impl Session {
    /// A path may carry data from now on.
    pub(super) fn bring_up(&mut self, id: PathId, now: Instant) {
        let Some(path) = self.path_mut(id) else { return };
        path.enter(PathState::Up, now);
        path.has_been_up = true;
        path.progress.restart(now);
        path.health.next_probe = None;
        // Its answer tells the round trip [P10].
        self.push_frame(id, &Frame::Ping);
        self.repeat_terms(now);
        self.has_changed = true;
        self.order.set_path(id, true, now, &mut self.released);
    }

    /// A path carries nothing from now on; what was on its way is sent again elsewhere.
    pub(super) fn take_down(
        &mut self,
        id: PathId,
        state: PathState,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        let role = self.role;
        let Some(path) = self.path_mut(id) else { return };
        path.enter(state, now);
        path.migration = None;
        if state == PathState::Down {
            // Wherever the peer was followed to, it is looked for where it is known to be.
            path.route = path.home.unwrap_or(path.route);
            path.validation = Validation::new(path.route.remote, now);
            if role == Role::Client {
                path.validation.trust();
            }
        }
        self.reinject(id, shared, now);
        self.has_changed = true;
        self.order.set_path(id, false, now, &mut self.released);
        self.outbox.retain(|control| control.path != id || control.to.is_some());
    }

    /// Something that was sent on a path has arrived.
    pub(super) fn on_news(&mut self, id: PathId, news: News, now: Instant) {
        let Some(path) = self.path_mut(id) else { return };
        path.on_news(news, now);
    }

    /// The peer repeated a challenge `[P2]`.
    pub(super) fn on_response(&mut self, id: PathId, route: Route, token: Token, now: Instant) {
        let role = self.role;
        let Some(path) = self.path_mut(id) else { return };
        if let Some(migration) = &mut path.migration {
            migration.on_response(token, route);
        }
        // A server with several addresses may answer from another one. The token proves that it receives
        // at the one of our configuration (RFC 9000 section 8.2.3), and nothing is sent anywhere else.
        let is_ours = role == Role::Client && route.link == path.route.link;
        let is_heard = is_ours || route == path.route;
        let is_answer = is_heard && path.validation.on_response(token, path.route.remote);
        if is_answer && matches!(path.state, PathState::Joining | PathState::Down) {
            path.on_new_route(now);
            self.bring_up(id, now);
        }
    }

    /// Whether the peer may have lost its keys: it is spoken to and says nothing.
    pub(super) fn is_deserted(&self, now: Instant) -> bool {
        self.deserted_at().is_some_and(|at| at <= now)
    }

    pub(super) fn deserted_at(&self) -> Option<Instant> {
        let heard = self.last_received?;
        let used = || self.paths().filter(|path| path.is_usable());
        // What answers to new keys takes a round trip.
        let rtt = self.paths().filter_map(|path| path.rtt.estimator.smoothed()).min();
        let patience = DESERTION.max(rtt.unwrap_or_default() * 2);
        if used().next().is_some() {
            let spoken = used().filter_map(|path| path.flight.oldest()).min()?;
            return Some(heard.max(spoken) + patience);
        }
        let is_tried = |path: &Path| matches!(path.state, PathState::Down | PathState::Joining);
        self.paths().any(is_tried).then_some(heard + patience)
    }

    /// Looks after the life of every path.
    pub(super) fn tend_paths(&mut self, shared: &mut Shared<'_>, now: Instant) {
        for slot in 0..PathId::COUNT {
            let Some(id) = self.paths[slot].as_ref().map(|path| path.id) else { continue };
            self.tend_health(id, shared, now);
            self.tend_migration(id, shared, now);
            self.challenge(id, shared, now);
            self.probe(id, now);
        }
    }

    fn tend_health(&mut self, id: PathId, shared: &mut Shared<'_>, now: Instant) {
        let has_other = self.has_living_other(id, now);
        // Without a key nothing can be sent, and so nothing that would show the silence.
        let is_mute = self.epochs.current(now).is_none();
        let Some(path) = self.path_mut(id) else { return };
        if path.is_usable() && (is_mute || path.down_at().is_some_and(|at| at <= now)) {
            self.take_down(id, PathState::Down, shared, now);
            return;
        }
        let is_silent = path.suspect_at().is_some_and(|at| at <= now)
            || path.health.is_said_silent && !path.flight.is_empty();
        if is_silent && path.has_doubtful_size() {
            path.mtu.on_silence(now);
        }
        if path.is_up() && has_other && is_silent {
            path.on_suspected(now);
            self.reinject(id, shared, now);
        } else if is_silent {
            path.health.recheck = now + RECHECK;
        }
    }

    /// Whether another path is up and nothing speaks against it.
    fn has_living_other(&self, id: PathId, now: Instant) -> bool {
        let is_silent = |path: &Path| path.doubtful_at().is_some_and(|at| at <= now);
        let lives = |path: &Path| path.is_up() && !is_silent(path);
        self.paths().any(|path| path.id != id && lives(path))
    }

    fn tend_migration(&mut self, id: PathId, shared: &mut Shared<'_>, now: Instant) {
        let Some(path) = self.path_mut(id) else { return };
        let Some(migration) = &path.migration else { return };
        match migration.verdict(now) {
            Verdict::Open(_) => {}
            Verdict::Stay => path.migration = None,
            Verdict::Switch => {
                self.reinject(id, shared, now);
                let Some(path) = self.path_mut(id) else { return };
                let migration = path.migration.take().expect("it was looked at just now");
                let former = std::mem::replace(&mut path.route, migration.to);
                path.validation = migration.new;
                path.on_new_route(now);
                if path.state == PathState::Suspect {
                    path.enter(PathState::Up, now);
                }
                self.note_move(migration.to.link, former.remote, migration.to.remote);
                // Its answer tells the round trip, and that what went to the former address is lost.
                self.push_frame(id, &Frame::Ping);
            }
        }
    }

    /// Keepalives, probes of suspect paths, and probes for larger datagrams.
    fn probe(&mut self, id: PathId, now: Instant) {
        let active_until = self.active_until();
        let Some(path) = self.path_mut(id).filter(|path| path.is_usable()) else { return };
        if path.take_probe(now) || path.ping_at(active_until) <= now {
            // Counts as sent now: what is blocked is not asked for again and again.
            path.times.sent = now;
            path.times.on_repair_followed();
            self.push_frame(id, &Frame::Ping);
        }
        let Some(path) = self.path_mut(id).filter(|path| path.is_up()) else { return };
        if !path.may_probe_sizes() {
            return;
        }
        let timeout = path.probe_timeout();
        let probes: Vec<_> = std::iter::from_fn(|| path.mtu.poll_probe(timeout, now)).collect();
        for (probe, size) in probes {
            self.push_mtu_probe(id, probe, size);
        }
    }

    /// When [`Self::tend_paths`] has something to do for `path`.
    pub(super) fn path_timeout(
        &self,
        path: &Path,
        active_until: Option<Instant>,
    ) -> Option<Instant> {
        let usable = path.is_usable();
        let candidates = [
            usable.then(|| path.ping_at(active_until)),
            path.down_at().filter(|_| usable),
            path.suspect_at().filter(|at| {
                path.is_up() && (path.has_doubtful_size() || self.has_living_other(path.id, *at))
            }),
            path.health.next_probe.filter(|_| path.state == PathState::Suspect),
            path.mtu.poll_timeout().filter(|_| path.is_up() && path.may_probe_sizes()),
            self.challenge_timeout(path),
            path.migration.as_ref().map(|migration| match migration.verdict(Instant::ZERO) {
                Verdict::Open(at) => at,
                Verdict::Stay | Verdict::Switch => Instant::ZERO,
            }),
        ];
        candidates.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LinkIndex, PacketNumber};

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A path that brings news about itself each 5 ms, for the last time at 145 ms; what was sent at 140 ms and since
    /// is outstanding. It is suspect when silent for 10 + 5 + 5 ms.
    fn path() -> Path {
        let route = Route { link: LinkIndex(0), remote: "192.0.2.1:5080".parse().unwrap() };
        let mut path = Path::new(PathId::new(0).unwrap(), route, at(0));
        path.enter(PathState::Up, at(50));
        for sent in (90..=135).step_by(5) {
            path.rtt.on_sample(ms(10), at(sent + 10));
            path.on_news(News { sent_at: at(sent), is_own: true }, at(sent + 10));
        }
        for (number, sent) in [140, 145].into_iter().enumerate() {
            path.flight.on_sent(PacketNumber(number as u64), 100, true, None, at(sent));
        }
        path
    }

    /// News over another path, of what was sent at `sent`, with the round trip that it makes.
    fn news_over_another(path: &mut Path, sent: u64, now: u64) {
        path.rtt.on_sample(ms(now - sent), at(now));
        path.on_news(News { sent_at: at(sent), is_own: false }, at(now));
    }

    #[test]
    fn belated_news_does_not_put_off_the_suspicion() {
        let mut path = path();
        let suspect_at = path.suspect_at().unwrap();
        assert!((at(165)..=at(180)).contains(&suspect_at), "{suspect_at:?}");
        let before = path.probe_timeout();
        news_over_another(&mut path, 130, 160);
        assert!(path.probe_timeout() > before + ms(15));
        assert_eq!(path.suspect_at(), Some(suspect_at));
    }

    #[test]
    fn a_suspect_path_is_up_with_news_of_what_was_sent_since_and_stays_so() {
        let mut path = path();
        path.on_suspected(at(170));
        news_over_another(&mut path, 140, 185);
        assert_eq!(path.state, PathState::Suspect);
        news_over_another(&mut path, 175, 220);
        assert_eq!(path.state, PathState::Up);
        assert!(path.suspect_at().unwrap() >= at(220) + ms(45), "{:?}", path.suspect_at());
    }

    #[test]
    fn belated_news_leaves_the_peers_word_that_nothing_comes() {
        let mut path = path();
        path.health.is_said_silent = true;
        news_over_another(&mut path, 135, 160);
        assert!(path.health.is_said_silent);
        path.on_news(News { sent_at: at(145), is_own: true }, at(165));
        assert!(!path.health.is_said_silent);
    }
}
