//! The program on a host as it would be installed there: with an `/etc` and a `/run` of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mlvpn_lab::daemon::Signal;
use mlvpn_lab::{Daemon, Host};
use serde_json::Value;

use crate::network::world::RESOLV_CONF;
use crate::tunnel::{PROGRAM, Place, has_other_users, is_running};
use crate::wait::{PATIENCE, wait_for};

/// Files of the system that programs need; not every system has all of them.
const SYSTEM: [&str; 9] = [
    "passwd",
    "group",
    "shadow",
    "gshadow",
    "login.defs",
    "nsswitch.conf",
    "ld.so.cache",
    "host.conf",
    "services",
];
const CONFIGURATION: &str = "etc/mlvpn/mlvpn.conf";

pub(crate) struct Installed {
    host: Host,
    place: Place,
    daemon: Option<Daemon>,
    /// What the shell does before each program.
    before: String,
}

/// What a command has printed.
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Installed {
    /// With the user `mlvpn`.
    pub(crate) fn on(host: &Host) -> Self {
        let end = Self::without_user_on(host);
        end.add_line("etc/passwd", "mlvpn:x:990:990::/nonexistent:/usr/sbin/nologin");
        end.add_line("etc/group", "mlvpn:x:990:");
        end
    }

    pub(crate) fn without_user_on(host: &Host) -> Self {
        let place = Place::new();
        for folder in ["etc", "run"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        for file in SYSTEM {
            let _ = fs::copy(Path::new("/etc").join(file), place.path("etc").join(file));
        }
        place.write("etc/resolv.conf", RESOLV_CONF, 0o644);
        let end = Self { host: host.clone(), place, daemon: None, before: "true".to_owned() };
        for file in ["etc/passwd", "etc/shadow", "etc/group", "etc/gshadow"] {
            end.change(file, |text| {
                let others = text.lines().filter(|line| !line.starts_with("mlvpn:"));
                others.map(|line| format!("{line}\n")).collect()
            });
        }
        end
    }

    /// The program with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(PROGRAM, arguments).env("NO_COLOR", "1").output().unwrap()
    }

    /// The program on a terminal. Whenever it has printed a text, the answer to that is typed; returns all that
    /// was printed.
    pub(crate) fn converse(&self, arguments: &str, talk: &[(&str, &str)]) -> String {
        let line = format!("{PROGRAM} {arguments}");
        let mut command = self.command("script", &["-qec", &line, "/dev/null"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed");
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, printed) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                let _ = sender.send(bytes[..length].to_vec());
            }
        });
        let mut shown = Vec::new();
        let mut from = 0;
        for (question, answer) in talk {
            wait_for(question, || {
                shown.extend(printed.try_iter().flatten());
                String::from_utf8_lossy(&shown[from..]).contains(question)
            });
            from = shown.len();
            stdin.write_all(answer.as_bytes()).unwrap();
        }
        child.wait().unwrap();
        drop(stdin);
        reader.join().unwrap();
        shown.extend(printed.try_iter().flatten());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// The program, started by another one that takes away rights.
    pub(crate) fn run_by(&self, starter: &str, options: &[&str], arguments: &[&str]) -> Output {
        let arguments = [options, &[PROGRAM], arguments].concat();
        self.command(starter, &arguments).output().unwrap()
    }

    /// From now on the shell does this before each program, in the same mount namespace.
    pub(crate) fn before(&mut self, script: &str) {
        script.clone_into(&mut self.before);
    }

    /// The same, which must succeed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Printed {
        let output = self.run(arguments);
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        Printed { stdout, stderr }
    }

    /// The same, which must fail; what it says.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        stderr
    }

    /// What another program prints here.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.command("unshare");
        command.args(["--mount", "sh", "-c", &self.script(program), program]).args(arguments);
        command
    }

    fn script(&self, program: &str) -> String {
        let [etc, run] = ["etc", "run"].map(|folder| self.place.path(folder).display().to_string());
        format!(
            "mount --bind '{etc}' /etc && mount --bind '{run}' /run && {}; exec {program} \"$@\"",
            self.before
        )
    }

    /// Starts the daemon as a service manager would.
    pub(crate) fn start(&mut self) {
        let builder = Daemon::builder(&self.host, "unshare").unwrap();
        let user =
            if has_other_users() { &["--user", "mlvpn"][..] } else { &["--yes-run-as-root"] };
        let builder = builder.args(["--mount", "sh", "-c", &self.script(PROGRAM), "mlvpn"]);
        let builder = builder.args(["-c", "/etc/mlvpn/mlvpn.conf", "--debug", "-v"]).args(user);
        self.daemon = Some(builder.start().unwrap());
    }

    pub(crate) fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("it was started");
        assert!(daemon.terminate(PATIENCE).unwrap().success(), "{}", daemon.stderr());
        assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
    }

    /// Kills both processes at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        let worker = i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap();
        let worker = nix::unistd::Pid::from_raw(worker);
        let mut daemon = self.daemon.take().expect("it was started");
        daemon.signal(Signal::SIGKILL).unwrap();
        let _ = nix::sys::signal::kill(worker, Signal::SIGKILL);
        daemon.wait(PATIENCE).unwrap();
        wait_for("the worker's end", || !is_running(worker));
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.daemon.as_mut().expect("it was started").signal(signal).unwrap();
    }

    pub(crate) fn wait_for_log(&mut self, text: &str) {
        self.daemon.as_mut().expect("it was started").wait_for_stderr(text, PATIENCE).unwrap();
    }

    pub(crate) fn wait_for_link(&self, name: &str, status: &str) {
        wait_for(&format!("{name} of {} {status}", self.host.name()), || {
            let links = self.status()["tunnels"].as_array().cloned().unwrap_or_default();
            links.iter().any(|link| link["name"] == name && link["status"] == status)
        });
    }

    fn status(&self) -> Value {
        let ask = || {
            let mut stream = UnixStream::connect(self.place.path("run/mlvpn/mlvpn.sock"))?;
            stream.write_all(b"status\n")?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        serde_json::from_str(&ask().unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.place.path(file)).unwrap()
    }

    /// Writes a file, and the folders that it is in.
    pub(crate) fn write(&self, file: &str, content: &str, mode: u32) {
        fs::create_dir_all(self.place.path(file).parent().unwrap()).unwrap();
        self.place.write(file, content, mode);
    }

    pub(crate) fn configuration(&self) -> String {
        self.read(CONFIGURATION)
    }

    pub(crate) fn change_configuration(&self, change: impl FnOnce(&str) -> String) {
        self.change(CONFIGURATION, change);
    }

    /// All files below `/etc/mlvpn`, and the users.
    pub(crate) fn files_in_etc(&self) -> BTreeMap<String, String> {
        let folder = self.place.path("etc/mlvpn");
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let files = entries.map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        });
        files.chain([("passwd".to_owned(), self.read("etc/passwd"))]).collect()
    }

    fn add_line(&self, file: &str, line: &str) {
        self.change(file, |text| format!("{text}{line}\n"));
    }

    /// Changes a file, keeping its permissions.
    fn change(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.place.path(file);
        if let Ok(text) = fs::read_to_string(&path) {
            fs::write(&path, change(&text)).unwrap();
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- log of {}:\n{}---", self.host.name(), daemon.stderr());
        }
    }
}
