//! The usual set-up: the program at both ends of a lab.
//!
//! ```text
//!          10.44.43.1/30  [tun0]                                 [tun0]  10.44.43.2/30
//!             fd44::1/64     |                                      |    fd44::2/64
//!                         mlvpn ---- dsl1 ------------- dsl1 ---- mlvpn
//!  client                      \---- dsl2 ------------- dsl2 ----/           server
//! ```

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::workload::{DatagramReport, Ping, Transfer};
use mlvpn_lab::{Daemon, Host, Lab};
use nix::unistd::Pid;
use serde_json::Value;

use crate::conf::Conf;
use crate::wait::{PATIENCE, wait_for};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mlvpn");
/// The interface of the tunnel, at both ends.
pub(crate) const TUN: &str = "tun0";
/// The client's addresses in the tunnel.
pub(crate) const CLIENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 1));
pub(crate) const CLIENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd44, 0, 0, 0, 0, 0, 0, 1));
/// The server's addresses in the tunnel.
pub(crate) const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 2));
pub(crate) const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd44, 0, 0, 0, 0, 0, 0, 2));
/// A link that is no hurdle for what the tests send, not even for seconds of it at once: that is what
/// comes from a sender who had to wait for the processor.
pub(crate) const LINK: &str = "down=20,delay=5,queue=400";

/// The file for `/etc/hosts` of a program that has its own.
const NAMES: &str = "hosts";

/// What both ends know.
pub(crate) const PASSWORD: &str = "apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi";

/// A lab whose links have these names and properties.
pub(crate) fn lab(links: &[(&str, &str)]) -> Lab {
    let add = |lab: mlvpn_lab::LabBuilder, (name, spec): &(&str, &str)| {
        lab.link(name, spec.parse().unwrap())
    };
    links.iter().fold(Lab::builder(), add).build().expect("hosts need namespaces and /dev/net/tun")
}

/// A lab with `dsl1` and `dsl2`, which are equal.
pub(crate) fn two_links() -> Lab {
    lab(&[("dsl1", LINK), ("dsl2", LINK)])
}

/// The configurations of both ends, to be changed before they are started.
pub(crate) struct Plan {
    pub(crate) client: Conf,
    pub(crate) server: Conf,
    /// The client's `/etc/hosts`; when it is empty, that of the system.
    pub(crate) names: String,
}

impl Plan {
    /// A tunnel over all links of the lab; only a dead link is ever slow enough for its timeout.
    pub(crate) fn over(lab: &Lab) -> Self {
        let (client, server) = (Conf::default(), Conf::default());
        let mut plan = Self { client, server, names: String::new() };
        plan.client.set("general", "mode", "client");
        plan.server.set("general", "mode", "server");
        plan = plan.both("general", "password", PASSWORD);
        plan = plan.both("general", "interface_name", TUN).both("general", "timeout", 60);
        for (number, link) in (0..).zip(lab.links()) {
            plan.join(link.name(), link.client_v4(), lab.server_v4(), 5080 + number);
        }
        plan
    }

    /// Adds a link, or gives one that there is other addresses.
    pub(crate) fn join(&mut self, link: &str, client: IpAddr, server: IpAddr, port: u16) {
        self.client.set(link, "bindhost", client);
        self.client.set(link, "remotehost", server);
        self.client.set(link, "remoteport", port);
        self.server.set(link, "bindhost", server);
        self.server.set(link, "bindport", port);
    }

    /// Sets a key at both ends.
    pub(crate) fn both(mut self, section: &str, key: &str, value: impl std::fmt::Display) -> Self {
        self.client.set(section, key, &value);
        self.server.set(section, key, &value);
        self
    }

    /// Has both ends speak version 1, as with the C program.
    pub(crate) fn in_version_1(self) -> Self {
        self.both("general", "protocol_version", 1)
    }

    /// Starts both ends and waits until all links are up.
    pub(crate) fn start(self, lab: &Lab) -> Tunnel {
        self.start_at(lab.client(), lab)
    }

    /// The same with the client at another host, from which the lab's client forwards.
    pub(crate) fn start_at(self, client: &Host, lab: &Lab) -> Tunnel {
        let tunnel = self.start_without_waiting_at(client, lab);
        tunnel.wait_until_up();
        tunnel
    }

    /// Starts both ends.
    pub(crate) fn start_without_waiting(self, lab: &Lab) -> Tunnel {
        self.start_without_waiting_at(lab.client(), lab)
    }

    fn start_without_waiting_at(self, client: &Host, lab: &Lab) -> Tunnel {
        let with_length = |ip: IpAddr| Prefix::new(ip, if ip.is_ipv4() { 30 } else { 64 });
        let (at_server, at_client) = ([SERVER_V4, SERVER_V6], [CLIENT_V4, CLIENT_V6]);
        let server = End::start(lab.server(), self.server, &at_server.map(with_length));
        let addresses = at_client.map(with_length);
        let client = End::start_with_names(client, self.client, &addresses, &self.names);
        Tunnel { client, server }
    }
}

