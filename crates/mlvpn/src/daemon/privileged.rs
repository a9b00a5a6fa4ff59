//! The privileged process: opens what needs rights, sets up the host's network or runs the status
//! command, and nothing else.
//!
//! It never reads a byte from the network. It acts on the configuration that it read itself; the
//! worker can only ask for a link of it, or report an event.

mod manager;
mod rights;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use mlvpn_io::clock::Clock;
use mlvpn_io::poller::{Interest, Poller, Token};
use mlvpn_io::tun::Tun;
use mlvpn_io::udp::UdpOptions;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tracing::{debug, error, info, warn};

use super::ipc::{Peer, Received, StartOrder, ToPrivileged, ToWorker, files_as_fds};
use super::plan;
use super::title::Title;
use crate::cli::RunArgs;
use crate::config::{self, Config, Host, Link, Loaded, Parsed};
use crate::hook::{HookCall, HookEnvironment, HookEvent, HookRunner, StatusCommand};
use crate::logging::{self, LogOptions};
use crate::network::{self, runner::NetworkRunner};
use manager::{notify, status_line};
use rights::{check_rights, give_up_rest, open_tun, worker_user};

/// Room in the kernel for bursts, per socket and direction.
const SOCKET_BUFFER: usize = 4 << 20;
/// How long the worker may take to say goodbye.
const STOP_TIME: Duration = Duration::from_secs(5);
/// How long the status command may take for the last events.
const HOOK_TIME: Duration = Duration::from_secs(10);

/// Messages of the worker that are handled before signals are looked at again.
const BUDGET: usize = 64;

const SIGNALS: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD];
const WORKER: Token = Token(SIGNALS.len());

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let loaded = load(&args.config)?;
    let Parsed { config, warnings } = &loaded.parsed;
    if warnings.warnings() > 0 {
        eprintln!("{warnings}");
    }
    check_rights(args)?;
    let status_command = config.general.status_command.as_deref().map(StatusCommand::new);
    let status_command = status_command.transpose()?;
    let tun = open_tun(config)?;
    let options = LogOptions {
        debug: args.debug,
        verbosity: i32::from(args.verbosity),
        tokens: args.debug_tokens.clone(),
        name: args.name.clone(),
    };
    logging::init(&options, std::process::id())?;
    let has_all_rights = config.general.status_command.is_some();
    if !has_all_rights {
        give_up_rest()?;
    }
    let signals = Signals::watch()?;
    let hooks = status_command.map(HookRunner::start).transpose()?;
    let network = NetworkRunner::start(&network::record_folder(), config)?;
    let started = start_worker(args, &loaded, &tun).and_then(|(peer, child)| {
        peer.set_nonblocking()?;
        Ok((peer, child))
    });
    let (peer, child) = match started {
        Ok(started) => started,
        Err(error) => {
            network.into_iter().for_each(NetworkRunner::shutdown);
            return Err(error);
        }
    };
    let name = args.name.clone().unwrap_or_else(|| "mlvpn".to_owned());
    Title::new(&name, args.natural_title).show("[priv]");
    let supervisor = Supervisor {
        config: loaded.into_config(),
        path: args.config.clone(),
        has_all_rights,
        tun,
        hooks,
        network,
        peer,
        child,
        links_up: Vec::new(),
        is_tunnel_up: false,
        mtu: None,
        stop_by: None,
    };
    supervisor.run(&signals)
}

/// Reads a configuration that can be run, and the key files that it names.
fn load(path: &Path) -> anyhow::Result<Loaded> {
    config::load(path).map_err(|findings| anyhow!("{findings}"))
}

/// Signals as readable descriptors.
struct Signals([UnixStream; SIGNALS.len()]);

impl Signals {
    fn watch() -> io::Result<Self> {
        let mut streams = Vec::with_capacity(SIGNALS.len());
        for signal in SIGNALS {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, write)?;
            streams.push(read);
        }
        Ok(Self(streams.try_into().expect("one stream per signal was pushed")))
    }

    fn clear(&self, index: usize) {
        use std::io::Read as _;
        let mut bytes = [0; 64];
        while (&self.0[index]).read(&mut bytes).is_ok_and(|len| len > 0) {}
    }
}

