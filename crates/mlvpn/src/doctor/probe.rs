//! A handshake of our own over each link, when no program runs: whether the server is there, and knows us.
//!
//! It is the protocol's own handshake with the credentials of the configuration, taken back at once. Nothing
//! that is not authenticated is ever answered, so that there is no smaller question to ask.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mlvpn_io::clock::{Clock, unix_time};
use mlvpn_io::udp::UdpOptions;
use mlvpn_proto::{Endpoint, Event, Instant, LinkChange, LinkIndex, TransmitBuf};

use crate::config::{Config, Host, Link};
use crate::daemon;

/// How long answers are waited for: some initiations, and a link by satellite.
const PATIENCE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(5);
const MAX_DATAGRAM: usize = 65_536;

/// What came of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The link's name.
    pub(super) link: String,
    /// Where it was tried to.
    pub(super) to: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has a session with us.
    Answered,
    /// A host on the way says that nobody listens there, or that there is no way.
    Refused(String),
    /// The server answers, but not as it should.
    Misfit(String),
    /// The link has no socket.
    NoSocket(String),
    /// Nothing came.
    Silence,
}

/// A link on which something is tried.
struct Trial {
    index: LinkIndex,
    socket: UdpSocket,
    to: SocketAddr,
    place: usize,
}

/// Tries all links at once.
pub(super) fn try_all(
    config: &Config,
    names: &BTreeMap<String, Result<Vec<IpAddr>, String>>,
) -> Vec<Attempt> {
    let mut seed = [0; 32];
    if getrandom::fill(&mut seed).is_err() {
        return Vec::new();
    }
    let clock = Clock::new();
    let now = || Instant::from_micros(clock.now_us());
    let mut protocol = daemon::endpoint_config(config);
    protocol.unix_micros = u64::try_from(unix_time().as_micros()).unwrap_or(0);
    let mut endpoint = Endpoint::new(protocol, seed);
    let mut attempts = Vec::new();
    let mut trials = Vec::new();
    for link in &config.links {
        let remote = remote(link, names);
        let to = remote.map_or_else(|| "the server".to_owned(), |remote| remote.to_string());
        let opened = remote.ok_or_else(|| "the server's name has no address".to_owned());
        let opened = opened.and_then(|remote| open(link, remote).map(|socket| (socket, remote)));
        let outcome = match opened {
            Ok((socket, remote)) => {
                let index = endpoint.add_link(daemon::link_config(link, Some(remote)), now());
                endpoint.handle_link_change(index, LinkChange::Opened, now());
                trials.push(Trial { index, socket, to: remote, place: attempts.len() });
                Outcome::Silence
            }
            Err(why) => Outcome::NoSocket(why),
        };
        attempts.push(Attempt { link: link.name.clone(), to, outcome });
    }
    let start = clock.now_us();
    let is_open = |attempts: &[Attempt]| {
        trials.iter().any(|trial| attempts[trial.place].outcome == Outcome::Silence)
    };
    while is_open(&attempts) && clock.now_us() - start < PATIENCE.as_micros() as u64 {
        turn(&mut endpoint, &trials, &mut attempts, now());
        std::thread::sleep(LOOK);
    }
    endpoint.close(now());
    send(&mut endpoint, &trials, &mut attempts, now());
    attempts
}

fn remote(
    link: &Link,
    names: &BTreeMap<String, Result<Vec<IpAddr>, String>>,
) -> Option<SocketAddr> {
    let address = match link.remote_host.as_ref()? {
        Host::Address(address) => *address,
        Host::Name(name) => *names.get(name)?.as_ref().ok()?.first()?,
    };
    Some(SocketAddr::new(address, link.remote_port?))
}

fn open(link: &Link, remote: SocketAddr) -> Result<UdpSocket, String> {
    let mut options = UdpOptions::towards(remote);
    if let Some(Host::Address(own)) = link.bind_host {
        options.bind.set_ip(own);
    }
    options.bind.set_port(link.bind_port.unwrap_or(0));
    options.device.clone_from(&link.bind_dev);
    options.mark = link.bind_fib;
    let socket = UdpSocket::from(options.bind_fd().map_err(|error| error.to_string())?);
    // Connected, so that the kernel tells what ICMP says.
    socket.connect(remote).map_err(|error| format!("cannot send to {remote}: {error}"))?;
    Ok(socket)
}

/// Sends, receives, and looks what happened.
fn turn(endpoint: &mut Endpoint, trials: &[Trial], attempts: &mut [Attempt], now: Instant) {
    send(endpoint, trials, attempts, now);
    let mut buffer = vec![0; MAX_DATAGRAM];
    for trial in trials {
        loop {
            match trial.socket.recv(&mut buffer) {
                Ok(length) => {
                    endpoint.handle_datagram(trial.index, trial.to, &mut buffer[..length], now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    refuse(&mut attempts[trial.place], &error);
                    break;
                }
            }
        }
    }
    if endpoint.poll_timeout().is_some_and(|(at, _)| at <= now) {
        endpoint.handle_timeout(now);
    }
    while let Some(event) = endpoint.poll_event() {
        match event {
            Event::LinkUp { link } => {
                let trial = trials.iter().find(|trial| trial.index == link);
                if let Some(trial) = trial {
                    attempts[trial.place].outcome = Outcome::Answered;
                }
            }
            Event::HandshakeTrouble { error } => {
                for trial in trials {
                    attempts[trial.place].outcome = Outcome::Misfit(error.to_string());
                }
            }
            _ => {}
        }
    }
    while endpoint.poll_ip_packet().is_some() {}
}

fn send(endpoint: &mut Endpoint, trials: &[Trial], attempts: &mut [Attempt], now: Instant) {
    let mut batch = TransmitBuf::new();
    while let Some(transmit) = endpoint.poll_transmit(&mut batch, now) {
        let Some(trial) = trials.iter().find(|trial| trial.index == transmit.link) else {
            continue;
        };
        for datagram in batch.datagrams() {
            if let Err(error) = trial.socket.send(datagram)
                && error.kind() != io::ErrorKind::WouldBlock
                // A probe for the size of packets may be too large for the device.
                && error.raw_os_error() != Some(nix::errno::Errno::EMSGSIZE as i32)
            {
                refuse(&mut attempts[trial.place], &error);
            }
        }
    }
}

/// An error of the kernel's counts only until the server has answered.
fn refuse(attempt: &mut Attempt, error: &io::Error) {
    if attempt.outcome == Outcome::Silence {
        attempt.outcome = Outcome::Refused(error.to_string());
    }
}
