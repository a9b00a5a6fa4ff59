//! The data thread's loop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use mlvpn_io::clock::{Clock, unix_time};
use mlvpn_io::poller::{Event as Readiness, Interest, Poller, Token, Waker};
use mlvpn_io::tun::{ReadBuf, Tun};
use mlvpn_io::udp::{Datagram, RecvBatch};
use mlvpn_proto::{
    Endpoint, EndpointConfig, Event, Instant, LinkChange, LinkConfig, LinkIndex, TransmitBuf,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, trace, warn};

use super::socket::{LinkSocket, Progress};
use super::{Command, Report, Stats};
use crate::logging::Throttle;

/// Super-packets read from the tunnel interface before the links are looked at again, and
/// receive calls per link before the others are.
const BUDGET: usize = 8;
/// Messages per receive call; each may be 64 KiB of merged datagrams.
const RECEIVE_SLOTS: usize = 8;
/// Between two reports of the numbers.
const STATS_INTERVAL: Duration = Duration::from_millis(500);

const TUN: Token = Token(0);

/// Everything that packets go through.
pub(super) struct DataPlane {
    clock: Clock,
    poller: Poller,
    tun: Tun,
    endpoint: Endpoint,
    /// By the link's slot in the endpoint.
    sockets: Vec<Option<LinkSocket>>,
    /// The number of the last socket that a link had, by its slot.
    numbers: BTreeMap<LinkIndex, u64>,
    names: BTreeMap<String, LinkIndex>,
    /// Datagrams for which sockets had no room that are closed by now.
    lost_with_sockets: u64,
    read_buf: ReadBuf,
    batch: RecvBatch,
    out: TransmitBuf,
    commands: mpsc::Receiver<Command>,
    reports: UnboundedSender<Report>,
    next_stats: Instant,
    tun_trouble: Throttle,
    is_closing: bool,
}

impl DataPlane {
    pub(super) fn new(
        tun: Tun,
        config: EndpointConfig,
        seed: [u8; 32],
        commands: mpsc::Receiver<Command>,
        reports: UnboundedSender<Report>,
    ) -> std::io::Result<Self> {
        let clock = Clock::new();
        let mut poller = Poller::new(clock)?;
        poller.add(&tun, TUN, Interest::Read)?;
        let now = Instant::from_micros(clock.now_us());
        Ok(Self {
            clock,
            poller,
            tun,
            endpoint: Endpoint::new(dated(config, now), seed),
            sockets: Vec::new(),
            numbers: BTreeMap::new(),
            names: BTreeMap::new(),
            lost_with_sockets: 0,
            read_buf: ReadBuf::new(),
            batch: RecvBatch::new(RECEIVE_SLOTS),
            out: TransmitBuf::new(),
            commands,
            reports,
            next_stats: now,
            tun_trouble: Throttle::new(1, Duration::from_secs(10)),
            is_closing: false,
        })
    }

    /// Ends a wait of the loop.
    pub(super) fn waker(&self) -> Waker {
        self.poller.waker()
    }

