//! What is drawn where. A terminal that is too narrow loses columns, one that is too low events.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::board::{Board, Documents};
use crate::console::document::{Link, Status, Track};
use crate::console::figure::{megabits, millis, percent, printable};
use crate::console::screen::{Colour, age, cut, peer_line};
use crate::status::Condition;

/// Widest name of a link.
const MAX_NAME: usize = 14;
/// Peers that are named in the head.
const MAX_PEERS: usize = 3;
/// Narrowest plot that tells something, in columns.
const MIN_PLOT: u16 = 8;
/// Lines of the head of the table.
const TABLE_HEAD: u16 = 1;
/// Lines that are left for events where links are many.
const MIN_EVENTS: u16 = 4;

const KEYS: &str = "q quit  space pause  arrows select  d down  u up  f fallback";

/// Draws everything; `now` is Unix time in seconds.
pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board, colour: Colour, now: f64) {
    let area = frame.area();
    let paint = Paint(colour);
    let head = head(board, paint);
    let links = board.documents().map_or(0, |documents| table_height(&documents.status));
    let room = area.height.saturating_sub(head.len() as u16 + 2 + TABLE_HEAD);
    let links = links.min(room.saturating_sub(MIN_EVENTS.min(room / 2)));
    let [top, table, events, foot] = Layout::vertical([
        Constraint::Length(head.len() as u16 + 1),
        Constraint::Length(links + TABLE_HEAD),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    draw_links(frame, table, board, paint);
    if let Some(documents) = board.documents() {
        frame.render_widget(Paragraph::new(events_lines(documents, now, paint)), events);
    }
    frame.render_widget(Paragraph::new(foot_line(board, paint)), foot);
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint(Colour);

impl Paint {
    fn with(self, colour: Color) -> Style {
        match self.0 {
            Colour::On => Style::new().fg(colour),
            Colour::Off => Style::new(),
        }
    }

    fn faint(self) -> Style {
        self.with(Color::DarkGray)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn condition(self, condition: &str) -> Style {
        let known = Condition::ALL.into_iter().find(|known| known.as_str() == condition);
        self.with(match known {
            Some(Condition::Up) => Color::Green,
            Some(Condition::Standby) => Color::Cyan,
            Some(Condition::Down) => Color::Red,
            Some(Condition::Off) => Color::DarkGray,
            _ => Color::Yellow,
        })
    }
}

fn head(board: &Board, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    match board.documents() {
        None if board.trouble().is_none() => lines.push(Line::from("asking mlvpn")),
        None => {}
        Some(documents) => lines.extend(head_lines(&documents.status, paint)),
    }
    if let Some(why) = board.trouble() {
        let text = format!("not reachable: {}", printable(why));
        lines.push(Line::styled(text, paint.with(Color::Red).add_modifier(Modifier::BOLD)));
    }
    if board.is_paused() {
        lines.push(Line::styled("paused: space goes on", paint.with(Color::Yellow)));
    }
    lines
}

fn head_lines(status: &Status, paint: Paint) -> Vec<Line<'static>> {
    let protocol = match status.protocol_version {
        Some(version) => format!("protocol version {version}"),
        None => "no link is up".to_owned(),
    };
    let rest = format!(
        " {}, {}, {protocol}, up {}, {} MTU {}",
        status.version,
        status.mode,
        age(status.uptime_seconds),
        status.tuntap.name,
        status.tuntap.mtu
    );
    let name = Span::styled(printable(&status.name), paint.strong());
    let mut lines = vec![Line::from(vec![name, Span::raw(printable(&rest))])];
    for peer in status.peers.iter().take(MAX_PEERS) {
        lines.push(Line::raw(printable(&peer_line(peer))));
    }
    if let Some(more) = status.peers.len().checked_sub(MAX_PEERS).filter(|more| *more > 0) {
        lines.push(Line::raw(format!("and {more} more peers")));
    }
    let rate = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), megabits);
    let down = rate(status.rate.map(|rate| rate.received));
    let up = rate(status.rate.map(|rate| rate.sent));
    lines.push(Line::from(vec![
        Span::raw("down "),
        Span::styled(down, paint.strong()),
        Span::raw(" Mbit/s, up "),
        Span::styled(up, paint.strong()),
        Span::raw(" Mbit/s"),
    ]));
    lines
}

/// A column of the table.
struct Column {
    title: &'static str,
    width: u16,
    /// The smaller, the longer it stays when there is little room.
    rank: u8,
    cell: fn(&Link, u64) -> Option<String>,
}

/// What goes now, and of how much: the most that was received, or what can be sent.
fn of(now: Option<u64>, most: Option<u64>) -> Option<String> {
    let most = most.map_or_else(|| "-".to_owned(), megabits);
    Some(format!("{} / {most}", megabits(now?)))
}

const COLUMNS: [Column; 6] = [
    Column {
        title: "down / seen",
        width: 13,
        rank: 0,
        cell: |link, _| of(link.rate.map(|rate| rate.received), link.received_peak),
    },
    Column {
        title: "up / can",
        width: 13,
        rank: 1,
        cell: |link, _| of(link.rate.map(|rate| rate.sent), link.capacity_sent()),
    },
    Column { title: "RTT ms", width: 7, rank: 2, cell: |link, _| link.srtt_ms.map(millis) },
    Column {
        title: "lost% d / u",
        width: 12,
        rank: 3,
        cell: |link, _| {
            let share = |loss: Option<f64>| loss.map_or_else(|| "-".to_owned(), percent);
            Some(format!("{} / {}", share(link.received_loss()), share(link.sent_loss())))
        },
    },
    Column {
        title: "share",
        width: 6,
        rank: 4,
        cell: |link, total| link.share(total).map(|share| format!("{:.0}%", share * 100.0)),
    },
    Column {
        title: "MTU",
        width: 6,
        rank: 5,
        cell: |link, _| link.path.as_ref().map(|path| path.mtu.to_string()),
    },
];

/// How the width is given away.
struct Widths {
    name: u16,
    /// Columns of this rank and above are left out.
    ranks: u8,
    plot: u16,
}

/// Columns of the mark of the selected link, and of the state with the blanks around it.
const MARK: u16 = 2;
const STATE: u16 = 9;

impl Widths {
    fn of(status: &Status, width: u16) -> Self {
        let names = status.tunnels.iter().map(|link| link.name.chars().count().min(MAX_NAME));
        let name = names.max().unwrap_or(0).max(4) as u16 + 1;
        let mut left = width.saturating_sub(MARK + name + STATE);
        let mut ranks = 0;
        for column in &COLUMNS {
            let Some(rest) = left.checked_sub(column.width) else { break };
            left = rest;
            ranks = column.rank + 1;
        }
        let plot = left.saturating_sub(1);
        Self { name, ranks, plot: if plot < MIN_PLOT { 0 } else { plot } }
    }

    fn columns(&self) -> impl Iterator<Item = &'static Column> {
        let ranks = self.ranks;
        COLUMNS.iter().filter(move |column| column.rank < ranks)
    }
}