/// Both ends.
pub(crate) struct Tunnel {
    pub(crate) client: End,
    pub(crate) server: End,
}

impl Tunnel {
    /// Waits until every link is up at both ends.
    pub(crate) fn wait_until_up(&self) {
        for end in [&self.client, &self.server] {
            for link in end.conf.links() {
                end.wait_for_link(link, "connected");
            }
        }
    }

    /// Waits until the server answers to the client through the tunnel.
    pub(crate) fn wait_for_echo(&self, server: IpAddr) {
        let ping = Ping::to(server).count(1).timeout(Duration::from_millis(500));
        let is_answered = || ping.run(&self.client.host).is_ok_and(|report| report.answered() == 1);
        wait_for(&format!("an echo from {server}"), is_answered);
    }

    /// A download through the tunnel, of as much as the links carry.
    pub(crate) fn download(&self) -> Transfer {
        Transfer::download(&self.client.host, &self.server.host, SERVER_V4).duration(PATIENCE * 4)
    }

    /// Downloads at least `bytes` and verifies them.
    pub(crate) fn move_bytes(&self, bytes: u64) {
        let transfer = self.download().start().unwrap();
        wait_for("a download", || transfer.bytes() >= bytes);
        assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    }
}

/// The program at one end.
pub(crate) struct End {
    pub(crate) host: Host,
    pub(crate) daemon: Daemon,
    pub(crate) conf: Conf,
    pub(crate) place: Place,
    addresses: Vec<Prefix>,
}

impl End {
    /// Starts the program and gives its interface addresses.
    pub(crate) fn start(host: &Host, conf: Conf, addresses: &[Prefix]) -> Self {
        Self::start_with_names(host, conf, addresses, "")
    }

    /// The same with `names` for its `/etc/hosts`, unless that is empty.
    pub(crate) fn start_with_names(
        host: &Host,
        mut conf: Conf,
        addresses: &[Prefix],
        names: &str,
    ) -> Self {
        let place = Place::new();
        if !names.is_empty() {
            place.write(NAMES, names, 0o644);
        }
        conf.set("general", "control_unix_path", place.path("socket").display());
        place.write("mlvpn.conf", &conf.to_string(), 0o600);
        let daemon = start_daemon(host, &place);
        let addresses = addresses.to_vec();
        let mut end = Self { host: host.clone(), daemon, conf, place, addresses };
        end.configure_interface();
        end
    }

    /// Starts the program with a file as it is written, but for the path of its socket in place of `SOCKET`. Such a file
    /// gives the interface its addresses itself.
    pub(crate) fn start_as_written(host: &Host, file: &str) -> Self {
        let place = Place::new();
        let socket = place.path("socket").display().to_string();
        place.write("mlvpn.conf", &file.replace("SOCKET", &socket), 0o600);
        let daemon = start_daemon(host, &place);
        let (conf, addresses) = (Conf::default(), Vec::new());
        Self { host: host.clone(), daemon, conf, place, addresses }
    }

    /// Changes what names mean to a program that was started with some.
    pub(crate) fn rename(&self, names: &str) {
        // Not another file: what is mounted is the file, not its name.
        fs::write(self.place.path(NAMES), names).unwrap();
    }

