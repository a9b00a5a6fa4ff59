//! An emulated WAN link: IP packets carried between two tun devices by the simulator's link model, on
//! the real clock.
//!
//! ```text
//!  client's namespace            this process              server's namespace
//!   [tun dsl1] -- read -> Pipe "up"   --- write ---------> [tun dsl1]
//!   [tun dsl1] <- write -- Pipe "down" <------------ read -- [tun dsl1]
//! ```
//!
//! One thread per link waits in the kernel for packets or for the moment when the next packet has
//! crossed the link. The devices exchange super-packets with the kernel, but the model sees only IP
//! packets of the size that they have on the wire.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use mlvpn_io::clock::Clock;
use mlvpn_io::poller::{Interest, Poller, Token, Waker};
use mlvpn_io::tun::{ReadBuf, Tun};
use mlvpn_proto::Instant;
use mlvpn_sim::link::{Change, Direction, Duplex, Pipe, PipeCounters, WanLink};

/// Reads of one device before the other gets its turn: up to 64 super-packets.
const READS_PER_TURN: usize = 64;

/// Packets that arrive within this time, in microseconds, are delivered together: on a link of
/// 1 Gbit/s one arrives every 12 us, and waking up for each would cost a whole core. No packet is
/// delivered early, and none later than this.
const QUANTUM_US: u64 = 100;

/// A running link. Dropping it stops the link, and removes its devices.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    link: Mutex<Duplex<Vec<u8>>>,
    /// Who gets a copy of all that enters.
    copies: Mutex<Option<Copies>>,
    stop: AtomicBool,
}

/// Where copies of packets go, with where the packets go.
type Copies = Sender<(Direction, Vec<u8>)>;

/// What the two directions of a link did with the packets that they were given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkTraffic {
    /// Towards the client.
    pub down: PipeCounters,
    /// From the client.
    pub up: PipeCounters,
}

