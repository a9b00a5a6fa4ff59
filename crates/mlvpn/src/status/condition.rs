//! How a link is, for people: a word, and a sentence where the word leaves a question.

use std::time::Duration;

use super::{LinkLimits, LinkState, LinkStatus, Mode, PathState};

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It carries packets.
    Up,
    /// It is a fallback, and waits until the others fail.
    Standby,
    /// It is up, but loses too much.
    Lossy,
    /// It is up, but too slow.
    Slow,
    /// Nothing arrives over it at present.
    Silent,
    /// It waits for the peer.
    Waiting,
    /// It has no socket.
    Down,
    /// It was switched off.
    Off,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Up,
        Self::Standby,
        Self::Lossy,
        Self::Slow,
        Self::Silent,
        Self::Waiting,
        Self::Down,
        Self::Off,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Standby => "standby",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Waiting => "waiting",
            Self::Down => "down",
            Self::Off => "off",
        }
    }
}

impl LinkStatus {
    /// How it is.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let is_suspect = self.path.is_some_and(|path| path.state == PathState::Suspect);
        match self.state {
            _ if self.is_disabled => Condition::Off,
            LinkState::Connected if is_suspect => Condition::Silent,
            LinkState::Connected if self.limits.fallback_only => Condition::Standby,
            LinkState::Connected => Condition::Up,
            LinkState::Lossy => Condition::Lossy,
            LinkState::Slow => Condition::Slow,
            LinkState::WaitingPeer if self.trouble.is_none() => Condition::Waiting,
            LinkState::WaitingPeer | LinkState::Disconnected => Condition::Down,
        }
    }

    /// Why it does not carry packets as the others do, or what is wanted of it; none when it does and nothing
    /// is.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let age = span(self.state_age);
        Some(match self.condition() {
            Condition::Up => return self.limits.wishes(),
            Condition::Standby => "used only while no other link is usable".to_owned(),
            Condition::Lossy => {
                format!("loses too much for {age}; used only while no better one is up")
            }
            Condition::Slow => format!("too slow for {age}; used only while no better one is up"),
            Condition::Silent => {
                "nothing arrives at present; the others carry its packets, and it is probed".into()
            }
            Condition::Off => {
                format!("switched off by hand; `mlvpn link {} up` switches it on", self.name)
            }
            Condition::Down => match &self.trouble {
                Some(trouble) => format!("no socket: {trouble}"),
                None => format!("down for {age}{}", self.former_end()),
            },
            Condition::Waiting => self.wait(&age),
        })
    }

    fn wait(&self, age: &str) -> String {
        let former = self.former_end();
        if self.mode == Mode::Client {
            let remote = self.remote.map_or_else(|| "the server".to_owned(), |at| at.to_string());
            return format!(
                "no answer from {remote} for {age}{former}; see whether the server runs there, and UDP passes"
            );
        }
        let host = self.attachment.bind_host.as_deref().unwrap_or("any address");
        let port = self.attachment.bind_port.unwrap_or(0);
        format!("nobody has come to {host}, port {port}, for {age}{former}")
    }

    /// Why it went down, if it was up.
    fn former_end(&self) -> String {
        let why = self.last_down_reason.as_ref();
        why.map(|why| format!(" (went down: {why})")).unwrap_or_default()
    }
}

impl LinkLimits {
    /// What is wanted of the link beyond what it can do.
    fn wishes(&self) -> Option<String> {
        let rate = self.max_rate.map(|rate| {
            format!("limited to {:.1} Mbit/s in each direction", rate as f64 * 8.0 / 1e6)
        });
        let cost = (self.cost_ms > 0).then(|| format!("costs {} ms", self.cost_ms));
        let metered = self.metered.then(|| {
            "metered: used for what the others have no room for, and while they are down".to_owned()
        });
        let all: Vec<_> = [metered, cost, rate].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// A time span in its two largest units: `42 s`, `3 min 12 s`, `2 h 14 min`, `5 d 3 h`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {} h", hours % 24),
        () if hours > 0 => format!("{hours} h {} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        () => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::sample_link;

    fn link(change: impl FnOnce(&mut LinkStatus)) -> LinkStatus {
        let mut link = sample_link("lte");
        link.path = None;
        link.last_down_reason = None;
        link.state_age = Duration::from_secs(192);
        change(&mut link);
        link
    }

    #[test]
    fn every_condition_but_up_is_explained() {
        let off = link(|l| l.is_disabled = true);
        let silent = link(|l| l.path = sample_link("x").path);
        let standby = link(|l| l.limits.fallback_only = true);
        let lossy = link(|l| l.state = LinkState::Lossy);
        let slow = link(|l| l.state = LinkState::Slow);
        let asking = link(|l| {
            l.state = LinkState::WaitingPeer;
            l.last_down_reason = Some("timeout".to_owned());
        });
        let server = link(|l| {
            l.state = LinkState::WaitingPeer;
            l.mode = Mode::Server;
        });
        let troubled = link(|l| {
            l.state = LinkState::WaitingPeer;
            l.trouble = Some("usb0: no such device".to_owned());
        });
        let down = link(|l| l.state = LinkState::Disconnected);
        let all = [off, silent, standby, lossy, slow, asking, server, troubled, down];
        let lines = all.map(|l| format!("{}: {}", l.condition().as_str(), l.remark().unwrap()));
        insta::assert_snapshot!(lines.join("\n"), @r"
        off: switched off by hand; `mlvpn link lte up` switches it on
        silent: nothing arrives at present; the others carry its packets, and it is probed
        standby: used only while no other link is usable
        lossy: loses too much for 3 min 12 s; used only while no better one is up
        slow: too slow for 3 min 12 s; used only while no better one is up
        waiting: no answer from 198.51.100.7:5081 for 3 min 12 s (went down: timeout); see whether the server runs there, and UDP passes
        waiting: nobody has come to 192.0.2.1, port 5080, for 3 min 12 s
        down: no socket: usb0: no such device
        down: down for 3 min 12 s
        ");
        let up = link(|_| {});
        assert_eq!((up.condition(), up.remark()), (Condition::Up, None));
    }

    #[test]
    fn spans_have_two_units() {
        let table = [
            (0, "0 s"),
            (59, "59 s"),
            (192, "3 min 12 s"),
            (8_040, "2 h 14 min"),
            (442_800, "5 d 3 h"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