    pub(super) fn run(mut self) {
        let reports = self.reports.clone();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.carry()));
        let error = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                self.take_leave();
                Some(error)
            }
            Err(_) => Some("a bug: the data thread panicked; the message is above".to_owned()),
        };
        // Without a receiver the program ends anyway.
        let _ = reports.send(Report::Ended(error));
    }

    /// Carries packets until told to close.
    fn carry(&mut self) -> Result<(), String> {
        let mut ready = Vec::with_capacity(Poller::MAX_EVENTS);
        loop {
            let due = self.endpoint.poll_timeout().map_or(self.next_stats, |(at, _)| at);
            let deadline = due.min(self.next_stats).as_micros();
            let was_woken = self
                .poller
                .wait(&mut ready, Some(deadline))
                .map_err(|error| format!("cannot wait for packets: {error}"))?;
            for event in &ready {
                if event.token == TUN {
                    self.read_tun(*event)?;
                } else {
                    self.serve_link(event.token.0 - 1, *event);
                }
            }
            if was_woken {
                self.obey();
            }
            let now = self.now();
            self.endpoint.handle_timeout(now);
            self.flush();
            if now >= self.next_stats {
                self.next_stats = now + STATS_INTERVAL;
                self.report_stats(now);
            }
            if self.is_closing {
                return Ok(());
            }
        }
    }

    /// Tells the peer on every link, so that it need not wait for the timeout.
    fn take_leave(&mut self) {
        let now = self.now();
        self.endpoint.close(now);
        self.flush();
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.clock.now_us())
    }

    fn read_tun(&mut self, event: Readiness) -> Result<(), String> {
        for _ in 0..BUDGET {
            let now = self.now();
            let Self { tun, endpoint, read_buf, .. } = self;
            match tun.read_packets(read_buf, &mut |packet| endpoint.handle_ip_packet(packet, now)) {
                Ok(_) => self.flush(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if event.is_error || event.is_hangup {
                        return Err(format!("the interface {} was removed", self.tun.name()));
                    }
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(format!("cannot read from {}: {error}", self.tun.name()));
                }
            }
        }
        Ok(())
    }

    fn serve_link(&mut self, slot: usize, event: Readiness) {
        let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) else { return };
        let link = LinkIndex(slot as u16);
        if event.is_error {
            let mtu = socket.drain_errors();
            if let Some(mtu) = mtu {
                let link = socket.name.clone();
                self.report(Report::PathMtu { link, mtu });
            }
        }
        if event.is_writable {
            self.resume_sending(link);
        }
        // An error that is not in the queue goes away by the next call only.
        if event.is_readable || event.is_error {
            self.receive(link);
        }
    }

    fn receive(&mut self, link: LinkIndex) {
        for _ in 0..BUDGET {
            let asked_at = self.now();
            let Self { sockets, endpoint, batch, clock, .. } = self;
            let Some(socket) = sockets[link.slot()].as_mut() else { return };
            let outcome = socket.receive(batch, asked_at);
            let now = Instant::from_micros(clock.now_us());
            let is_drained = match outcome {
                Ok(is_drained) => is_drained,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.fail(link, &error.to_string(), now);
                    return;
                }
            };
            for datagram in batch.datagrams() {
                if datagram.is_truncated {
                    socket.errors += 1;
                } else {
                    let arrived_at = socket.arrived_at(datagram.received_at_us, now);
                    let Datagram { from, data, .. } = datagram;
                    endpoint.handle_kept_datagram(link, from, data, arrived_at, now);
                }
            }
            self.flush();
            if is_drained {
                return;
            }
        }
    }

    /// Passes on everything that the endpoint has to say.
    fn flush(&mut self) {
        self.write_tun();
        // Packets bear the time, and what passes between its reading and their sending seems to be spent in the
        // network.
        let now = self.now();
        while let Some(transmit) = self.endpoint.poll_transmit(&mut self.out, now) {
            let link = transmit.link;
            let Some(socket) = self.sockets.get_mut(link.slot()).and_then(Option::as_mut) else {
                continue;
            };
            let progress = socket.send(self.out.bytes(), transmit.segment_size, transmit.to);
            self.after_send(link, progress, now);
        }
        // What turned out to fit no path is refused while it is sent.
        self.write_tun();
        self.forward_events();
    }

    fn write_tun(&mut self) {
        let mut has_written = false;
        while let Some(packet) = self.endpoint.poll_ip_packet() {
            self.tun.write(packet);
            has_written = true;
        }
        if !has_written {
            return;
        }
        if let Err(error) = self.tun.flush() {
            let now = self.now();
            if let Some(hidden) = self.tun_trouble.on_event(now) {
                let interface = self.tun.name();
                warn!(interface, %error, hidden, "packets for the tunnel interface were lost");
            }
        }
    }

    fn after_send(&mut self, link: LinkIndex, progress: Progress, now: Instant) {
        match progress {
            Progress::Done => {}
            Progress::Blocked => {
                self.endpoint.handle_link_change(link, LinkChange::Blocked, now);
                self.watch(link, Interest::ReadWrite);
            }
            Progress::Failed(error) => self.fail(link, &error, now),
        }
    }

    /// The socket takes packets again: first what had to wait.
    fn resume_sending(&mut self, link: LinkIndex) {
        let now = self.now();
        let Some(socket) = self.sockets[link.slot()].as_mut() else { return };
        match socket.send_pending() {
            Progress::Blocked => {}
            Progress::Failed(error) => self.fail(link, &error, now),
            Progress::Done => {
                self.watch(link, Interest::Read);
                self.endpoint.handle_link_change(link, LinkChange::Unblocked, now);
                self.flush();
            }
        }
    }

    fn watch(&mut self, link: LinkIndex, interest: Interest) {
        let Some(socket) = self.sockets[link.slot()].as_ref() else { return };
        if let Err(error) = self.poller.modify(&socket.udp, token(link), interest) {
            warn!(link = socket.name, %error, "cannot watch the socket");
        }
    }

    /// Closes a socket that is of no use any more.
    fn fail(&mut self, link: LinkIndex, error: &str, now: Instant) {
        if let Some(name) = self.detach(link, now) {
            let socket = self.number_of(link);
            self.report(Report::SocketFailed { link: name, socket, error: error.to_owned() });
        }
    }

    fn detach(&mut self, link: LinkIndex, now: Instant) -> Option<String> {
        let socket = self.sockets.get_mut(link.slot())?.take()?;
        self.lost_with_sockets += socket.udp.queue_drops();
        if let Err(error) = self.poller.remove(&socket.udp) {
            debug!(link = socket.name, %error, "cannot forget the socket");
        }
        self.endpoint.handle_link_change(link, LinkChange::Closed, now);
        // What happened until now was under this socket's number.
        self.forward_events();
        Some(socket.name)
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = self.now();
            trace!(?command, "command");
            match command {
                Command::AddLink(link) => self.add_link(link, now),
                Command::Attach { link, number, socket } => {
                    self.attach(&link, number, socket, now);
                }
                Command::Detach { link, attempt } => {
                    if let Some(&index) = self.names.get(&link) {
                        self.detach(index, now);
                    }
                    self.report(Report::Detached { link, attempt });
                }
                Command::Renew(link) => {
                    self.remove_link(&link.name, now);
                    self.add_link(link, now);
                }
                Command::Remove { link } => self.remove_link(&link, now),
                Command::Retune(link) => {
                    if let Some(&index) = self.names.get(&link.name) {
                        self.endpoint.reconfigure_link(index, link, now);
                    }
                }
                Command::SetFilters(filters) => self.endpoint.set_filters(filters),
                Command::SetMtu(mtu) => self.endpoint.set_mtu(mtu),
                Command::SetReorder(policy) => self.endpoint.set_reorder(policy),
                Command::SetPolicy(policy) => self.endpoint.set_policy(policy, now),
                Command::Replace(config, seed) => self.replace_endpoint(*config, seed, now),
                Command::Close => {
                    self.endpoint.close(now);
                    self.is_closing = true;
                }
            }
            self.flush();
        }
    }

    fn add_link(&mut self, link: LinkConfig, now: Instant) {
        let name = link.name.clone();
        let index = self.endpoint.add_link(link, now);
        self.names.insert(name, index);
    }

    fn attach(&mut self, link: &LinkConfig, number: u64, socket: OwnedFd, now: Instant) {
        let Some(&index) = self.names.get(&link.name) else { return };
        self.detach(index, now);
        self.numbers.insert(index, number);
        let opened = LinkSocket::new(link.name.clone(), socket, self.clock);
        let added = opened.and_then(|socket| {
            self.poller
                .add(&socket.udp, token(index), Interest::Read)
                .map_err(|error| error.to_string())?;
            Ok(socket)
        });
        match added {
            Ok(socket) => {
                if self.sockets.len() <= index.slot() {
                    self.sockets.resize_with(index.slot() + 1, || None);
                }
                self.sockets[index.slot()] = Some(socket);
                self.endpoint.reconfigure_link(index, link.clone(), now);
                self.endpoint.handle_link_change(index, LinkChange::Opened, now);
            }
            Err(error) => {
                let link = link.name.clone();
                self.report(Report::SocketFailed { link, socket: number, error });
            }
        }
    }

    fn remove_link(&mut self, name: &str, now: Instant) {
        let Some(index) = self.names.get(name).copied() else { return };
        self.endpoint.remove_link(index, now);
        self.flush();
        self.detach(index, now);
        self.names.remove(name);
        self.numbers.remove(&index);
    }

    fn replace_endpoint(&mut self, config: EndpointConfig, seed: [u8; 32], now: Instant) {
        self.endpoint.close(now);
        self.flush();
        for slot in 0..self.sockets.len() {
            self.detach(LinkIndex(slot as u16), now);
        }
        self.names.clear();
        self.numbers.clear();
        self.endpoint = self.endpoint.successor(dated(config, now), seed, now);
    }

    fn forward_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            let report = match event {
                Event::SessionUp => Report::SessionUp,
                Event::SessionDown => Report::SessionDown,
                Event::LinkUp { link } => {
                    let (socket, remote) = (self.number_of(link), self.remote_of(link));
                    Report::LinkUp { link: self.name_of(link), socket, remote }
                }
                Event::LinkDown { link, reason } => {
                    let socket = self.number_of(link);
                    Report::LinkDown { link: self.name_of(link), socket, reason }
                }
                Event::LinkQuality { link, quality } => {
                    Report::LinkQuality { link: self.name_of(link), quality }
                }
                Event::PeerAddressChanged { link, from, to } => {
                    Report::PeerAddressChanged { link: self.name_of(link), from, to }
                }
                Event::PeerRestarted { link } => Report::PeerRestarted { link: self.name_of(link) },
                Event::PeerReplaced { peer } => Report::PeerReplaced { peer },
                Event::TunnelMtu { mtu } => Report::TunnelMtu { mtu },
                Event::HandshakeTrouble { error } => Report::HandshakeTrouble { error },
                Event::PeerMisfit { error, from } => Report::PeerMisfit { error, from },
            };
            self.report(report);
        }
    }

    fn remote_of(&self, link: LinkIndex) -> Option<SocketAddr> {
        let stats = self.endpoint.stats(self.now());
        stats.links.into_iter().find(|stats| stats.link == link)?.remote
    }

    /// Zero, which no socket has, for a link that had none yet.
    fn number_of(&self, link: LinkIndex) -> u64 {
        self.numbers.get(&link).copied().unwrap_or_default()
    }

    fn name_of(&self, link: LinkIndex) -> String {
        let named = self.names.iter().find(|(_, index)| **index == link);
        named.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn report_stats(&mut self, now: Instant) {
        let errors = |socket: &LinkSocket| (socket.name.clone(), socket.errors);
        let lost = self.sockets.iter().flatten().map(|socket| socket.udp.queue_drops());
        let stats = Stats {
            now,
            socket_queue_full: self.lost_with_sockets + lost.sum::<u64>(),
            session: self.endpoint.stats(now),
            tun: self.tun.stats(),
            socket_errors: self.sockets.iter().flatten().map(errors).collect(),
        };
        self.report(Report::Stats(Box::new(stats)));
    }

    fn report(&self, report: Report) {
        // Without a receiver the program ends anyway.
        let _ = self.reports.send(report);
    }
}

/// The endpoint's clock is the thread's: it learns what the wall clock shows at its origin.
fn dated(mut config: EndpointConfig, now: Instant) -> EndpointConfig {
    let unix = u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX);
    config.unix_micros = unix.saturating_sub(now.as_micros());
    config
}

fn token(link: LinkIndex) -> Token {
    Token(link.slot() + 1)
}
