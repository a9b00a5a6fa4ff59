//! `mlvpn top` on a terminal.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tunnel::{End, PROGRAM, Plan, two_links};
use crate::wait::wait_for;

tests![
    a_link_is_switched_from_the_terminal_and_a_restart_is_survived,
    a_signal_leaves_the_terminal_as_it_was,
    nothing_goes_on_without_a_terminal,
];

/// To the other screen of the terminal, and back (xterm's DECSET 1049).
const OTHER_SCREEN: &str = "\u{1b}[?1049h";
const FORMER_SCREEN: &str = "\u{1b}[?1049l";

/// The program on a terminal of 100 columns and 30 lines, made by `script` of util-linux.
struct Terminal {
    process: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open(end: &End) -> Self {
        let socket = end.place.path("socket");
        let script = format!(
            "#!/bin/sh\nstty cols 100 rows 30\nstty -a >'{0}'\necho $$ >'{1}'\n'{PROGRAM}' top --socket '{2}'\n\
             stty -a >'{3}'\n",
            end.place.path("before").display(),
            end.place.path("shell").display(),
            socket.display(),
            end.place.path("after").display(),
        );
        let file = end.place.write("run-top", &script, 0o755);
        assert!(file.metadata().unwrap().permissions().mode() & 0o100 != 0);
        let mut command = Command::new("script");
        command.args(["--quiet", "--command"]).arg(&file).arg("/dev/null");
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1)");
        let keys = process.stdin.take().unwrap();
        let mut output = process.stdout.take().unwrap();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                sink.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { process, keys, written }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits for what is written after what has been written so far.
    fn wait_for(&self, seen: usize, text: &str) {
        wait_for(text, || self.text().get(seen..).is_some_and(|new| new.contains(text)));
    }

    fn wait_for_end(&mut self) {
        wait_for("the end", || self.process.try_wait().unwrap().is_some());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- terminal: {:?}", self.text());
        }
    }
}

fn setting(end: &End, file: &str) -> String {
    std::fs::read_to_string(end.place.path(file)).unwrap()
}

fn a_link_is_switched_from_the_terminal_and_a_restart_is_survived() {
    let lab = two_links();
    let mut tunnel = Plan::over(&lab).start(&lab);
    let mut terminal = Terminal::open(&tunnel.client);
    terminal.wait_for(0, OTHER_SCREEN);
    terminal.wait_for(0, "dsl2");
    // The second link down, first not confirmed, then confirmed.
    terminal.press("jdn");
    terminal.press("d");
    terminal.wait_for(0, "Close");
    terminal.press("y");
    tunnel.client.wait_for_link("dsl2", "disconnected");
    assert_eq!(tunnel.client.link("dsl2")["disabled"], true);
    assert_eq!(tunnel.client.link("dsl1")["disabled"], false);
    let seen = terminal.text().len();
    tunnel.client.kill();
    terminal.wait_for(seen, "not reachable");
    let seen = terminal.text().len();
    tunnel.client.start_again();
    tunnel.client.wait_for_link("dsl2", "connected");
    // Drawn again is what has changed: the state of the link.
    terminal.wait_for(seen, "up");
    terminal.press("q");
    terminal.wait_for_end();
    assert!(terminal.text().contains(FORMER_SCREEN));
    assert_eq!(setting(&tunnel.client, "after"), setting(&tunnel.client, "before"));
}

fn a_signal_leaves_the_terminal_as_it_was() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    let mut terminal = Terminal::open(&tunnel.client);
    terminal.wait_for(0, "dsl2");
    let shell = setting(&tunnel.client, "shell").trim().to_owned();
    let children = format!("/proc/{shell}/task/{shell}/children");
    let child = std::fs::read_to_string(children).unwrap();
    kill(Pid::from_raw(child.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    terminal.wait_for_end();
    assert!(terminal.text().contains(FORMER_SCREEN));
    assert_eq!(setting(&tunnel.client, "after"), setting(&tunnel.client, "before"));
}

fn nothing_goes_on_without_a_terminal() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    let mut terminal = Terminal::open(&tunnel.client);
    terminal.wait_for(0, "dsl2");
    let socket = tunnel.client.place.path("socket").display().to_string();
    assert!(is_shown(&socket), "it is found while it runs");
    terminal.process.kill().unwrap();
    wait_for("the end of what has no terminal", || !is_shown(&socket));
}

/// Whether a `mlvpn top` shows the program behind `socket`.
fn is_shown(socket: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let wanted = ["top", "--socket", socket, ""].join("\0");
    commands
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .any(|text| text.ends_with(&wanted))
}
