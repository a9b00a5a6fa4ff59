//! The thread that keeps the host's network as it should be.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use mlvpn_io::clock::Clock;
use mlvpn_io::netlink::Monitor;
use mlvpn_io::poller::{Interest, Poller, Token, Waker};
use tracing::{debug, error, info, warn};

use super::numbers::{LinkNumbers, Slot};
use super::setup::Setup;
use super::{Network, NetworkError};
use crate::config::Config;

/// After a change is heard of, more are waited for, so that a burst is one.
const SETTLE_US: u64 = 200_000;
/// A look at large tables takes long: between two, this many times as long is waited.
const LOOKS_COST: u64 = 20;
/// A table that somebody else has removed is made anew at once, but not more often than this.
const TABLE_REST_US: u64 = 1_000_000;
/// What failed is tried again after this, twice as late each time, and at the latest after the other.
const FIRST_RETRY_US: u64 = 1_000_000;
const LAST_RETRY_US: u64 = 60_000_000;

const MONITOR: Token = Token(0);
const TABLES: Token = Token(1);

/// Keeps the network of the host as a configuration wants it, until it is told to undo that.
#[derive(Debug)]
pub struct NetworkRunner {
    slot: Slot,
    numbers: LinkNumbers,
    orders: mpsc::Sender<Order>,
    waker: Waker,
    thread: JoinHandle<()>,
}

enum Order {
    Setup(Box<Setup>),
    Tunnel { is_up: bool },
    Undo,
}

impl NetworkRunner {
    /// Sets up what `config` wants while the tunnel is down, and cleans up after a program that was
    /// killed; then follows what happens. `None` when `config` leaves the network alone.
    ///
    /// # Errors
    /// What could not be set up; nothing remains then.
    pub fn start(folder: &Path, config: &Config) -> anyhow::Result<Option<Self>> {
        let interface = &config.general.interface.name;
        if !config.general.network.is_managed {
            clean_up(folder, interface);
            return Ok(None);
        }
        let monitor = Monitor::open()?;
        let mut network = Network::open(folder, interface)?;
        let mut numbers = LinkNumbers::default();
        numbers.assign(names(config));
        let setup = Setup::of(config, &numbers);
        let slot = network.slot();
        info!(
            slot = slot.number(),
            protocol = super::numbers::PROTOCOL,
            "network: set up by mlvpn"
        );
        let errors = network.converge(&setup, false);
        report(&errors);
        if let Some(first) = errors.iter().find(|error| !error.is_passing).cloned() {
            report(&network.undo());
            return Err(first.into());
        }
        let clock = Clock::new();
        let mut poller = Poller::new(clock)?;
        poller.add(&monitor, MONITOR, Interest::Read)?;
        if let Some(tables) = network.tables() {
            poller.add(tables, TABLES, Interest::Read)?;
        }
        let waker = poller.waker();
        let (orders, received) = mpsc::channel();
        let keeper = Keeper {
            network,
            setup,
            is_tunnel_up: false,
            orders: received,
            poller,
            monitor,
            clock,
            due: (!errors.is_empty()).then(|| clock.now_us() + FIRST_RETRY_US),
            settle_us: SETTLE_US,
            retry_us: FIRST_RETRY_US,
            complaints: errors,
            table_made: None,
        };
        let thread = std::thread::Builder::new().name("network".to_owned());
        let thread = thread.spawn(move || keeper.run())?;
        Ok(Some(Self { slot, numbers, orders, waker, thread }))
    }

    /// The firewall mark for a link's socket.
    #[must_use]
    pub fn mark(&self, link: &str) -> u32 {
        self.slot.mark(self.numbers.of(link))
    }

    /// The tunnel is up now, or down.
    pub fn set_tunnel(&self, is_up: bool) {
        self.send(Order::Tunnel { is_up });
    }

    /// Another configuration is in effect.
    pub fn reconfigure(&mut self, config: &Config) {
        self.numbers.assign(names(config));
        self.send(Order::Setup(Box::new(Setup::of(config, &self.numbers))));
    }

    /// Takes everything back, and returns when that is done.
    pub fn shutdown(self) {
        self.send(Order::Undo);
        if self.thread.join().is_err() {
            error!("the thread of the host's network panicked");
        }
    }