struct Supervisor {
    config: Config,
    path: std::path::PathBuf,
    /// No right was given up that a status command might need.
    has_all_rights: bool,
    /// Kept open, so that the interface outlives the worker until the last event is told.
    tun: Tun,
    hooks: Option<HookRunner>,
    /// None when the network is left to others.
    network: Option<NetworkRunner>,
    peer: Peer,
    child: Child,
    /// What the status command believes.
    links_up: Vec<String>,
    is_tunnel_up: bool,
    mtu: Option<u16>,
    /// The worker was told to stop, and is not waited for any longer then.
    stop_by: Option<u64>,
}

impl Supervisor {
    fn run(mut self, signals: &Signals) -> anyhow::Result<()> {
        let watched = self.watch_worker(signals);
        let status = match &watched {
            Ok(status) => Some(*status),
            Err(error) => {
                error!("{error:#}; ending");
                self.kill_worker()
            }
        };
        let finished = self.finish(status);
        watched.and(finished)
    }

    /// Ends the worker by force. `None`: it is another user's, whom this process has no right to kill
    /// (`CAP_KILL`), and is left to the service manager, which ends what is left when this process has ended.
    fn kill_worker(&mut self) -> Option<ExitStatus> {
        match self.child.kill() {
            Ok(()) => self.child.wait().ok(),
            Err(error) => {
                warn!(%error, "the worker is left to the service manager");
                None
            }
        }
    }

    /// Does what the worker and signals want until the worker has ended.
    fn watch_worker(&mut self, signals: &Signals) -> anyhow::Result<ExitStatus> {
        let clock = Clock::new();
        let mut poller = Poller::new(clock)?;
        for (index, stream) in signals.0.iter().enumerate() {
            poller.add(stream, Token(index), Interest::Read)?;
        }
        poller.add(&self.peer, WORKER, Interest::Read)?;
        let mut events = Vec::new();
        loop {
            poller.wait(&mut events, self.stop_by)?;
            for event in &events {
                if event.token == WORKER {
                    if self.hear_worker()? == Heard::End {
                        poller.remove(&self.peer)?;
                    }
                    continue;
                }
                signals.clear(event.token.0);
                match SIGNALS[event.token.0] {
                    SIGHUP => self.reload(),
                    SIGINT | SIGQUIT | SIGTERM => self.stop(clock.now_us()),
                    _ => {}
                }
            }
            if let Some(status) = self.child.try_wait()? {
                while self.hear_worker()? == Heard::Some {}
                return Ok(status);
            }
            if self.stop_by.is_some_and(|at| at <= clock.now_us()) {
                bail!("the worker was told to stop and goes on");
            }
        }
    }

