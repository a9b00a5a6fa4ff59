//! The worker: the process without rights that carries the data.
//!
//! Its main thread is the control thread: it keeps the links supplied with sockets, follows what
//! the data thread reports, serves the status, and asks the privileged process for what it may
//! not do itself.

mod confinement;
mod heartbeat;
mod mtu;
mod reload;
mod status;
mod switch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use mlvpn_io::sandbox::Fences;
use mlvpn_io::tun::Tun;
use mlvpn_proto::crypto::keypair::PublicKey;
use mlvpn_proto::{DownReason, Quality};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::data::{Command, DataThread, Report};
use super::ipc::{Peer, Received, StartOrder, ToPrivileged, ToWorker, fds_as_config};
use super::links::LinkControl;
use super::mtu::MtuPlan;
use super::plan::{self, Endpoints, ResolveError};
use super::title::Title;
use crate::config::{self, Config, Host};
use crate::control::{ControlConfig, ControlServer, Desk, Request};
use crate::hook::HookEvent;
use crate::logging::{self, LogOptions};
use crate::status::StatusSnapshot;
use crate::status::history::EventKind;
use heartbeat::Heartbeat;
use status::StatusBoard;
use switch::Switches;

/// Requests that may wait.
const REQUESTS: usize = 16;

/// Runs the worker over the channel to the privileged process.
pub(super) fn run(peer: Peer) -> anyhow::Result<()> {
    let Some(Received { message: ToWorker::Start(order), fds }) = peer.receive()? else {
        bail!("the privileged process said something else than to start");
    };
    let fds = <[OwnedFd; 3]>::try_from(fds);
    let [file, keys, tun] = fds
        .map_err(|fds| anyhow!("{} descriptors came with the order to start, not 3", fds.len()))?;
    let config = fds_as_config(&order.config_name, [file, keys])?;
    start_logging(&order)?;
    let (mut control, failures) = ControlServer::bind(&control_config(&config));
    failures.iter().for_each(|failure| warn!("{failure}"));
    let name = order.name.clone().unwrap_or_else(|| "mlvpn".to_owned());
    Title::new(&name, order.natural_title).show("starting");
    confinement::give_up_rights(order.user.as_deref())?;
    if let Some((Host::Name(host), port)) = &config.general.control.http
        && let Err(failure) = control.open_tcp(host, *port)
    {
        warn!("{failure}");
    }
    let fences = confinement::confine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let worker = Worker::new(&order, config, peer, (tun, fences))?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let desk = Desk {
            status: worker.board.subscribe(),
            history: worker.board.history(),
            requests: worker.requests.0.clone(),
        };
        let serving = tokio::spawn(control.run(desk, async {
            // Resolves when the sender is dropped, too.
            let _ = stopped.await;
        }));
        let done = worker.run().await;
        drop(stop);
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the status is not served"),
            Err(error) => warn!(%error, "the status server broke"),
        }
        done
    });
    // A name that is still being resolved holds up nothing.
    runtime.shutdown_background();
    done
}

fn start_logging(order: &StartOrder) -> anyhow::Result<()> {
    let options = LogOptions {
        debug: order.debug,
        verbosity: i32::from(order.verbosity),
        tokens: order.debug_tokens.clone(),
        name: order.name.clone(),
    };
    logging::init(&options, std::process::id())?;
    Ok(())
}