    fn send(&self, order: Order) {
        // Without a receiver the thread has panicked, which is told when it is joined.
        let _ = self.orders.send(order);
        self.waker.wake();
    }
}

/// Takes back what a program that was killed has left behind, where its successor leaves the network
/// alone. Should that fail, it is no reason not to start.
fn clean_up(folder: &Path, interface: &str) {
    if folder.is_dir() {
        match Network::open(folder, interface) {
            Ok(mut network) => report(&network.undo()),
            Err(error) => report(&[error]),
        }
    }
}

fn names(config: &Config) -> impl Iterator<Item = &str> + Clone {
    config.links.iter().map(|link| link.name.as_str())
}

fn report(errors: &[NetworkError]) {
    for error in errors {
        warn!("network: {error}");
    }
}

/// What the thread owns.
struct Keeper {
    network: Network,
    setup: Setup,
    is_tunnel_up: bool,
    orders: mpsc::Receiver<Order>,
    poller: Poller,
    monitor: Monitor,
    clock: Clock,
    /// When to look at the network again.
    due: Option<u64>,
    /// How long more changes are waited for.
    settle_us: u64,
    retry_us: u64,
    /// What failed the last time, which is not told again.
    complaints: Vec<NetworkError>,
    /// When the table was made anew last, because somebody else had removed it.
    table_made: Option<u64>,
}

impl Keeper {
    fn run(mut self) {
        let mut events = Vec::new();
        loop {
            if let Err(error) = self.poller.wait(&mut events, self.due) {
                error!(%error, "network: changes are not followed any more");
                self.wait_for_end();
                return;
            }
            while let Ok(order) = self.orders.try_recv() {
                if !self.obey(order) {
                    return;
                }
            }
            if events.iter().any(|event| event.token == MONITOR) {
                self.listen();
            }
            if events.iter().any(|event| event.token == TABLES) {
                self.listen_to_tables();
            }
            if self.due.is_some_and(|due| due <= self.clock.now_us()) {
                self.converge();
            }
        }
    }

    /// Does what is wanted; `false` after the last order.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Setup(setup) => self.setup = *setup,
            Order::Tunnel { is_up } => self.is_tunnel_up = is_up,
            Order::Undo => {
                report(&self.network.undo());
                return false;
            }
        }
        self.converge();
        true
    }

    fn listen(&mut self) {
        match self.monitor.drain() {
            Ok(true) => self.look_at(self.clock.now_us() + self.settle_us),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "network: changes are not followed any more");
                let _ = self.poller.remove(&self.monitor);
            }
        }
    }

    fn look_at(&mut self, time: u64) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    fn listen_to_tables(&mut self) {
        match self.network.hear_of_tables() {
            Ok(true) => {
                let now = self.clock.now_us();
                let at = self.table_made.map_or(now, |last| now.max(last + TABLE_REST_US));
                warn!("network: somebody else has changed our nftables table; it is made anew");
                self.table_made = Some(at);
                self.look_at(at);
            }
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "network: tables of nftables are not watched any more");
                let _ = self.network.tables().map(|tables| self.poller.remove(tables));
            }
        }
    }

    fn converge(&mut self) {
        let start = self.clock.now_us();
        let errors = self.network.converge(&self.setup, self.is_tunnel_up);
        let new = errors.iter().filter(|error| !self.complaints.contains(error));
        report(&new.cloned().collect::<Vec<_>>());
        self.settle_us = SETTLE_US.max(LOOKS_COST * (self.clock.now_us() - start));
        self.due = None;
        if errors.is_empty() {
            self.retry_us = FIRST_RETRY_US;
        } else {
            // What was tried and taken back is heard of, too, and is no reason to try it again at once.
            self.listen();
            self.due = Some(self.clock.now_us() + self.retry_us);
            self.retry_us = (2 * self.retry_us).min(LAST_RETRY_US);
            debug!(failures = errors.len(), "network: trying again later");
        }
        self.complaints = errors;
    }

    /// Without a poller there still are orders.
    fn wait_for_end(&mut self) {
        while let Ok(order) = self.orders.recv() {
            if !self.obey(order) {
                return;
            }
        }
        report(&self.network.undo());
    }
}