impl Emulator {
    /// Starts to carry packets between two devices. `seed` decides which packets are lost and late.
    ///
    /// # Errors
    /// When the thread or its descriptors cannot be created.
    pub fn start(name: &str, client: Tun, server: Tun, link: &WanLink, seed: u64) -> Result<Self> {
        let clock = Clock::new();
        let link = Mutex::new(Duplex::new(link, seed));
        let shared = Arc::new(Shared {
            clock,
            link,
            copies: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let mut poller = Poller::new(clock)?;
        poller.add(&client, CLIENT, Interest::Read)?;
        poller.add(&server, SERVER, Interest::Read)?;
        let waker = poller.waker();
        let carrier = Carrier {
            shared: Arc::clone(&shared),
            poller,
            ends: [End::new(client), End::new(server)],
            buffer: ReadBuf::new(),
            spare: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(format!("link-{name}"))
            .spawn(move || carrier.run())
            .context("cannot start the thread of an emulated link")?;
        Ok(Self { shared, waker, thread: Some(thread) })
    }

    /// Gives the link new properties, which also hold for what is queued.
    pub fn set_spec(&self, link: &WanLink) {
        self.change(|duplex, now| duplex.set_spec(link, now));
    }

    /// Makes one change, such as a new rate of one direction.
    pub fn apply(&self, change: &Change) {
        self.change(|duplex, now| duplex.apply(change, now));
    }

    /// Cuts both directions: packets vanish silently. The devices stay up.
    pub fn cut(&self) {
        self.change(|duplex, now| duplex.set_cut(true, now));
    }

    /// Cuts one direction only.
    pub fn cut_direction(&self, direction: Direction) {
        self.apply(&Change::Cut(direction, true));
    }

    /// Ends a cut of either direction.
    pub fn restore(&self) {
        self.change(|duplex, now| duplex.set_cut(false, now));
    }

    /// Copies each packet that enters from now on, before anything becomes of it.
    pub fn copy_to(&self, sink: Sender<(Direction, Vec<u8>)>) {
        *self.shared.copies() = Some(sink);
    }

    /// What happened so far.
    #[must_use]
    pub fn traffic(&self) -> LinkTraffic {
        let duplex = self.shared.duplex();
        LinkTraffic { down: *duplex.down.counters(), up: *duplex.up.counters() }
    }

    fn change(&self, change: impl FnOnce(&mut Duplex<Vec<u8>>, Instant)) {
        let mut duplex = self.shared.duplex();
        // Read under the lock: time must not run backwards for the pipes.
        change(&mut duplex, self.shared.now());
        drop(duplex);
        self.waker.wake();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of an emulated link has panicked");
        }
    }
}

impl Shared {
    fn now(&self) -> Instant {
        Instant::from_micros(self.clock.now_us())
    }

    fn copies(&self) -> MutexGuard<'_, Option<Copies>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn duplex(&self) -> MutexGuard<'_, Duplex<Vec<u8>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CLIENT: Token = Token(0);
const SERVER: Token = Token(1);

/// The link's thread.
struct Carrier {
    shared: Arc<Shared>,
    poller: Poller,
    /// The client's and the server's device.
    ends: [End; 2],
    buffer: ReadBuf,
    /// Buffers for packets to come.
    spare: Vec<Vec<u8>>,
}

struct End {
    tun: Tun,
    is_readable: bool,
}

impl End {
    fn new(tun: Tun) -> Self {
        Self { tun, is_readable: true }
    }
}

impl Carrier {
    fn run(mut self) {
        // The default of 50 us would be added to every delay. Without the right to change it, it is.
        let _ = nix::sys::prctl::set_timerslack(1_000);
        let mut events = Vec::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let next = self.turn();
            let is_busy = self.ends.iter().any(|end| end.is_readable);
            let deadline = if is_busy { Some(0) } else { next };
            if let Err(error) = self.poller.wait(&mut events, deadline) {
                tracing::error!("an emulated link stops, since it cannot wait: {error}");
                return;
            }
            for event in &events {
                self.ends[event.token.0].is_readable |= event.is_readable;
            }
        }
    }

    /// Takes what was sent at either end and delivers what has arrived at the other. Returns when to
    /// look for the next, in the clock's microseconds.
    fn turn(&mut self) -> Option<u64> {
        let Self { shared, ends: [client, server], buffer, spare, .. } = self;
        let mut duplex = shared.duplex();
        let now = shared.now();
        let mut copies = shared.copies();
        let mut copy = |direction, packet: &[u8]| {
            if copies.as_ref().is_some_and(|sink| sink.send((direction, packet.into())).is_err()) {
                // Nobody wants them any more.
                *copies = None;
            }
        };
        client.receive(&mut duplex.up, buffer, spare, now, |packet| copy(Direction::Up, packet));
        server.receive(&mut duplex.down, buffer, spare, now, |p| copy(Direction::Down, p));
        let up = server.deliver(&mut duplex.up, spare, now);
        let down = client.deliver(&mut duplex.down, spare, now);
        let earliest = if up || down { now.as_micros() + QUANTUM_US } else { 0 };
        duplex.next_event().map(|next| next.as_micros().max(earliest))
    }
}

impl End {
    /// Reads what the host has sent into the link.
    fn receive(
        &mut self,
        pipe: &mut Pipe<Vec<u8>>,
        buffer: &mut ReadBuf,
        spare: &mut Vec<Vec<u8>>,
        now: Instant,
        mut copy: impl FnMut(&[u8]),
    ) {
        if !self.is_readable {
            return;
        }
        let mut send = |packet: &[u8]| {
            copy(packet);
            let mut owned = spare.pop().unwrap_or_default();
            owned.clear();
            owned.extend_from_slice(packet);
            if let Err(dropped) = pipe.send(owned, packet.len(), now) {
                spare.push(dropped);
            }
        };
        for _ in 0..READS_PER_TURN {
            match self.tun.read_packets(buffer, &mut send) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A device that is down or gone has nothing to read either.
                Err(_) => {
                    self.is_readable = false;
                    return;
                }
            }
        }
    }

    /// Writes what has crossed the link to the host; whether there was something.
    fn deliver(
        &mut self,
        pipe: &mut Pipe<Vec<u8>>,
        spare: &mut Vec<Vec<u8>>,
        now: Instant,
    ) -> bool {
        let mut has_delivered = false;
        while let Some(packet) = pipe.poll(now) {
            self.tun.write(&packet);
            spare.push(packet);
            has_delivered = true;
        }
        if let Err(error) = self.tun.flush() {
            tracing::trace!("a host does not take a packet: {error}");
        }
        has_delivered
    }
}
