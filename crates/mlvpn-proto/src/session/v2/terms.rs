//! What both ends want the paths used for (section 4.10): the policy, and what is wanted of each path.
//!
//! The user says it at one end, and it holds in both directions: each end tells the other its own wishes, and
//! both work out the same from the two.

use super::promise::Promise;
use super::receive::is_later;
use super::{PathTerms, Session};
use crate::config::Role;
use crate::id::PathId;
use crate::policy::{LinkTerms, Policy};
use crate::time::Instant;
use crate::wire::v2::{PathStatus, Terms, TermsList};

/// The wishes of both ends.
#[derive(Debug, Default)]
pub(super) struct TermsTable {
    ours: Wishes,
    peers: Wishes,
    our_sequence: u16,
    peer_sequence: Option<u16>,
    /// Entries of a frame that says what this end wants.
    written: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    policy: Option<Policy>,
    paths: [LinkTerms; PathId::COUNT],
}

impl TermsTable {
    /// What holds: a server's wish goes before a client's `[F21]`.
    pub(super) fn policy(&self, role: Role) -> Policy {
        let (server, client) = match role {
            Role::Server => (self.ours.policy, self.peers.policy),
            Role::Client => (self.peers.policy, self.ours.policy),
        };
        server.or(client).unwrap_or_default()
    }

    /// What holds for a path.
    pub(super) fn of(&self, path: PathId) -> LinkTerms {
        self.ours.paths[path.slot()].combined(self.peers.paths[path.slot()])
    }

    /// This end's wish. Returns whether it is news for the peer.
    fn set_policy(&mut self, policy: Option<Policy>) -> bool {
        let is_news = std::mem::replace(&mut self.ours.policy, policy) != policy;
        self.note_change(is_news)
    }

    /// This end's wish for a path. Returns whether it is news for the peer.
    fn set_path(&mut self, path: PathId, terms: LinkTerms) -> bool {
        let is_news = std::mem::replace(&mut self.ours.paths[path.slot()], terms) != terms;
        self.note_change(is_news)
    }

    fn note_change(&mut self, is_news: bool) -> bool {
        if is_news {
            self.our_sequence = self.our_sequence.wrapping_add(1);
            let wanted = self.ours.paths.iter().enumerate();
            let wanted = wanted.filter(|(_, terms)| **terms != LinkTerms::default());
            let wanted = wanted.map(|(slot, terms)| (PathId::from_low_bits(slot as u8), *terms));
            TermsList::write(wanted, &mut self.written);
        }
        is_news
    }

    /// The peer's wishes. Returns whether they are newer than those known `[F20]`.
    fn on_frame(&mut self, frame: &Terms<'_>) -> bool {
        if self.peer_sequence.is_some_and(|known| !is_later(frame.sequence, known)) {
            return false;
        }
        self.peer_sequence = Some(frame.sequence);
        self.peers = Wishes { policy: frame.policy, ..Wishes::default() };
        for (path, terms) in frame.paths.iter() {
            self.peers.paths[path.slot()] = terms;
        }
        true
    }

    /// What this end wants, to be sent.
    pub(super) fn frame(&self) -> Terms<'_> {
        Terms {
            sequence: self.our_sequence,
            policy: self.ours.policy,
            paths: TermsList::of_written(&self.written),
        }
    }
}

impl Session {
    /// How packets are to be given to the paths, if this end has a wish.
    pub(crate) fn set_policy(&mut self, policy: Option<Policy>, now: Instant) {
        if self.terms.set_policy(policy) {
            self.promises.make(Promise::Terms, now);
        }
        self.upload.policy = self.terms.policy(self.role);
    }

    /// What the configuration says of a path.
    pub(crate) fn set_terms(&mut self, id: PathId, terms: PathTerms, now: Instant) {
        if self.terms.set_path(id, terms.link) {
            self.promises.make(Promise::Terms, now);
        }
        if let Some(path) = self.path_mut(id) {
            path.own_limit = terms.max_rate;
        }
        self.impose(id);
        let status = if terms.is_backup { PathStatus::Backup } else { PathStatus::Available };
        self.set_status(id, status, now);
    }

    /// The peer may not have heard what this end wants while nothing came through.
    pub(super) fn repeat_terms(&mut self, now: Instant) {
        if self.terms.our_sequence != 0 {
            self.promises.make(Promise::Terms, now);
        }
    }

    /// The peer says what it wants.
    pub(super) fn on_terms(&mut self, frame: &Terms<'_>) {
        if self.terms.on_frame(frame) {
            self.upload.policy = self.terms.policy(self.role);
            for slot in 0..PathId::COUNT {
                self.impose(PathId::from_low_bits(slot as u8));
            }
        }
    }

    /// What both ends want of a path holds from now on `[F22]`.
    fn impose(&mut self, id: PathId) {
        let terms = self.terms.of(id);
        if let Some(path) = self.path_mut(id) {
            path.terms = terms;
            path.rate.set_limit(path.own_limit.into_iter().chain(terms.max_rate).min());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const PATH: PathId = PathId::from_low_bits(3);

    fn cost(ms: u64) -> LinkTerms {
        LinkTerms { cost: Duration::from_millis(ms), ..LinkTerms::default() }
    }

    #[test]
    fn both_ends_come_to_the_same_conclusion() {
        let [redundant, backup] = [Policy::Redundant, Policy::Backup].map(Some);
        for (client, server, holds) in [
            (None, None, Policy::Bond),
            (redundant, None, Policy::Redundant),
            (redundant, backup, Policy::Backup),
            (redundant, Some(Policy::Bond), Policy::Bond),
        ] {
            let (mut at_client, mut at_server) = (TermsTable::default(), TermsTable::default());
            at_client.set_policy(client);
            at_client.set_path(PATH, cost(5));
            at_server.set_policy(server);
            at_server.set_path(PATH, cost(7));
            assert!(at_client.on_frame(&at_server.frame()));
            assert!(at_server.on_frame(&at_client.frame()));
            assert_eq!(at_client.policy(Role::Client), holds);
            assert_eq!(at_server.policy(Role::Server), holds);
            assert_eq!((at_client.of(PATH), at_server.of(PATH)), (cost(7), cost(7)));
        }
    }

    #[test]
    fn the_latest_frame_counts_and_takes_back_what_it_does_not_say() {
        let (mut sender, mut receiver) = (TermsTable::default(), TermsTable::default());
        assert!(sender.set_path(PATH, cost(5)));
        let mut former = Vec::new();
        let paths = TermsList::write([(PATH, cost(5))].into_iter(), &mut former);
        let former = Terms { paths, ..sender.frame() };
        assert!(receiver.on_frame(&former));
        assert!(sender.set_path(PATH, LinkTerms::default()));
        assert!(!sender.set_path(PATH, LinkTerms::default()), "no news");
        assert!(receiver.on_frame(&sender.frame()));
        assert_eq!(receiver.of(PATH), LinkTerms::default());
        assert!(!receiver.on_frame(&former), "it was overtaken");
        assert_eq!(receiver.of(PATH), LinkTerms::default());
    }
}
