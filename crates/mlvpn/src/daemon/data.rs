//! The data thread: carries packets between the tunnel interface and the links.
//!
//! It owns the endpoint and all descriptors that packets go through, waits for them in one poller,
//! and never blocks on anything else. Commands come over a channel, with the poller's waker;
//! what happens goes out over another.

mod plane;
mod socket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use mlvpn_io::poller::Waker;
use mlvpn_io::tun::{Tun, TunStats};
use mlvpn_proto::crypto::keypair::PublicKey;
use mlvpn_proto::handshake::v2::HandshakeError;
use mlvpn_proto::{
    DownReason, EndpointConfig, FilterRule, Instant, LinkConfig, Policy, Quality, ReorderPolicy,
    SessionStats,
};
use tokio::sync::mpsc::UnboundedSender;

use plane::DataPlane;

/// What the control thread wants done. Links go by their names.
#[derive(Debug)]
pub(super) enum Command {
    /// A link that has no socket yet.
    AddLink(LinkConfig),
    /// A new socket for a link, in place of the one that it may have. What happens with it is
    /// reported under its number.
    Attach { link: LinkConfig, number: u64, socket: OwnedFd },
    /// A link loses the socket that it may have, to make room for that of an attempt: answered by
    /// [`Report::Detached`].
    Detach { link: String, attempt: u64 },
    /// The link starts anew without a socket, as its peer is told.
    Renew(LinkConfig),
    /// A link is gone; the peer is told.
    Remove { link: String },
    /// A link's numbers change.
    Retune(LinkConfig),
    /// Other filters.
    SetFilters(Vec<FilterRule>),
    /// Another MTU.
    SetMtu(u16),
    /// Another way to restore order.
    SetReorder(ReorderPolicy),
    /// Another way to give packets to the links.
    SetPolicy(Option<Policy>),
    /// Another endpoint, to begin anew with; its links are added again.
    Replace(Box<EndpointConfig>, [u8; 32]),
    /// Say goodbye and end.
    Close,
}

/// What the data thread tells.
#[derive(Debug)]
pub(super) enum Report {
    LinkUp {
        link: String,
        socket: u64,
        remote: Option<SocketAddr>,
    },
    LinkDown {
        link: String,
        socket: u64,
        reason: DownReason,
    },
    SessionUp,
    SessionDown,
    LinkQuality {
        link: String,
        quality: Quality,
    },
    PeerAddressChanged {
        link: String,
        from: SocketAddr,
        to: SocketAddr,
    },
    PeerRestarted {
        link: String,
    },
    /// A peer that speaks version 2 began a new session.
    PeerReplaced {
        peer: Option<PublicKey>,
    },
    /// The largest IP packet that all paths of version 2 carry.
    TunnelMtu {
        mtu: u16,
    },
    /// The server does not fit.
    HandshakeTrouble {
        error: HandshakeError,
    },
    /// Somebody asked for a session and does not fit.
    PeerMisfit {
        error: HandshakeError,
        from: SocketAddr,
    },
    /// A socket is of no use any more; it was closed.
    SocketFailed {
        link: String,
        socket: u64,
        error: String,
    },
    /// A link has no socket, as was wanted for this attempt.
    Detached {
        link: String,
        attempt: u64,
    },
    /// The network says that datagrams of a link must not be larger than this IP packet.
    PathMtu {
        link: String,
        mtu: u32,
    },
    /// Numbers, twice a second.
    Stats(Box<Stats>),
    /// The thread has ended: on command, or because of this error.
    Ended(Option<String>),
}

/// The numbers at one moment.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) now: Instant,
    pub(super) session: SessionStats,
    pub(super) tun: TunStats,
    /// Datagrams that came while a link's socket had no room for them.
    pub(super) socket_queue_full: u64,
    /// Failed calls per link.
    pub(super) socket_errors: BTreeMap<String, u64>,
}

/// A handle to the data thread.
#[derive(Debug)]
pub(super) struct DataThread {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl DataThread {
    /// Starts the thread over `tun`.
    pub(super) fn start(
        tun: Tun,
        config: EndpointConfig,
        seed: [u8; 32],
        reports: UnboundedSender<Report>,
    ) -> std::io::Result<Self> {
        let (sender, commands) = mpsc::channel();
        let plane = DataPlane::new(tun, config, seed, commands, reports)?;
        let waker = plane.waker();
        let thread =
            std::thread::Builder::new().name("data".to_owned()).spawn(move || plane.run())?;
        Ok(Self { commands: sender, waker, thread: Some(thread) })
    }

    /// Hands over a command. Nothing happens when the thread has ended; it has reported that.
    pub(super) fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }

    /// Waits for the thread, which must have been told to close or have ended.
    pub(super) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the data thread panicked");
        }
    }
}