fn height(link: &Link) -> u16 {
    1 + u16::from(link.remark.is_some())
}

fn table_height(status: &Status) -> u16 {
    status.tunnels.iter().map(height).fold(0, u16::saturating_add)
}

/// Scrolls so that the selected link is seen.
fn scroll(board: &mut Board, room: u16) {
    let selected = board.selected();
    board.first = board.first.min(selected);
    let Some(documents) = board.documents() else { return };
    let mut used: u16 = 0;
    let mut first = selected;
    for (place, link) in documents.status.tunnels.iter().enumerate().take(selected + 1).rev() {
        used = used.saturating_add(height(link));
        if used > room && place < selected {
            break;
        }
        first = place;
    }
    board.first = board.first.max(first);
}

fn draw_links(frame: &mut Frame<'_>, area: Rect, board: &mut Board, paint: Paint) {
    scroll(board, area.height.saturating_sub(TABLE_HEAD));
    let selected = board.selected();
    let Some(Documents { status, history }) = board.documents() else { return };
    let widths = Widths::of(status, area.width);
    let total = status.tunnels.iter().map(Link::moved).fold(0, u64::saturating_add);
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    frame.render_widget(title_line(&widths, paint), row(0));
    let mut y = TABLE_HEAD;
    for (place, link) in status.tunnels.iter().enumerate().skip(board.first) {
        if y >= area.height {
            break;
        }
        frame.render_widget(link_line(link, place == selected, total, &widths, paint), row(y));
        let track = history.links.iter().find(|track| track.name == link.name);
        if let Some(track) = track.filter(|_| widths.plot > 0) {
            let x = area.right() - widths.plot;
            let place = Rect { x, width: widths.plot, ..row(y) };
            let data = plot(track, usize::from(widths.plot));
            frame.render_widget(
                Sparkline::default().data(data).style(paint.with(Color::Blue)),
                place,
            );
        }
        if let Some(remark) = link.remark.as_ref().filter(|_| y + 1 < area.height) {
            let text = format!("    {}", printable(remark));
            let text = cut(&text, usize::from(area.width));
            frame.render_widget(Line::styled(text, paint.faint()), row(y + 1));
        }
        y += height(link);
    }
}