    /// Does what the worker asked for, but not without an end.
    fn hear_worker(&mut self) -> anyhow::Result<Heard> {
        for _ in 0..BUDGET {
            match self.peer.receive::<ToPrivileged>() {
                Ok(Some(Received { message, .. })) => self.handle(message),
                Ok(None) => return Ok(Heard::End),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Heard::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Heard::End);
                }
                Err(error) => return Err(error).context("the worker is unintelligible"),
            }
        }
        Ok(Heard::Some)
    }

    fn handle(&mut self, message: ToPrivileged) {
        match message {
            ToPrivileged::Ready => notify(&[sd_notify::NotifyState::Ready]),
            ToPrivileged::Status { text } => {
                notify(&[sd_notify::NotifyState::Status(&status_line(&text))]);
            }
            ToPrivileged::Alive => notify(&[sd_notify::NotifyState::Watchdog]),
            ToPrivileged::SetMtu { mtu } => self.set_mtu(mtu),
            ToPrivileged::Hook { event, link } => self.tell_hook(event, link),
            ToPrivileged::OpenLink { link, attempt, bind } => {
                let opened = self.open_link(&link, bind);
                let sent = match &opened {
                    Ok(socket) => {
                        self.peer.send(&ToWorker::Link { link, attempt }, &[socket.as_fd()])
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        self.peer.send(&ToWorker::LinkFailed { link, attempt, error }, &[])
                    }
                };
                if let Err(error) = sent {
                    warn!(%error, "the worker was not answered");
                }
            }
        }
    }

    /// Opens a socket for a link of the configuration.
    fn open_link(&self, name: &str, bind: SocketAddr) -> anyhow::Result<OwnedFd> {
        let link = self.config.links.iter().find(|link| link.name == name);
        let link = link.with_context(|| format!("there is no link {name}"))?;
        check_bind(link, bind)?;
        let options = UdpOptions {
            device: link.bind_dev.clone(),
            mark: link.bind_fib.or_else(|| Some(self.network.as_ref()?.mark(name))),
            receive_buffer: Some(SOCKET_BUFFER),
            send_buffer: Some(SOCKET_BUFFER),
            ..UdpOptions::new(bind)
        };
        options.bind_fd().with_context(|| format!("socket bound to {bind}"))
    }

    fn set_mtu(&mut self, mtu: u16) {
        match self.tun.set_mtu(u32::from(mtu)) {
            Ok(()) => self.mtu = Some(mtu),
            Err(error) => {
                warn!(interface = self.tun.name(), mtu, %error, "cannot set the MTU");
            }
        }
    }

    fn tell_hook(&mut self, event: HookEvent, link: Option<String>) {
        if !note_event(&mut self.links_up, &self.config.links, event, link.as_deref()) {
            warn!(?event, ?link, "the worker tells of an event that cannot be; not passed on");
            return;
        }
        match event {
            HookEvent::TunnelUp => self.is_tunnel_up = true,
            HookEvent::TunnelDown => self.is_tunnel_up = false,
            HookEvent::LinkUp | HookEvent::LinkDown => {}
        }
        match (event, &self.network) {
            (HookEvent::TunnelUp, Some(network)) => network.set_tunnel(true),
            (HookEvent::TunnelDown, Some(network)) => network.set_tunnel(false),
            _ => {}
        }
        let Some(hooks) = &self.hooks else { return };
        let call = HookCall {
            event,
            interface: self.tun.name().to_owned(),
            link,
            environment: hook_environment(&self.config, self.mtu),
        };
        if let Err(error) = hooks.run(call) {
            error!("{error}");
        }
    }

    /// Reads the configuration again. What is wrong with it is logged, and it is not used.
    fn reload(&mut self) {
        notify(&[sd_notify::NotifyState::Reloading]);
        match self.try_reload() {
            Ok(()) => info!(file = %self.path.display(), "configuration read again"),
            Err(error) => error!("the configuration stays as it is: {error:#}"),
        }
        notify(&[sd_notify::NotifyState::Ready]);
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let loaded = load(&self.path)?;
        let Parsed { config, warnings } = &loaded.parsed;
        for line in warnings.log_lines() {
            warn!("{}", line.1);
        }
        let command = &config.general.status_command;
        if *command != self.config.general.status_command {
            let started = command.as_deref().map(StatusCommand::new).transpose()?;
            let started = started.map(HookRunner::start).transpose()?;
            if started.is_some() && !self.has_all_rights {
                warn!("the status command has few of root's rights until mlvpn is started again");
            }
            if let Some(former) = std::mem::replace(&mut self.hooks, started) {
                former.shutdown(HOOK_TIME);
            }
        }
        let [file, keys] = files_as_fds(&loaded)?;
        let config = plan::keep_fixed(&self.config, loaded.into_config());
        self.reload_network(&config)?;
        self.peer.send(&ToWorker::Reload, &[file.as_fd(), keys.as_fd()])?;
        self.config = config;
        Ok(())
    }

    /// Before the worker asks for sockets, which need marks.
    fn reload_network(&mut self, config: &Config) -> anyhow::Result<()> {
        match (&mut self.network, config.general.network.is_managed) {
            (Some(network), true) => network.reconfigure(config),
            (Some(_), false) => self.network.take().into_iter().for_each(NetworkRunner::shutdown),
            (None, true) => {
                self.network = NetworkRunner::start(&network::record_folder(), config)?;
                if let Some(network) = self.network.as_ref().filter(|_| self.is_tunnel_up) {
                    network.set_tunnel(true);
                }
            }
            (None, false) => {}
        }
        Ok(())
    }

    fn stop(&mut self, now: u64) {
        info!("stopping");
        notify(&[sd_notify::NotifyState::Stopping]);
        if let Err(error) = self.peer.send(&ToWorker::Stop, &[]) {
            debug!(%error, "the worker was not told to stop");
        }
        self.stop_by.get_or_insert(now + STOP_TIME.as_micros() as u64);
    }

    /// The worker has ended or was given up: tell the status command what is no longer up, and clean up.
    fn finish(mut self, status: Option<ExitStatus>) -> anyhow::Result<()> {
        let up = self.links_up.clone();
        for link in &up {
            self.tell_hook(HookEvent::LinkDown, Some(link.clone()));
        }
        if !up.is_empty() {
            self.tell_hook(HookEvent::TunnelDown, None);
        }
        if let Some(hooks) = self.hooks.take() {
            hooks.shutdown(HOOK_TIME);
        }
        self.network.take().into_iter().for_each(NetworkRunner::shutdown);
        remove_control_socket(&self.config);
        match status {
            Some(status) if status.success() => {
                info!("stopped");
                Ok(())
            }
            Some(status) => bail!("the worker ended: {status}; {}", rights::cause(status)),
            None => bail!("the worker goes on"),
        }
    }
}

