//! Real scripts, run by /bin/sh.

use std::fs;
use std::sync::mpsc::{Receiver, channel};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// A script in a directory of its own, removed at the end.
struct Script {
    directory: PathBuf,
}

impl Script {
    fn new(name: &str, body: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("mlvpn-hook-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let script = Self { directory };
        fs::write(script.path(), format!("#!/bin/sh\n{body}\n")).unwrap();
        script.chmod(0o700);
        script
    }

    fn path(&self) -> PathBuf {
        self.directory.join("script")
    }

    fn chmod(&self, mode: u32) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn start(&self, limits: HookLimits) -> (HookRunner, Receiver<String>) {
        let (sender, reports) = channel();
        let command = StatusCommand::new(&self.path()).unwrap();
        let sink: ReportSink = Arc::new(move |call: &HookCall, report: &HookReport| {
            let _ = sender.send(describe(call, report));
        });
        (HookRunner::start_with(command, limits, sink).unwrap(), reports)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn describe(call: &HookCall, report: &HookReport) -> String {
    match report {
        HookReport::Output { stream: OutputStream::Stdout, line } => format!("out {line}"),
        HookReport::Output { stream: OutputStream::Stderr, line } => format!("err {line}"),
        HookReport::OutputCut => "cut".to_owned(),
        HookReport::Finished(status) => {
            format!("{} {}: {status}", call.event.as_str(), call.link.as_deref().unwrap_or("-"))
        }
        HookReport::Slow(_) => "slow".to_owned(),
        HookReport::Killed => "killed".to_owned(),
        HookReport::Lost(error) => format!("lost: {error}"),
        HookReport::NotStarted(why) => format!("not started: {why}"),
        HookReport::Skipped => "skipped".to_owned(),
    }
}

/// More than any of these tests takes on a busy machine.
const LONG: Duration = Duration::from_secs(300);

fn call(event: HookEvent, link: Option<&str>) -> HookCall {
    HookCall {
        event,
        interface: "mlvpn0".to_owned(),
        link: link.map(str::to_owned),
        environment: HookEnvironment {
            ip4: "10.44.43.2/30".to_owned(),
            ip4_gateway: "10.44.43.1".to_owned(),
            ip4_routes: "192.0.2.0/24 198.51.100.0/24".to_owned(),
            mtu: Some(1428),
            ..HookEnvironment::default()
        },
    }
}

fn outcomes(script: &Script, calls: &[HookCall]) -> Vec<String> {
    let (runner, reports) = script.start(HookLimits::default());
    for call in calls {
        runner.run(call.clone()).unwrap();
    }
    runner.shutdown(LONG);
    reports.iter().collect()
}

fn is_alive(pid: &str) -> bool {
    kill(Pid::from_raw(pid.trim().parse().unwrap()), None) != Err(Errno::ESRCH)
}

#[test]
fn the_script_gets_exactly_the_arguments_and_the_environment_of_the_c_program() {
    let script = Script::new(
        "arguments",
        "for a in \"$@\"; do echo \"arg $a\"; done; tr '\\0' '\\n' < /proc/$$/environ",
    );
    let mut reports = outcomes(&script, &[call(HookEvent::LinkUp, Some("dsl 1"))]);
    assert_eq!(reports[..3], ["out arg mlvpn0", "out arg rtun_up", "out arg dsl 1"]);
    let mut environment: Vec<_> =
        reports.drain(3..).filter(|line| !line.starts_with("rtun_up")).collect();
    environment.sort();
    assert_eq!(
        environment,
        [
            "out DEVICE=mlvpn0",
            "out IP4=10.44.43.2/30",
            "out IP4_GATEWAY=10.44.43.1",
            "out IP4_ROUTES=192.0.2.0/24 198.51.100.0/24",
            "out IP6=",
            "out IP6_GATEWAY=",
            "out IP6_ROUTES=",
            "out MTU=1428",
        ]
    );
}

#[test]
fn an_event_of_the_tunnel_has_two_arguments() {
    let script = Script::new("two", "echo $# $2");
    let reports = outcomes(&script, &[call(HookEvent::TunnelDown, None)]);
    assert!(reports.contains(&"out 2 tuntap_down".to_owned()), "{reports:?}");
}

#[test]
fn calls_are_executed_in_order_and_one_at_a_time() {
    let script = Script::new(
        "order",
        "d=${0%/*}; mkdir $d/lock || exit 9; [ $3 = 0 ] && sleep 0.2; \
         echo $3 >> $d/log; rmdir $d/lock",
    );
    let numbers: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let calls: Vec<_> = numbers.iter().map(|n| call(HookEvent::LinkUp, Some(n))).collect();
    let reports = outcomes(&script, &calls);
    let expected: Vec<_> = numbers.iter().map(|n| format!("rtun_up {n}: exit status: 0")).collect();
    assert_eq!(reports, expected);
    assert_eq!(fs::read_to_string(script.file("log")).unwrap(), numbers.join("\n") + "\n");
}

#[test]
fn output_and_exit_status_are_reported() {
    let script = Script::new("status", "pwd; cat; printf 'no end'; echo oops >&2; exit 3");
    let mut reports = outcomes(&script, &[call(HookEvent::LinkDown, Some("a"))]);
    reports.sort();
    assert_eq!(reports, ["err oops", "out /", "out no end", "rtun_down a: exit status: 3"]);
}

#[test]
fn endless_and_binary_output_is_bounded() {
    let script = Script::new("flood", "head -c 3000 /dev/zero; yes '\u{e9}' | head -n 100000");
    let reports = outcomes(&script, &[call(HookEvent::LinkDown, Some("a"))]);
    assert!(reports.len() < 250, "{}", reports.len());
    assert!(reports.iter().any(|report| report == "cut"));
    assert!(reports.iter().all(|report| report.len() < 1100));
}

#[test]
fn what_a_script_leaves_running_does_not_hold_up_the_next_call() {
    let script = Script::new("daemon", "sleep 10000 & echo $!");
    let calls = [call(HookEvent::LinkUp, Some("a")), call(HookEvent::TunnelUp, None)];
    let reports = outcomes(&script, &calls);
    let pids: Vec<_> = reports.iter().filter_map(|report| report.strip_prefix("out ")).collect();
    assert_eq!(pids.len(), 2, "{reports:?}");
    for pid in pids {
        assert!(is_alive(pid), "it outlives its script");
        kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    }
    assert!(reports.contains(&"tuntap_up -: exit status: 0".to_owned()), "{reports:?}");
}

#[test]
fn a_slow_script_is_reported_while_callers_go_on_until_the_queue_is_full() {
    let script = Script::new("slow", "while [ ! -e ${0%/*}/go ]; do sleep 0.01; done");
    let limits =
        HookLimits { queue: 2, slow_after: Duration::from_millis(20), ..HookLimits::default() };
    let (runner, reports) = script.start(limits);
    runner.run(call(HookEvent::LinkUp, Some("a"))).unwrap();
    assert_eq!(reports.recv().unwrap(), "slow");
    // The first call is being executed: two more fit, and nothing blocks.
    runner.run(call(HookEvent::LinkUp, Some("b"))).unwrap();
    runner.run(call(HookEvent::LinkUp, Some("c"))).unwrap();
    let refused = runner.run(call(HookEvent::LinkDown, Some("d"))).unwrap_err();
    assert_eq!(refused.0.link.as_deref(), Some("d"));
    fs::write(script.file("go"), "").unwrap();
    runner.shutdown(LONG);
    let finished: Vec<_> = reports.iter().filter(|report| report != "slow").collect();
    assert_eq!(finished.len(), 3, "{finished:?}");
}

#[test]
fn a_hanging_script_is_killed_with_its_children_at_the_end_of_the_grace() {
    for (name, trap) in [("hang", ""), ("stubborn", "trap '' TERM; ")] {
        let body = format!("{trap}sleep 10000 & echo $!; echo $$; wait; sleep 10000");
        let script = Script::new(name, &body);
        let limits = HookLimits { kill_after: Duration::from_millis(50), ..HookLimits::default() };
        let (runner, reports) = script.start(limits);
        runner.run(call(HookEvent::LinkUp, Some("a"))).unwrap();
        runner.run(call(HookEvent::LinkUp, Some("b"))).unwrap();
        let pids: Vec<_> = (0..2).map(|_| reports.recv().unwrap()).collect();
        runner.shutdown(Duration::from_millis(20));
        assert_eq!(reports.iter().collect::<Vec<_>>(), ["killed", "skipped"]);
        for pid in pids {
            let pid = pid.strip_prefix("out ").unwrap();
            // The child of a killed script is reaped by init, which takes its time.
            while is_alive(pid) && !is_zombie(pid) {
                std::thread::yield_now();
            }
        }
    }
}

fn is_zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn only_the_owner_may_have_access() {
    let script = Script::new("modes", "true");
    for mode in [0o700, 0o500, 0o100] {
        script.chmod(mode);
        StatusCommand::new(&script.path()).unwrap();
    }
    for mode in [0o755, 0o740, 0o704, 0o710, 0o701, 0o720, 0o702] {
        script.chmod(mode);
        let error = StatusCommand::new(&script.path()).unwrap_err();
        assert!(matches!(error, HookError::Exposed { .. }), "{mode:o}");
        let remedy = format!("chmod 700 {}", script.path().display());
        assert!(error.to_string().contains(&remedy), "{error}");
    }
    script.chmod(0o600);
    let error = StatusCommand::new(&script.path()).unwrap_err();
    assert!(matches!(error, HookError::NotExecutable { .. }));
    let error = StatusCommand::new(&script.directory).unwrap_err();
    assert!(matches!(error, HookError::NotAFile { .. }));
    let error = StatusCommand::new(&script.file("none")).unwrap_err();
    assert!(matches!(error, HookError::Unreadable { .. }));
}

#[test]
fn a_script_whose_permissions_were_widened_later_is_not_run() {
    let script = Script::new("widened", "touch ${0%/*}/ran");
    let (runner, reports) = script.start(HookLimits::default());
    script.chmod(0o722);
    runner.run(call(HookEvent::LinkUp, Some("a"))).unwrap();
    runner.shutdown(LONG);
    let report = reports.recv().unwrap();
    assert!(report.starts_with("not started: ") && report.contains("chmod 700"), "{report}");
    assert!(!script.file("ran").exists());
}

#[test]
fn a_script_that_cannot_be_executed_is_reported_and_the_next_call_tried() {
    let script = Script::new("interpreter", "true");
    fs::write(script.path(), "#!/nonexistent/shell\n").unwrap();
    let calls = [call(HookEvent::LinkUp, Some("a")), call(HookEvent::LinkUp, Some("b"))];
    let reports = outcomes(&script, &calls);
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports.iter().all(|report| report.starts_with("not started: ")), "{reports:?}");
}