fn control_config(config: &Config) -> ControlConfig {
    let control = &config.general.control;
    ControlConfig {
        unix_path: control.unix_path.clone(),
        // What a name server says about a name is not for root to read.
        tcp: control.http.as_ref().and_then(|(host, port)| match host {
            Host::Address(address) => Some((address.to_string(), *port)),
            Host::Name(_) => None,
        }),
        token: control.token.clone(),
        ..ControlConfig::default()
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

struct Worker {
    config: Config,
    config_name: String,
    peer: Arc<Peer>,
    orders: mpsc::UnboundedReceiver<Order>,
    data: DataThread,
    reports: mpsc::UnboundedReceiver<Report>,
    resolved: (mpsc::UnboundedSender<Resolved>, mpsc::UnboundedReceiver<Resolved>),
    /// What people want by way of the control socket.
    requests: (mpsc::Sender<Request>, mpsc::Receiver<Request>),
    links: BTreeMap<String, LinkControl>,
    switches: Switches,
    /// Counts the attempts of all links at a socket, from one.
    attempts: u64,
    mtu: MtuPlan,
    current_mtu: u16,
    board: StatusBoard,
    title: Title,
    heartbeat: Heartbeat,
}

/// What became of resolving a link's names.
struct Resolved {
    link: String,
    attempt: u64,
    found: Result<Vec<Endpoints>, ResolveError>,
}

impl Worker {
    fn new(
        order: &StartOrder,
        config: Config,
        peer: Peer,
        (tun, fences): (OwnedFd, Fences),
    ) -> anyhow::Result<Self> {
        let tun = Tun::from_fd(tun, true).context("the tunnel interface is of no use")?;
        let interface = tun.name().to_owned();
        let mtu = MtuPlan::default();
        let current_mtu = mtu.tunnel_mtu(&config);
        let (sender, reports) = mpsc::unbounded_channel();
        let endpoint = plan::endpoint_config(&config, current_mtu);
        let data = DataThread::start(tun, endpoint, random_seed()?, sender)?;
        let peer = Arc::new(peer);
        let orders = listen(Arc::clone(&peer))?;
        let name = order.name.clone().unwrap_or_else(|| "mlvpn".to_owned());
        let worker = Self {
            board: StatusBoard::new(&name, &config, interface, current_mtu).behind(&fences),
            title: Title::new(&name, order.natural_title),
            config,
            config_name: order.config_name.clone(),
            peer,
            orders,
            data,
            reports,
            resolved: mpsc::unbounded_channel(),
            requests: mpsc::channel(REQUESTS),
            links: BTreeMap::new(),
            switches: Switches::default(),
            attempts: 0,
            mtu,
            current_mtu,
            heartbeat: Heartbeat::new(order.heartbeat),
        };
        worker.tell(&ToPrivileged::SetMtu { mtu: current_mtu });
        Ok(worker)
    }

    async fn run(mut self) -> anyhow::Result<()> {
        for link in self.config.links.clone() {
            self.add_link(link);
        }
        self.update_title();
        self.tell(&ToPrivileged::Ready);
        let mut is_stopping = false;
        loop {
            let deadlines = self.links.values().filter_map(LinkControl::deadline);
            let deadline = deadlines.chain(self.mtu.deadline()).min();
            let wait = async {
                match deadline.filter(|_| !is_stopping) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = self.orders.recv(), if !is_stopping => {
                    if !self.obey(order)? {
                        is_stopping = true;
                        self.data.send(Command::Close);
                    }
                }
                report = self.reports.recv() => match report {
                    Some(Report::Ended(None)) => break,
                    Some(Report::Ended(Some(error))) => bail!(error),
                    Some(report) => self.handle_report(report),
                    None => bail!("the data thread is gone"),
                },
                Some(resolved) = self.resolved.1.recv() => self.handle_resolved(resolved),
                Some(request) = self.requests.1.recv(), if !is_stopping => self.serve(request),
                () = wait => {
                    self.retry_links();
                    self.expire_mtu();
                }
            }
        }
        self.data.join();
        Ok(())
    }

    /// Does what the privileged process wants; `false` when it is time to end.
    fn obey(&mut self, order: Option<Order>) -> anyhow::Result<bool> {
        let Some(order) = order else { return Ok(false) };
        let Received { message, mut fds } =
            order.context("the privileged process is unintelligible")?;
        match (message, fds.pop(), fds.pop()) {
            (ToWorker::Stop, ..) => return Ok(false),
            (ToWorker::Link { link, attempt }, Some(socket), _) => {
                self.attach(&link, attempt, socket);
            }
            (ToWorker::LinkFailed { link, attempt, error }, ..) => {
                self.link_failed(&link, attempt, &error);
            }
            (ToWorker::Reload, Some(keys), Some(file)) => {
                match fds_as_config(&self.config_name, [file, keys]) {
                    Ok(config) => self.reload(config)?,
                    Err(error) => warn!("the configuration is not used: {error}"),
                }
            }
            (message, ..) => warn!(?message, "not understood"),
        }
        Ok(true)
    }

    fn handle_report(&mut self, report: Report) {
        match report {
            Report::LinkUp { link, socket, remote } => self.on_link_up(&link, socket, remote),
            Report::LinkDown { link, socket, reason } => self.on_link_down(&link, socket, reason),
            Report::SessionUp => {
                self.board.on_event(EventKind::SessionUp, None, "the tunnel is up");
                self.hook(HookEvent::TunnelUp, None);
            }
            Report::SessionDown => {
                self.board.on_event(EventKind::SessionDown, None, "the tunnel is down");
                self.hook(HookEvent::TunnelDown, None);
            }
            Report::LinkQuality { link, quality } => self.on_quality(&link, quality),
            Report::PeerAddressChanged { link, from, to } => {
                info!(link, %from, %to, "the peer has another address");
                let text = format!("the peer is at {to}, was at {from}");
                self.board.on_event(EventKind::Peer, Some(&link), text);
                self.learn_mtu(&link, Some(to));
            }
            Report::PeerRestarted { link } => {
                info!(link, "the peer was restarted");
                self.board.on_event(EventKind::Peer, Some(&link), "the peer was restarted");
            }
            Report::PeerReplaced { peer } => self.on_replaced(peer),
            Report::TunnelMtu { mtu } => {
                self.mtu.on_measured(mtu);
                self.apply_mtu();
            }
            Report::HandshakeTrouble { error } => {
                warn!("the server cannot be spoken with: {error}; compare the two configurations");
            }
            Report::PeerMisfit { error, from } => {
                warn!(%from, "somebody asked for a session and does not fit: {error}");
            }
            Report::SocketFailed { link, socket, error } => {
                warn!(link, error, "the socket failed; opening another one");
                self.board.on_trouble(&link, &error);
                if let Some(control) = self.links.get_mut(&link) {
                    control.on_failed(socket, Instant::now());
                }
            }
            Report::Detached { link, attempt } => self.open(link, attempt),
            Report::PathMtu { link, mtu } => {
                self.mtu.on_reported(&link, mtu, Instant::now());
                self.apply_mtu();
            }
            Report::Stats(stats) => {
                status::log_numbers(&stats.session);
                self.note_version(stats.session.version);
                self.board.publish(&self.config, &self.links, &stats);
                if self.heartbeat.is_due(Instant::now()) {
                    self.tell(&ToPrivileged::Alive);
                }
            }
            Report::Ended(_) => unreachable!("handled by the caller"),
        }
    }

    fn on_quality(&mut self, link: &str, quality: Quality) {
        let text = match quality {
            Quality::Good => "link is within its tolerances again",
            Quality::Lossy => "link loses too much; used only while no better one is up",
            Quality::Slow => "link is too slow; used only while no better one is up",
        };
        match quality {
            Quality::Good => info!(link, "{text}"),
            Quality::Lossy | Quality::Slow => warn!(link, "{text}"),
        }
        self.board.on_event(EventKind::LinkQuality, Some(link), text);
    }

    fn on_replaced(&mut self, peer: Option<PublicKey>) {
        const TEXT: &str = "the peer began a new session";
        let Some(peer) = peer else {
            info!("{TEXT}");
            return self.board.on_event(EventKind::SessionUp, None, TEXT);
        };
        info!(%peer, "{TEXT}");
        let known = self.config.peers.iter().find(|known| known.public_key == peer);
        let name = known.map_or_else(|| peer.to_string(), |known| known.name.clone());
        self.board.on_event(EventKind::SessionUp, None, format!("{name} began a new session"));
    }

    fn on_link_up(&mut self, link: &str, socket: u64, remote: Option<SocketAddr>) {
        info!(link, ?remote, "link up");
        self.board.on_event(EventKind::LinkUp, Some(link), "link up");
        if let Some(control) = self.links.get_mut(link).filter(|control| control.has(socket)) {
            control.on_up(socket);
            self.learn_mtu(link, remote);
        }
        self.update_title();
        self.hook(HookEvent::LinkUp, Some(link));
    }

    fn on_link_down(&mut self, link: &str, socket: u64, reason: DownReason) {
        let is_wanted = self.switches.is_disabled(link);
        let why = if is_wanted { "switched off by hand" } else { reason.as_str() };
        warn!(link, reason = why, "link down");
        self.board.on_down(link, reason);
        let text = format!("link down: {why}");
        self.board.on_event(EventKind::LinkDown, Some(link), text);
        let mode = self.config.general.mode;
        if let Some(control) = self.links.get_mut(link) {
            control.on_down(socket, mode, reason, Instant::now());
        }
        self.update_title();
        self.hook(HookEvent::LinkDown, Some(link));
    }

    fn add_link(&mut self, link: config::Link) {
        self.data.send(Command::AddLink(plan::link_config(&link, None)));
        let name = link.name.clone();
        let mut control = LinkControl::new(link, Instant::now());
        if self.switches.is_disabled(&name) {
            control.disable();
        }
        self.links.insert(name.clone(), control);
        self.resolve(&name);
    }

    /// Begins an attempt to open a socket.
    fn resolve(&mut self, name: &str) {
        let Some(link) = self.links.get_mut(name).filter(|link| !link.is_disabled()) else {
            return;
        };
        self.attempts += 1;
        let attempt = self.attempts;
        link.begin(attempt, Instant::now());
        let (config, name) = (link.config.clone(), name.to_owned());
        let done = self.resolved.0.clone();
        tokio::spawn(async move {
            let found = plan::resolve(config).await;
            // Without a receiver the program ends anyway.
            let _ = done.send(Resolved { link: name, attempt, found });
        });
    }

    fn handle_resolved(&mut self, Resolved { link, attempt, found }: Resolved) {
        let Some(control) = self.links.get_mut(&link).filter(|l| l.awaits(attempt)) else {
            return;
        };
        match control.on_resolved(found, Instant::now()) {
            Ok(bind) => {
                if bind.port() == 0 {
                    self.open(link, attempt);
                } else {
                    // The port is free once the former socket is closed, which is answered.
                    control.on_detached();
                    self.data.send(Command::Detach { link, attempt });
                }
            }
            Err(error) => {
                warn!(link, "{error}; trying again later");
                self.board.on_trouble(&link, &error.to_string());
            }
        }
    }

    /// Asks for the socket of an attempt whose names are resolved.
    fn open(&self, link: String, attempt: u64) {
        let control = self.links.get(&link).filter(|control| control.awaits(attempt));
        let Some(endpoints) = control.and_then(|control| control.endpoints) else { return };
        debug!(link, ?endpoints, "opening a socket");
        self.tell(&ToPrivileged::OpenLink { link, attempt, bind: endpoints.bind });
    }

    fn attach(&mut self, name: &str, attempt: u64, socket: OwnedFd) {
        let mode = self.config.general.mode;
        let Some(link) = self.links.get_mut(name).filter(|link| link.awaits(attempt)) else {
            return;
        };
        link.on_attached(attempt, mode, Instant::now());
        self.board.on_socket(name);
        let remote = link.endpoints.and_then(|endpoints| endpoints.remote);
        let config = plan::link_config(&link.config, remote);
        self.data.send(Command::Attach { link: config, number: attempt, socket });
        self.learn_mtu(name, remote);
    }

    fn link_failed(&mut self, name: &str, attempt: u64, error: &str) {
        if let Some(link) = self.links.get_mut(name).filter(|link| link.awaits(attempt)) {
            warn!(link = name, error, "no socket; trying again later");
            link.wait(Instant::now());
            self.board.on_trouble(name, error);
        }
    }

    fn retry_links(&mut self) {
        let now = Instant::now();
        let due = self.links.iter().filter(|(_, link)| link.is_due(now));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            debug!(link = name, "trying another socket");
            self.resolve(&name);
        }
    }

    fn hook(&self, event: HookEvent, link: Option<&str>) {
        self.tell(&ToPrivileged::Hook { event, link: link.map(str::to_owned) });
    }

    fn tell(&self, message: &ToPrivileged) {
        if let Err(error) = self.peer.send(message, &[]) {
            warn!(%error, ?message, "the privileged process was not told");
        }
    }

    fn update_title(&mut self) {
        let links: Vec<_> =
            self.links.iter().map(|(name, link)| (name.as_str(), link.is_up)).collect();
        let text = self.title.set(self.config.general.mode, &links);
        self.tell(&ToPrivileged::Status { text });
    }
}

/// What the privileged process says, or that it could not be understood.
type Order = std::io::Result<Received<ToWorker>>;

/// Hears the privileged process on a thread of its own; the channel ends when it is gone.
fn listen(peer: Arc<Peer>) -> std::io::Result<mpsc::UnboundedReceiver<Order>> {
    let (sender, orders) = mpsc::unbounded_channel();
    let hear = move || {
        while let Some(order) = peer.receive().transpose() {
            let is_last = order.is_err();
            if sender.send(order).is_err() || is_last {
                break;
            }
        }
    };
    std::thread::Builder::new().name("orders".to_owned()).spawn(hear)?;
    Ok(orders)
}

fn random_seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(seed)
}

/// The snapshots that the control server serves.
type Snapshots = watch::Sender<Arc<StatusSnapshot>>;
