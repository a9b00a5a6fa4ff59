//! Numbers for the owner.

use super::links::Link;
use super::sessions::{MAX_RETIRED, SWEEP_AFTER};
use super::{Endpoint, MAX_MESSAGES};
use crate::event::Quality;
use crate::handshake::v1::LinkState;
use crate::id::LinkIndex;
use crate::session::v2::{Session, path::Path};
use crate::stats::{Footprint, LinkStats, SessionStats, Traffic, Version};
use crate::time::Instant;

impl Endpoint {
    /// Numbers as of `now`.
    #[must_use]
    pub fn stats(&self, now: Instant) -> SessionStats {
        let v1 = self.v1.as_ref().map(|v1| v1.stats(now));
        let mut drops = self.drops.clone();
        let (mut from_tun, mut to_tun) = (self.from_tun_count, self.to_tun_count);
        if let Some(v1) = &v1 {
            drops.add_all(&v1.drops);
            from_tun.add(v1.from_tun);
            to_tun.add(v1.to_tun);
        }
        let mut links = v1.as_ref().map(|v1| v1.links.clone()).unwrap_or_default();
        for (index, link) in self.links.iter() {
            let path = self.path_of(index);
            let position = links.iter().position(|stats| stats.link == index);
            match (position, path) {
                (Some(at), None) if self.sessions.is_empty() => {
                    links[at].is_asking |= self.is_asking();
                }
                (Some(at), _) => links[at] = self.link_stats(index, link, path, now),
                (None, _) => links.push(self.link_stats(index, link, path, now)),
            }
        }
        links.retain(|stats| self.links.get(stats.link).is_some());
        links.sort_by_key(|stats| stats.link);
        SessionStats {
            version: match self.sessions.is_empty() {
                true => v1.as_ref().and_then(|v1| v1.version),
                false => Some(Version::V2),
            },
            from_tun,
            to_tun,
            drops,
            resequencer: v1.map(|v1| v1.resequencer).unwrap_or_default(),
            links,
            peers: self.sessions.iter().map(Session::stats).collect(),
        }
    }

    /// How many handshakes a server has answered that were not confirmed yet: at most 4,096.
    #[must_use]
    pub fn pending_handshakes(&self) -> usize {
        self.responder.as_ref().map_or(0, super::responder::Responder::len)
    }

    /// The most of it for one peer. Indices in use are looked through before there are 4,096 more of them.
    pub const MOST_KEPT: Footprint = Footprint {
        indices: MAX_RETIRED + SWEEP_AFTER + 2 * Session::MOST_KEPT.epochs,
        messages: MAX_MESSAGES,
        ..Session::MOST_KEPT
    };

    /// How much is kept.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let sessions = self.sessions.iter().map(Session::footprint);
        let own = Footprint {
            indices: self.sessions.index_count(),
            messages: self.messages.len(),
            ..Footprint::default()
        };
        sessions.fold(own, Footprint::and)
    }

    fn is_asking(&self) -> bool {
        self.initiator.is_some() && self.sessions.is_empty()
    }

    /// The path of a link, the one that is up where there are several.
    fn path_of(&self, link: LinkIndex) -> Option<&Path> {
        self.paths_of(link).max_by_key(|path| (path.is_usable(), path.times.received))
    }

    /// The paths to all peers that are reached over a link.
    fn paths_of(&self, link: LinkIndex) -> impl Iterator<Item = &Path> {
        self.sessions.iter().flat_map(Session::paths).filter(move |p| p.route.link == link)
    }

    fn link_stats(
        &self,
        index: LinkIndex,
        link: &Link,
        path: Option<&Path>,
        now: Instant,
    ) -> LinkStats {
        let counters = path.map(|path| path.counters).unwrap_or_default();
        let rtt = path.map(|path| path.rtt).unwrap_or_default();
        let (mut sent_to_all, mut received_from_all) = (Traffic::default(), Traffic::default());
        for path in self.paths_of(index) {
            sent_to_all.add(path.counters.sent);
            received_from_all.add(path.counters.received);
        }
        LinkStats {
            link: index,
            name: link.config.name.clone(),
            state: match (link.is_open, link.is_up) {
                (true, true) => LinkState::Up,
                (true, false) => LinkState::Down,
                (false, _) => LinkState::Closed,
            },
            is_asking: link.is_open && !link.is_up,
            since: link.since,
            reason: link.last_reason,
            quality: Quality::Good,
            is_used: path.is_some_and(Path::is_up),
            remote: path.map(|path| path.route.remote).or_else(|| self.remote_of(index)),
            sent: counters.sent,
            received: counters.received,
            sent_to_all,
            received_from_all,
            srtt: rtt.estimator.smoothed(),
            rttvar: rtt.estimator.variation(),
            loss_percent: path.map_or(0, |path| (path.received_loss.share(now) * 100.0) as u8),
            delay_behind_fastest_ms: path.and_then(|path| self.behind_fastest_ms(path)),
            disconnects: link.disconnects,
            last_received: path.and_then(|path| path.times.received),
            weight: link.config.weight,
            timeout: link.config.timeout,
            fallback_only: link.config.fallback_only,
            path: path.map(|path| path.stats(now)),
        }
    }

    fn behind_fastest_ms(&self, path: &Path) -> Option<f64> {
        let session = self.sessions.iter().find(|s| s.paths().any(|p| std::ptr::eq(p, path)))?;
        let behind = session.transit().behind_fastest(path.id)?;
        Some(behind.as_secs_f64() * 1e3)
    }
}