fn title_line(widths: &Widths, paint: Paint) -> Line<'static> {
    let name = usize::from(widths.name);
    let mut text = format!("  {:name$}{:9}", "link", "state");
    for column in widths.columns() {
        text.push_str(&format!("{:>1$}", column.title, usize::from(column.width)));
    }
    if widths.plot > 0 {
        text.push_str(&format!(" {:>1$}", "last 5 min", usize::from(widths.plot)));
    }
    Line::styled(text, paint.faint())
}

fn link_line(
    link: &Link,
    is_selected: bool,
    total: u64,
    widths: &Widths,
    paint: Paint,
) -> Line<'static> {
    let width = usize::from(widths.name);
    let name = format!("{:width$}", cut(&printable(&link.name), MAX_NAME));
    let state = format!("{:9}", cut(&printable(&link.condition), 8));
    let mut cells = String::new();
    for column in widths.columns() {
        let text = (column.cell)(link, total).filter(|_| !link.is_idle());
        let text = text.unwrap_or_else(|| "-".to_owned());
        cells.push_str(&format!("{text:>0$}", usize::from(column.width)));
    }
    let name_style = if is_selected { paint.strong() } else { Style::new() };
    Line::from(vec![
        Span::raw(if is_selected { "> " } else { "  " }),
        Span::styled(name, name_style),
        Span::styled(state, paint.condition(&link.condition)),
        Span::raw(cells),
    ])
}

/// What went over a link in both directions, in as many columns: of the steps that share one, the most. No
/// measurement is no bar.
fn plot(track: &Track, columns: usize) -> Vec<Option<u64>> {
    let moved = |(sent, received): (&Option<u64>, &Option<u64>)| match (sent, received) {
        (None, None) => None,
        (sent, received) => Some(sent.unwrap_or(0).saturating_add(received.unwrap_or(0))),
    };
    let both = track.columns.sent.iter().zip(&track.columns.received).map(moved);
    let both: Vec<_> = both.collect();
    let steps = crate::status::history::STEPS;
    // The latest at the right edge, whatever the age of the program.
    let missing = steps.saturating_sub(both.len());
    (0..columns)
        .map(|column| {
            let span =
                [column, column + 1].map(|at| (at * steps / columns).saturating_sub(missing));
            both.get(span[0]..span[1].min(both.len())).and_then(|part| part.iter().flatten().max())
        })
        .map(Option::<&u64>::copied)
        .collect()
}

fn events_lines(documents: &Documents, now: f64, paint: Paint) -> Vec<Line<'static>> {
    let events = documents.history.events.iter().rev();
    let line = |event: &crate::console::document::Event| {
        let ago = format!("{:>14} ago  ", age((now - event.unix_seconds).max(0.0)));
        let text = match &event.link {
            Some(link) => format!("{link}: {}", event.text),
            None => event.text.clone(),
        };
        Line::from(vec![Span::styled(ago, paint.faint()), Span::raw(printable(&text))])
    };
    std::iter::once(Line::raw("")).chain(events.map(line)).collect()
}

fn foot_line(board: &Board, paint: Paint) -> Line<'static> {
    if let Some(question) = board.question() {
        let text = format!("{}  y: yes, any other key: no", printable(&question));
        return Line::styled(text, paint.with(Color::Yellow).add_modifier(Modifier::BOLD));
    }
    match board.message() {
        Some(message) => Line::styled(printable(message), paint.strong()),
        None => Line::styled(KEYS, paint.faint()),
    }
}

#[cfg(test)]
mod tests;
