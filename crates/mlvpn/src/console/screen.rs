//! The status on one screen: at most 80 columns wide, whatever the names are.

use std::fmt::Write as _;
use std::time::Duration;

use mlvpn_proto::Policy;

use super::document::{Link, Peer, Status};
use super::figure::{bytes, megabits, millis, percent, printable};
use crate::status::{Condition, span};

/// Columns that there are.
const WIDTH: usize = 80;
/// Widest name of a link in the table.
const MAX_NAME: usize = 14;
/// Peers that are listed one by one.
const MAX_PEERS: usize = 12;

/// The colours of a terminal, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Off,
    /// With escape sequences of ANSI.
    On,
}

/// The whole screen, ended by a line feed.
#[must_use]
pub fn render(status: &Status, colour: Colour) -> String {
    let mut out = String::new();
    head(&mut out, status);
    peers(&mut out, status);
    out.push('\n');
    table(&mut out, status, colour);
    remarks(&mut out, status);
    out
}

fn head(out: &mut String, status: &Status) {
    let protocol = status.protocol_version.map_or_else(
        || "no link is up".to_owned(),
        |version| format!("protocol version {version}"),
    );
    line(
        out,
        &format!(
            "{} {}, {}, {}, up {}",
            status.name,
            status.version,
            status.mode,
            protocol,
            age(status.uptime_seconds)
        ),
    );
    let rates = status.rate.map_or_else(String::new, |rate| {
        format!(", now {} down and {} up Mbit/s", megabits(rate.received), megabits(rate.sent))
    });
    line(out, &format!("{}, MTU {}{rates}", status.tuntap.name, status.tuntap.mtu));
    line(
        out,
        &format!(
            "{} received and {} sent since the start, {} packets dropped",
            bytes(status.session.bytes_to_tun),
            bytes(status.session.bytes_from_tun),
            status.session.drops.values().sum::<u64>()
        ),
    );
}

fn peers(out: &mut String, status: &Status) {
    for peer in status.peers.iter().take(MAX_PEERS) {
        line(out, &peer_line(peer));
    }
    if let Some(more) = status.peers.len().checked_sub(MAX_PEERS).filter(|more| *more > 0) {
        line(out, &format!("and {more} more peers"));
    }
}

pub(super) fn peer_line(peer: &Peer) -> String {
    let key = peer.public_key.as_deref();
    let who = peer.name.as_deref().or(key).unwrap_or("with the password");
    let software = peer.software.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let policy = peer.policy.as_deref().filter(|policy| *policy != Policy::Bond.as_str());
    let policy = policy.map(|policy| format!(", policy {policy}")).unwrap_or_default();
    format!("peer {who}{policy}{software}: session since {}", age(peer.uptime_seconds))
}

/// Seconds as a time span; nothing for what is none.
pub(super) fn age(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A line of text, cut to the width.
fn line(out: &mut String, text: &str) {
    out.push_str(&cut(&printable(text), WIDTH));
    out.push('\n');
}

/// `text`, or its beginning and an ellipsis.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn table(out: &mut String, status: &Status, colour: Colour) {
    let name = |link: &Link| cut(&printable(&link.name), MAX_NAME);
    let longest = status.tunnels.iter().map(|link| name(link).chars().count()).max();
    let width = longest.unwrap_or(0).max(4);
    writeln!(out, "{:width$}  {:8}{:>13}{:>19}", "", "", "down Mbit/s", "up Mbit/s").expect(FITS);
    writeln!(
        out,
        "{:width$}  {:8}{:>7}{:>6}{:>6}{:>7}{:>6}{:>6}{:>7}{:>6}{:>5}",
        "link", "state", "now", "seen", "loss%", "now", "can", "loss%", "RTT ms", "share", "MTU"
    )
    .expect(FITS);
    let total: u64 = status.tunnels.iter().map(Link::moved).sum();
    for link in &status.tunnels {
        let row = Row::of(link, total);
        let state = paint(&format!("{:8}", row.state), &link.condition, colour);
        writeln!(
            out,
            "{:width$}  {state}{:>7}{:>6}{:>6}{:>7}{:>6}{:>6}{:>7}{:>6}{:>5}",
            name(link),
            row.down,
            row.down_seen,
            row.down_loss,
            row.up,
            row.up_can,
            row.up_loss,
            row.rtt,
            row.share,
            row.mtu
        )
        .expect(FITS);
    }
}

const FITS: &str = "writing to a string cannot fail";

/// The cells of a link; `-` where nothing is known.
struct Row {
    state: String,
    down: String,
    down_seen: String,
    down_loss: String,
    up: String,
    up_can: String,
    up_loss: String,
    rtt: String,
    share: String,
    mtu: String,
}

impl Row {
    fn of(link: &Link, total: u64) -> Self {
        let is_up = !link.is_idle();
        let cell = |text: Option<String>| text.filter(|_| is_up).unwrap_or_else(|| "-".to_owned());
        let rate = link.rate;
        Self {
            state: cut(&printable(&link.condition), 8),
            down: cell(rate.map(|rate| megabits(rate.received))),
            down_seen: cell(link.received_peak.map(megabits)),
            down_loss: cell(link.received_loss().map(percent)),
            up: cell(rate.map(|rate| megabits(rate.sent))),
            up_can: cell(link.capacity_sent().map(megabits)),
            up_loss: cell(link.sent_loss().map(percent)),
            rtt: cell(link.srtt_ms.map(millis)),
            share: cell(link.share(total).map(|share| format!("{:.0}%", share * 100.0))),
            mtu: cell(link.path.as_ref().map(|path| path.mtu.to_string())),
        }
    }
}

fn paint(text: &str, condition: &str, colour: Colour) -> String {
    let known = Condition::ALL.into_iter().find(|known| known.as_str() == condition);
    let code = match known {
        Some(Condition::Up) => 32,
        Some(Condition::Standby) => 36,
        Some(Condition::Down) => 31,
        Some(Condition::Off) => 90,
        _ => 33,
    };
    match colour {
        Colour::Off => text.to_owned(),
        Colour::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
    }
}

/// A line for each link that is not simply up, which says why.
fn remarks(out: &mut String, status: &Status) {
    let remarks = status.tunnels.iter().filter_map(|link| Some((link, link.remark.as_ref()?)));
    for (number, (link, text)) in remarks.enumerate() {
        if number == 0 {
            out.push('\n');
        }
        let name = cut(&printable(&link.name), MAX_NAME);
        wrapped(out, &format!("{name}: {}", printable(text)));
    }
}

/// Text over as many lines as it needs, those after the first indented.
fn wrapped(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split(' ').map(|word| cut(word, WIDTH - 4)) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push_str("\n   ");
            column = 3;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests;