    /// Kills both processes at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        let worker = self.worker();
        self.daemon.signal(Signal::SIGKILL).unwrap();
        // The worker may already be ending because the other process is gone.
        let _ = nix::sys::signal::kill(worker, Signal::SIGKILL);
        self.daemon.wait(PATIENCE).unwrap();
        wait_for("the worker's end", || !is_running(worker));
        wait_for("its interface's end", || self.host.counters(TUN).is_err());
    }

    /// Starts the program again, with the same files.
    pub(crate) fn start_again(&mut self) {
        assert_no_panic(&self.daemon);
        self.daemon = start_daemon(&self.host, &self.place);
        self.configure_interface();
    }

    /// Asks the program to end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.daemon.terminate(PATIENCE).unwrap()
    }

    /// The process id of the worker.
    pub(crate) fn worker(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap())
    }

    /// Has the program read a changed configuration, and waits until it is in effect.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Conf)) {
        change(&mut self.conf);
        self.place.write("mlvpn.conf", &self.conf.to_string(), 0o600);
        let count = |daemon: &Daemon| daemon.stderr().matches("configuration reloaded").count();
        let before = count(&self.daemon);
        self.daemon.signal(Signal::SIGHUP).unwrap();
        self.daemon.wait_until("reloaded", PATIENCE, |d| count(d) > before).unwrap();
    }

    /// Sends a request over the control socket and returns everything that comes back.
    pub(crate) fn ask(&self, request: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.place.path("socket"))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Runs a subcommand of the program that asks this one, and returns what came of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(arguments).arg("--socket").arg(self.place.path("socket"));
        command.output().unwrap()
    }

    /// The status; waits until the program tells it.
    pub(crate) fn status(&self) -> Value {
        let mut status = Value::Null;
        wait_for("a status with links", || {
            let answer = self.ask("GET /status HTTP/1.0\r\n\r\n").unwrap_or_default();
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            status = serde_json::from_str(body).unwrap_or_default();
            status["tunnels"].as_array().is_some_and(|links| !links.is_empty())
        });
        status
    }

    /// What the status says about a link; null when it has none of that name.
    pub(crate) fn link(&self, name: &str) -> Value {
        let status = self.status();
        let links = status["tunnels"].as_array().unwrap();
        links.iter().find(|link| link["name"] == name).cloned().unwrap_or_default()
    }

    /// How often a link went down.
    pub(crate) fn disconnects(&self, name: &str) -> u64 {
        self.link(name)["disconnects"].as_u64().unwrap()
    }

    /// Packets that were dropped to slow a flow down, since the program began.
    pub(crate) fn slowed(&self) -> u64 {
        self.status()["session"]["drops"]["queue_delay"].as_u64().unwrap_or(0)
    }

    /// Sees that of a stream from here nothing came twice or was refused, and that nothing is missing but what
    /// was dropped since [`Self::slowed`] was that: on a busy machine datagrams may wait for so long.
    pub(crate) fn assert_whole(&self, report: &DatagramReport, slowed: u64) {
        assert_eq!((report.refused, report.duplicates, report.corrupt), (0, 0, 0), "{report:?}");
        if report.lost() > 0 {
            eprintln!("{} datagrams of {} did not come", report.lost(), report.sent);
            wait_for("all of them counted", || self.slowed() - slowed >= report.lost());
        }
    }

    /// Waits until a link has this status.
    pub(crate) fn wait_for_link(&self, name: &str, status: &str) {
        let what = format!("{name} of {} {status}", self.host.name());
        wait_for(&what, || self.link(name)["status"] == status);
    }

    /// Waits until a link is not up.
    pub(crate) fn wait_for_link_down(&self, name: &str) {
        let what = format!("{name} of {} down", self.host.name());
        wait_for(&what, || {
            ["disconnected", "waiting peer"].iter().any(|word| self.link(name)["status"] == *word)
        });
    }

    /// Waits until a log line contains `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        self.daemon.wait_for_stderr(text, PATIENCE).unwrap();
    }

    fn configure_interface(&mut self) {
        let (host, addresses) = (&self.host, &self.addresses);
        let configure = || {
            let device = host.netlink().link_by_name(TUN).ok()?;
            // An interface that is smaller has no IPv6 (RFC 8200 section 5).
            let takes_ip6 = device.mtu >= 1_280;
            let fitting = addresses.iter().filter(|prefix| prefix.address.is_ipv4() || takes_ip6);
            host.configure(TUN, None, &fitting.copied().collect::<Vec<_>>()).ok()
        };
        let is_done = |_: &_| configure().is_some();
        self.daemon.wait_until("creating its interface", PATIENCE, is_done).unwrap();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}---", self.host.name(), self.daemon.stderr());
        } else {
            assert_no_panic(&self.daemon);
        }
    }
}

/// A directory with a short name, which goes with its files.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mlvpn-e2e-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes a file with these permissions.
    pub(crate) fn write(&self, file: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left behind is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The arguments that say as whom the worker runs.
pub(crate) fn user_arguments() -> &'static [&'static str] {
    if has_other_users() { &["--user", "nobody"] } else { &["--yes-run-as-root"] }
}

/// Whether a process can become `nobody`: not in a user namespace of one user.
pub(crate) fn has_other_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        (numbers[0]..numbers[0] + numbers[2]).contains(&65_534)
    })
}

/// Whether a process has a thread that has not ended. The first one stays as a zombie until the others
/// have ended, too, and in an orphan until somebody notices.
pub(crate) fn is_running(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || (threads == 1 && !status.contains("State:\tZ"))
}

fn start_daemon(host: &Host, place: &Place) -> Daemon {
    let names = place.path(NAMES);
    let builder = if names.exists() {
        let script =
            format!("mount --bind '{}' /etc/hosts && exec '{PROGRAM}' \"$@\"", names.display());
        let builder = Daemon::builder(host, "unshare").unwrap();
        builder.args(["--mount", "sh", "-c", &script, "mlvpn"])
    } else {
        Daemon::builder(host, PROGRAM).unwrap()
    };
    // Hosts share a file system, but not what is remembered of their networks.
    let builder = builder.env("RUNTIME_DIRECTORY", place.path("run"));
    let config = place.path("mlvpn.conf");
    builder.arg("-c").arg(config).arg("--debug").args(user_arguments()).start().unwrap()
}

fn assert_no_panic(daemon: &Daemon) {
    let log = daemon.stderr();
    assert!(!log.contains("panicked"), "{log}");
}