/// What [`Supervisor::hear_worker`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// All that there was.
    Nothing,
    /// Some; there may be more.
    Some,
    /// The worker is gone.
    End,
}

/// Refuses an address that the configuration does not have for a link's socket. Which address the
/// name of a host has is the worker's word.
fn check_bind(link: &Link, bind: SocketAddr) -> anyhow::Result<()> {
    if bind.port() != link.bind_port.unwrap_or(0) {
        bail!("the port {} is not that of link {}", bind.port(), link.name);
    }
    let is_configured = match &link.bind_host {
        None => bind.ip().is_unspecified(),
        Some(Host::Address(address)) => bind.ip() == *address,
        Some(Host::Name(_)) => true,
    };
    if !is_configured {
        bail!("the address {} is not that of link {}", bind.ip(), link.name);
    }
    Ok(())
}

/// Keeps account of the links that are up. `false`: there can be no such event. A link that was
/// up may go down after the configuration has lost it.
fn note_event(
    links_up: &mut Vec<String>,
    links: &[Link],
    event: HookEvent,
    link: Option<&str>,
) -> bool {
    let is_configured = |name: &str| links.iter().any(|link| link.name == name);
    let is_up = |name: &str| links_up.iter().any(|up| up == name);
    match (event, link) {
        (HookEvent::LinkUp | HookEvent::LinkDown, Some(name))
            if !is_configured(name) && !is_up(name) =>
        {
            false
        }
        (HookEvent::LinkUp, Some(name)) => {
            if !is_up(name) {
                links_up.push(name.to_owned());
            }
            true
        }
        (HookEvent::LinkDown, Some(name)) => {
            links_up.retain(|up| up != name);
            true
        }
        (HookEvent::TunnelUp | HookEvent::TunnelDown, link) => link.is_none(),
        (HookEvent::LinkUp | HookEvent::LinkDown, None) => false,
    }
}

