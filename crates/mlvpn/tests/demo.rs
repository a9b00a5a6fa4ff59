//! `mlvpn demo` of the built binary: a tunnel over two lines on this machine, and nothing left behind.
//!
//! Needs root, or a kernel that lets ordinary users make user namespaces; fails without.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

const LINES: [&str; 4] = ["--link", "down=10,up=10,delay=5", "--link", "down=10,up=10,delay=5"];

/// A demo in a process group and with a directory for temporary files of its own, to see what is left
/// of it.
struct Demo {
    child: Child,
    directory: PathBuf,
    interfaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mlvpn-demo-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let (interfaces, mounts) = (interfaces(), namespace_mounts());
        let child = Command::new(env!("CARGO_BIN_EXE_mlvpn"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", &directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, directory, interfaces, mounts }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for the end, and checks that nothing is left.
    fn finish(mut self) -> Output {
        let mut output = Output { status: Default::default(), stdout: vec![], stderr: vec![] };
        let mut errors = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            text
        });
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut output.stdout).unwrap();
        }
        output.stderr = reader.join().unwrap();
        output.status = self.child.wait().unwrap();
        // Nobody but its processes can hold its namespaces, and with these go the devices in them.
        assert_eq!(killpg(self.pid(), None), Err(Errno::ESRCH), "a process is left");
        let left: Vec<_> =
            fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(&namespace_mounts() - &self.mounts, BTreeSet::new());
        for name in &interfaces() - &self.interfaces {
            assert!(
                !["mlvpn0", "line1", "line2", "dsl1", "dsl2"].contains(&name.as_str()),
                "{name}"
            );
        }
        output
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Only in a test that has failed is there anything to end.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn interfaces() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Mounts that keep a namespace alive.
fn namespace_mounts() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(" - nsfs ")).map(ToOwned::to_owned).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A page that a browser can show without a network.
fn assert_self_contained(path: &Path) {
    let page = fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("line1") && page.contains("line2") && page.contains("<polyline"));
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn two_lines_carry_more_than_one_and_nothing_is_left_behind() {
    let page = std::env::temp_dir().join(format!("mlvpn-demo-{}.html", std::process::id()));
    let path = page.to_str().unwrap();
    let arguments = [&["--json", "--duration", "2", "--report", path], &LINES[..]].concat();
    let output = Demo::start(&arguments).finish();
    let live = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "the demo cannot run here:\n{live}");
    assert!(live.contains("line1 alone") && live.contains("line1 and line2 bonded"), "{live}");

    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["protocol"], "v2");
    for direction in ["down", "up"] {
        let rate = |phase: &Value| phase[direction]["goodput_mbit"].as_f64().unwrap();
        let alone = result["alone"].as_array().unwrap();
        assert_eq!(alone.len(), 2);
        let best = alone.iter().map(rate).fold(0.0, f64::max);
        let bonded = &result["bonded"];
        assert!(best > 0.0 && rate(bonded) > 1.3 * best, "{direction}: {result}");
        for line in bonded[direction]["lines"].as_array().unwrap() {
            assert!(line["bytes"].as_u64().unwrap() > 100_000, "{direction}: {result}");
        }
        assert_eq!(bonded[direction]["wrong_bytes"], 0);
    }
    // The delay of both directions.
    assert!(result["bonded"]["ping_idle"]["p50_ms"].as_f64().unwrap() >= 10.0, "{result}");
    assert!(result["bonded"]["ping_loaded"]["sent"].as_u64().unwrap() > 0, "{result}");
    let cut = &result["cut"];
    assert_eq!((&cut["line"], &cut["transfer"]), (&"line1".into(), &"download".into()));
    assert!(cut["longest_silence_ms"].as_f64().unwrap() > 0.0, "{cut}");
    assert_eq!(cut["wrong_bytes"], 0);
    assert_self_contained(&page);
    fs::remove_file(&page).unwrap();
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start(&LINES);
        let mut live = BufReader::new(demo.child.stdout.take().unwrap());
        let mut seen = String::new();
        // In the middle of the first download.
        while !seen.contains("    1 s  line1") {
            if live.read_line(&mut seen).unwrap() == 0 {
                let output = demo.finish();
                panic!("the demo cannot run here:\n{seen}{}", text(&output.stderr));
            }
        }
        kill(demo.pid(), signal).unwrap();
        live.read_to_string(&mut seen).unwrap();
        let output = demo.finish();
        assert_eq!(output.status.code(), Some(1), "{signal}: {seen}");
        assert!(text(&output.stderr).contains("stopped by a signal"), "{}", text(&output.stderr));
    }
}

#[test]
fn lines_that_cannot_be_bonded_are_refused_with_the_remedy() {
    for (arguments, code, remedy) in [
        (&["--link", "dsl"][..], 1, "give --link twice"),
        (&["--link", "dsl", "--link", "down=unlimited"], 1, "give down= and up="),
        (&["--link", "modem"], 2, "starlink"),
        (&["--duration", "0"], 2, "1..=3600"),
    ] {
        let output = Demo::start(arguments).finish();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(remedy), "{arguments:?}: {message}");
        assert_eq!(text(&output.stdout), "");
    }
}
