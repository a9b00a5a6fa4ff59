//! What the processes may do, and that somebody notices when they do nothing any more.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use caps::Capability;
use mlvpn_lab::Daemon;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::hook::recorder;
use crate::tunnel::{End, LINK, PROGRAM, Place, Plan, SERVER_V4, lab, user_arguments};
use crate::wait::{PATIENCE, wait_for};

tests![
    every_thread_of_the_worker_is_confined_and_has_no_rights,
    without_a_status_command_the_privileged_process_gives_up_what_it_does_not_need,
    a_forbidden_system_call_would_end_the_program_with_a_hint,
    the_watchdog_is_fed_only_while_the_data_thread_makes_progress,
];

/// What is kept for the network, the worker's start and its end.
const KEPT: [Capability; 8] = [
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
];

/// A line of what the kernel tells of a process or thread.
fn line(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
}

/// What the kernel tells of each thread.
fn threads(pid: Pid) -> Vec<(Pid, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let number = |task: fs::DirEntry| task.file_name().to_str().unwrap().parse().unwrap();
    let ids = tasks.map(|task| Pid::from_raw(number(task.unwrap())));
    ids.map(|id| (id, fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).unwrap()))
        .collect()
}

fn every_thread_of_the_worker_is_confined_and_has_no_rights() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    tunnel.wait_for_echo(SERVER_V4);
    let threads = threads(tunnel.client.worker());
    assert!(threads.len() >= 3, "control, orders, data: {threads:?}");
    for (_, status) in threads {
        assert_eq!(line(&status, "Seccomp:"), "2", "{status}");
        assert_eq!(line(&status, "NoNewPrivs:"), "1", "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(line(&status, set), "0000000000000000", "{status}");
        }
    }
    let sandbox = &tunnel.client.status()["sandbox"];
    assert_eq!(sandbox["seccomp"], true);
    assert!(sandbox["landlock"].as_u64().is_some_and(|abi| abi >= 1), "{sandbox}");
}

fn without_a_status_command_the_privileged_process_gives_up_what_it_does_not_need() {
    let lab = lab(&[("dsl1", LINK)]);
    let place = Place::new();
    let mut plan = Plan::over(&lab);
    plan.server.set("general", "statuscommand", recorder(&place).display());
    let mut tunnel = plan.start(&lab);
    let kept: u64 = KEPT.iter().map(Capability::bitmask).sum();
    let rights = |end: &End| {
        let pid = end.daemon.pid();
        fs::read_to_string(format!("/proc/{pid}/status")).unwrap()
    };
    let client = rights(&tunnel.client);
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(line(&client, set), format!("{kept:016x}"), "{client}");
    }
    assert_eq!(line(&client, "NoNewPrivs:"), "1");
    let server = rights(&tunnel.server);
    assert_eq!(
        line(&server, "CapEff:"),
        line(&fs::read_to_string("/proc/self/status").unwrap(), "CapEff:")
    );
    assert_eq!(line(&server, "NoNewPrivs:"), "0");

    // One that comes later has to do with what is left, and is told so.
    let command = recorder(&place).display().to_string();
    tunnel.client.reload(|conf| conf.set("general", "statuscommand", &command));
    tunnel.client.wait_for_log("the status command has few of root's rights");
}

fn a_forbidden_system_call_would_end_the_program_with_a_hint() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    // As the kernel does to a process that makes such a call.
    nix::sys::signal::kill(tunnel.client.worker(), nix::sys::signal::Signal::SIGSYS).unwrap();
    assert_eq!(tunnel.client.daemon.wait(PATIENCE).unwrap().code(), Some(1));
    let log = tunnel.client.daemon.stderr();
    assert!(log.contains("a system call that its sandbox forbids"), "{log}");
}

/// What the service manager would hear.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn listen(place: &Place) -> Self {
        Self { socket: UnixDatagram::bind(place.path("notify")).unwrap() }
    }

    /// The next message; none when there is none for so long.
    fn next(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Waits until the message has come, `times` times.
    fn wait_for(&self, message: &str, times: usize) {
        let is_it = |text: &String| text.lines().any(|line| line == message);
        let heard = std::iter::from_fn(|| self.next(PATIENCE)).filter(is_it).take(times).count();
        assert_eq!(heard, times, "{message}");
    }
}

fn the_watchdog_is_fed_only_while_the_data_thread_makes_progress() {
    let lab = lab(&[("dsl1", LINK)]);
    let place = Place::new();
    let manager = Manager::listen(&place);
    let mut plan = Plan::over(&lab);
    plan.server.set("general", "control_unix_path", place.path("socket").display());
    let config = place.write("mlvpn.conf", &plan.server.to_string(), 0o600);
    let builder = Daemon::builder(lab.server(), PROGRAM).unwrap();
    let daemon = builder
        .env("RUNTIME_DIRECTORY", place.path("run"))
        .env("NOTIFY_SOCKET", place.path("notify"))
        .env("WATCHDOG_USEC", "2000000")
        .arg("-c")
        .arg(config)
        .arg("--debug")
        .args(user_arguments())
        .start()
        .unwrap();
    manager.wait_for("READY=1", 1);
    manager.wait_for("WATCHDOG=1", 3);

    let data = data_thread(daemon.pid());
    ptrace::attach(data).unwrap();
    waitpid(data, Some(WaitPidFlag::__WALL)).unwrap();
    let silence = Duration::from_secs(3);
    wait_for("a watchdog that hears nothing any more", || manager.next(silence).is_none());
    ptrace::detach(data, None).unwrap();
    manager.wait_for("WATCHDOG=1", 3);
}

/// The thread of this name in the worker of a program.
fn data_thread(privileged: u32) -> Pid {
    let children = format!("/proc/{privileged}/task/{privileged}/children");
    let worker = fs::read_to_string(children).unwrap();
    let worker = Pid::from_raw(worker.trim().parse().unwrap());
    let data = threads(worker).into_iter().find(|(_, status)| line(status, "Name:") == "data");
    data.unwrap().0
}