fn start_worker(args: &RunArgs, loaded: &Loaded, tun: &Tun) -> anyhow::Result<(Peer, Child)> {
    let (peer, theirs) = Peer::pair()?;
    let child = super::spawn_worker(theirs.into()).context("cannot start the worker")?;
    let order = StartOrder {
        config_name: args.config.display().to_string(),
        user: worker_user(args),
        name: args.name.clone(),
        debug: args.debug,
        debug_tokens: args.debug_tokens.clone(),
        verbosity: args.verbosity,
        natural_title: args.natural_title,
        heartbeat: manager::heartbeat(),
    };
    let [file, keys] = files_as_fds(loaded)?;
    let fds = [file.as_fd(), keys.as_fd(), tun.as_fd()];
    peer.send(&ToWorker::Start(Box::new(order)), &fds)?;
    Ok((peer, child))
}

fn hook_environment(config: &Config, mtu: Option<u16>) -> HookEnvironment {
    let addresses = &config.general.addresses;
    let text = |value: Option<String>| value.unwrap_or_default();
    let list = |values: Vec<String>| values.join(" ");
    HookEnvironment {
        ip4: text(addresses.ip4.map(|net| net.to_string())),
        ip6: text(addresses.ip6.map(|net| net.to_string())),
        ip4_gateway: text(addresses.ip4_gateway.map(|address| address.to_string())),
        ip6_gateway: text(addresses.ip6_gateway.map(|address| address.to_string())),
        ip4_routes: list(addresses.ip4_routes.iter().map(ToString::to_string).collect()),
        ip6_routes: list(addresses.ip6_routes.iter().map(ToString::to_string).collect()),
        mtu,
    }
}

/// The worker may have had no right to remove its socket's file.
fn remove_control_socket(config: &Config) {
    use std::os::unix::fs::FileTypeExt as _;
    let Some(path) = &config.general.control.unix_path else { return };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err()
        && let Err(error) = std::fs::remove_file(path)
    {
        warn!(path = %path.display(), %error, "cannot remove the control socket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(extra: &str) -> Link {
        let text = format!(
            "[general]\nmode = \"client\"\npassword = \"{}\"\n\
             [l]\nremotehost = \"192.0.2.1\"\nremoteport = 1\n{extra}",
            "x".repeat(40)
        );
        config::parse("t", text.as_bytes()).unwrap().config.links.remove(0)
    }

    fn is_allowed(extra: &str, bind: &str) -> bool {
        check_bind(&link(extra), bind.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_socket_is_bound_as_configured_only() {
        assert!(is_allowed("", "0.0.0.0:0") && is_allowed("", "[::]:0"));
        assert!(!is_allowed("", "192.0.2.9:0") && !is_allowed("", "0.0.0.0:53"));
        let literal = "bindhost = \"192.0.2.9\"\nbindport = 7\n";
        assert!(is_allowed(literal, "192.0.2.9:7"));
        assert!(!is_allowed(literal, "192.0.2.9:8") && !is_allowed(literal, "192.0.2.8:7"));
        assert!(!is_allowed(literal, "0.0.0.0:7"));
        assert!(is_allowed("bindhost = \"host.test\"\n", "192.0.2.8:0"));
    }

    #[test]
    fn the_status_command_is_told_of_links_that_there_are() {
        let (mut up, links) = (Vec::new(), [link("")]);
        let mut note = |links: &[Link], event, link| {
            let is_noted = note_event(&mut up, links, event, link);
            (is_noted, up.len())
        };
        assert_eq!(note(&links, HookEvent::LinkUp, Some("$(reboot)")), (false, 0));
        assert_eq!(note(&links, HookEvent::LinkUp, None), (false, 0));
        assert_eq!(note(&links, HookEvent::TunnelUp, Some("l")), (false, 0));
        assert_eq!(note(&links, HookEvent::TunnelUp, None), (true, 0));
        assert_eq!(note(&links, HookEvent::LinkUp, Some("l")), (true, 1));
        assert_eq!(note(&links, HookEvent::LinkUp, Some("l")), (true, 1));
        // The configuration has lost the link: it may still go down, once.
        assert_eq!(note(&[], HookEvent::LinkDown, Some("l")), (true, 0));
        assert_eq!(note(&[], HookEvent::LinkDown, Some("l")), (false, 0));
    }
}
