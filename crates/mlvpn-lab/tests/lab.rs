//! The lab itself: what its links do to real traffic. Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN.
//!
//! Limits are those of physics: a busy machine makes delays longer and rates lower, never the reverse.
#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::time::Duration;

use mlvpn_io::clock::Clock;
use mlvpn_io::netns::NetNs;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::workload::{DatagramStream, Exchange, Ping, Transfer};
use mlvpn_lab::{Daemon, Host, Lab, Observer};
use mlvpn_sim::link::{Direction, LinkSpec, WanLink};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn lab(links: &[&str]) -> Lab {
    let builder = links.iter().fold(Lab::builder(), |builder, name| {
        builder.link(name, WanLink::symmetric(LinkSpec::new(20.0, 10)))
    });
    builder.build().expect("the lab needs root and /dev/net/tun")
}

/// Waits for what only a very busy machine makes late.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 30 s: {what}");
}

#[test]
fn an_echo_takes_the_delay_of_both_directions() {
    let lab = lab(&["dsl1"]);
    for target in [
        lab.server_v4(),
        lab.server_v6(),
        lab.link("dsl1").server_end_v4(),
        lab.link("dsl1").server_end_v6(),
    ] {
        let interval = Duration::from_millis(1);
        let ping = Ping::to(target).interval(interval).timeout(PATIENCE);
        let report = ping.run(lab.client()).unwrap();
        assert_eq!((report.sent, report.answered()), (3, 3), "{target}: {report:?}");
        assert!(report.min_ms().unwrap() >= 20.0, "{target}: {report:?}");
    }
}

#[test]
fn steady_echo_requests_do_not_wait_for_answers() {
    let lab = lab(&["dsl1"]);
    let link = lab.link("dsl1");
    let ping = Ping::to(lab.server_v4()).count(100).interval(Duration::from_millis(1)).steadily();
    link.cut().unwrap();
    let lost = ping.clone().timeout(Duration::from_millis(50)).run(lab.client()).unwrap();
    assert_eq!((lost.sent, lost.answered(), lost.rtts_ms.len()), (100, 0, 100));
    link.restore().unwrap();
    let report = ping.timeout(PATIENCE).run(lab.client()).unwrap();
    assert_eq!((report.sent, report.answered()), (100, 100), "{report:?}");
    assert!(report.min_ms().unwrap() >= 20.0, "{report:?}");
}

#[test]
fn tcp_arrives_intact_and_no_faster_than_the_link() {
    let lab = lab(&["dsl1"]);
    for address in [lab.server_v4(), lab.server_v6()] {
        for transfer in [
            Transfer::download(lab.client(), lab.server(), address).congestion("cubic").flows(2),
            Transfer::upload(lab.client(), lab.server(), address),
        ] {
            let clock = Clock::new();
            let start = clock.now_us();
            let report = transfer.duration(Duration::from_secs(1)).run().unwrap();
            let elapsed_us = clock.now_us() - start;
            assert!(report.bytes() > 10_000, "{report:?}");
            assert_eq!(report.wrong_bytes(), 0);
            assert_eq!(report.bytes(), report.series.total());
            // 20 Mbit/s are 2.5 bytes per microsecond.
            assert!(report.bytes() as f64 <= 2.5 * elapsed_us as f64, "{report:?}");
        }
    }
}

#[test]
fn a_cut_link_is_silent_and_a_restored_one_goes_on() {
    let lab = lab(&["dsl1"]);
    let link = lab.link("dsl1");
    let transfer = Transfer::download(lab.client(), lab.server(), lab.server_v4())
        .duration(Duration::from_secs(300))
        .start()
        .unwrap();
    wait_for("bytes before the cut", || transfer.bytes() > 0);
    link.cut().unwrap();
    let down = || link.traffic().unwrap().down;
    wait_for("what was on its way", || down().delivered + down().dropped() == down().offered);
    let at_cut = down();
    wait_for("packets sent into the cut link", || down().cut > at_cut.cut);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(down().delivered, at_cut.delivered, "nothing crosses a cut link");
    assert!(transfer.bytes() < at_cut.delivered_bytes);
    link.restore().unwrap();
    wait_for("bytes after the cut", || transfer.bytes() > at_cut.delivered_bytes);
    let report = transfer.stop().unwrap();
    assert_eq!(report.wrong_bytes(), 0);
}

#[test]
fn one_direction_can_be_cut() {
    let lab = lab(&["dsl1"]);
    let link = lab.link("dsl1");
    link.cut_direction(Direction::Up).unwrap();
    let ping = Ping::to(lab.server_v4()).count(2).timeout(Duration::from_millis(50));
    assert_eq!(ping.run(lab.client()).unwrap().answered(), 0);
    wait_for("two requests", || link.traffic().unwrap().up.cut >= 2);
    assert_eq!(link.traffic().unwrap().down.offered, 0);
}

#[test]
fn traffic_takes_the_link_that_its_socket_is_bound_to() {
    let lab = lab(&["dsl1", "lte1"]);
    let ping = |target| Ping::to(target).count(1).timeout(PATIENCE);
    let by = |name: &str| lab.link(name).traffic().unwrap();
    let (v4, v6) = (lab.server_v4(), lab.server_v6());
    let lte = lab.link("lte1");
    for (probe, expected) in [
        (ping(v4), (1, 0)),
        (ping(v4).by_device("lte1"), (1, 1)),
        (ping(v4).from_address(lte.client_v4()), (1, 2)),
        (ping(v6), (2, 2)),
        (ping(v6).by_device("lte1"), (2, 3)),
        (ping(v6).from_address(lte.client_v6()), (2, 4)),
    ] {
        assert_eq!(probe.run(lab.client()).unwrap().answered(), 1, "{probe:?}");
        assert_eq!((by("dsl1").up.offered, by("lte1").up.offered), expected, "{probe:?}");
        assert_eq!((by("dsl1").down.offered, by("lte1").down.offered), expected, "{probe:?}");
    }
}

#[test]
fn devices_have_the_mtu_of_the_link_unless_it_is_to_be_a_black_hole() {
    let small = || WanLink::symmetric(LinkSpec { mtu: Some(1400), ..LinkSpec::new(20.0, 1) });
    let lab = Lab::builder()
        .link("honest", small())
        .link("hole", small())
        .device_mtu(1500)
        .build()
        .unwrap();
    let mtu = |name| lab.client().netlink().link_by_name(name).unwrap().mtu;
    assert_eq!((mtu("honest"), mtu("hole")), (1400, 1500));
    for (device, payload, answered) in [("honest", 1372, 1), ("hole", 1372, 1), ("hole", 1373, 0)] {
        let ping = Ping::to(lab.server_v4()).count(1).payload(payload).by_device(device);
        // An answer that must not come need not be waited for.
        let timeout = if answered == 1 { PATIENCE } else { Duration::from_millis(100) };
        let report = ping.timeout(timeout).run(lab.client()).unwrap();
        assert_eq!(report.answered(), answered, "{device} {payload}");
    }
    wait_for("the large request", || lab.link("hole").traffic().unwrap().up.too_big == 1);
    assert_eq!(lab.link("honest").traffic().unwrap().up.too_big, 0);
}

#[test]
fn a_black_hole_may_be_in_one_direction_and_come_later() {
    let lab = Lab::builder().link("hole", "down=20,mtu=1400/1500".parse().unwrap());
    let lab = lab.device_mtu(1500).build().unwrap();
    let stream = |from: &Host, to: &Host, address| {
        let stream = DatagramStream::new(from, to, address).size(1_472).rate(1_000_000);
        stream.duration(Duration::from_millis(100)).run().unwrap()
    };
    let (client, server, link) = (lab.client(), lab.server(), lab.link("hole"));
    let too_big = || (link.traffic().unwrap().down.too_big, link.traffic().unwrap().up.too_big);
    let up = stream(client, server, link.server_end_v4());
    assert_eq!((up.lost(), too_big()), (0, (0, 0)), "{up:?}");
    let down = stream(server, client, link.client_v4());
    assert_eq!((down.received, down.refused, too_big()), (0, 0, (down.sent, 0)), "{down:?}");
    link.set_spec(&"down=20,mtu=1500/1400".parse().unwrap()).unwrap();
    let down_later = stream(server, client, link.client_v4());
    let up_later = stream(client, server, link.server_end_v4());
    assert_eq!((down_later.lost(), up_later.received), (0, 0));
    assert_eq!(too_big(), (down.sent, up_later.sent));
}

#[test]
fn every_datagram_is_accounted_for() {
    let spec = LinkSpec::new(20.0, 10).with_loss(0.2).with_jitter_ms(2);
    let lab = Lab::builder().link("lossy", WanLink::symmetric(spec)).seed(5).build().unwrap();
    let report = DatagramStream::new(lab.server(), lab.client(), lab.link("lossy").client_v6())
        .rate(2_000_000)
        .size(500)
        .duration(Duration::from_secs(1))
        .run()
        .unwrap();
    assert_eq!((report.sent, report.refused), (500, 0), "{report:?}");
    assert_eq!((report.duplicates, report.corrupt, report.reordered), (0, 0, 0), "{report:?}");
    let down = || lab.link("lossy").traffic().unwrap().down;
    wait_for("all packets", || down().delivered + down().dropped() == 500);
    let down = down();
    assert!(report.lost() >= down.dropped(), "{report:?} {down:?}");
    assert!(report.received > 0);
    // Five standard deviations of 500 draws are 45.
    assert!((55..=145).contains(&down.loss), "{down:?}");
    assert_eq!(report.delays.count, report.received);
    // 548 bytes at 20 Mbit/s are 0.2 ms; jitter may take a part of the delay.
    assert!(report.delays.median_ms > 5.0, "{report:?}");
    assert_eq!(report.series.total(), report.received * 500);
}

#[test]
fn a_new_delay_holds_from_then_on() {
    let lab = lab(&["dsl1"]);
    let slow = WanLink::symmetric(LinkSpec::new(20.0, 100));
    lab.link("dsl1").set_spec(&slow).unwrap();
    let exchange = Exchange::new(lab.client(), lab.server(), lab.server_v4()).count(3);
    let report = exchange.sizes(100, 1000).timeout(PATIENCE).run().unwrap();
    assert_eq!((report.delays.count, report.wrong_bytes), (3, 0));
    assert!(report.connect_ms >= 200.0 && report.delays.min_ms >= 200.0, "{report:?}");
}

#[test]
fn a_cable_has_no_limits_and_can_be_pulled() {
    let lab = Lab::builder().direct_link("lan").build().unwrap();
    for target in [lab.server_v4(), lab.server_v6()] {
        let report = Ping::to(target).count(1).timeout(PATIENCE).run(lab.client()).unwrap();
        assert_eq!(report.answered(), 1, "{target}");
    }
    let (down, up) = lab.link("lan").delivered_bytes().unwrap();
    assert!(down > 0 && up > 0);
    assert!(lab.link("lan").set_spec(&"dsl".parse().unwrap()).is_err());
    lab.link("lan").cut().unwrap();
    let ping = Ping::to(lab.server_v4()).count(1).timeout(Duration::from_millis(50));
    assert_eq!(ping.run(lab.client()).unwrap().answered(), 0);
    lab.link("lan").restore().unwrap();
    wait_for("an answer", || ping.run(lab.client()).unwrap().answered() == 1);
}

#[test]
fn an_observer_sees_what_each_link_carries() {
    let lab = lab(&["dsl1", "lte1"]);
    let transfer = Transfer::download(lab.client(), lab.server(), lab.server_v4())
        .by_device("lte1")
        .duration(Duration::from_secs(1));
    let mut samples = Vec::new();
    let observer = Observer::every(Duration::from_millis(100));
    let (report, seen) =
        observer.watch(&lab, |s| samples.push(s.clone()), || transfer.run()).unwrap();
    assert!(report.unwrap().bytes() > 0);
    assert_eq!(seen.down[0].total(), 0);
    assert!(seen.down[1].total() > 0 && seen.up[1].total() > 0);
    assert_eq!(samples.len(), seen.down[1].bytes.len());
    assert_eq!(samples[0].links[1].name, "lte1");
    let highest = samples.iter().map(mlvpn_lab::Sample::down_mbit).fold(0.0, f64::max);
    assert!(highest > 0.0);
}

#[test]
fn a_program_runs_inside_and_obeys_signals() {
    let lab = lab(&["dsl1"]);
    let script = "trap 'echo again >&2' HUP; trap 'exit 7' TERM; echo ready >&2; \
                  cat /proc/net/dev; while :; do sleep 0.05; done";
    let builder = Daemon::builder(lab.client(), "/bin/sh").unwrap();
    let config = builder.write_file("a.conf", "content").unwrap();
    let mut daemon = builder.args(["-c", script]).start().unwrap();
    let directory = daemon.directory().to_path_buf();
    assert_eq!(config.parent(), Some(directory.as_path()));
    daemon.wait_for_stderr("ready", PATIENCE).unwrap();
    daemon.wait_until("listing devices", PATIENCE, |d| d.stdout().contains("dsl1")).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    daemon.wait_for_stderr("again", PATIENCE).unwrap();
    assert_eq!(daemon.exit_status().unwrap(), None);
    assert_eq!(daemon.terminate(PATIENCE).unwrap().code(), Some(7));
    let error = daemon.wait_for_stderr("never", PATIENCE).unwrap_err().to_string();
    assert!(error.contains("ended") && error.contains("again"), "{error}");
    assert!(daemon.signal(Signal::SIGKILL).is_err());
    drop(daemon);
    assert!(!directory.exists());
}

#[test]
fn nothing_is_left_behind_not_even_after_a_panic() {
    let outside = |names: &str| {
        let mut netlink = NetNs::current().unwrap().netlink().unwrap();
        netlink.links().unwrap().iter().filter(|link| link.name == names).count()
    };
    // A cable into each of the lab's hosts: it disappears with the host's namespace.
    let keeper = Host::new("keeper").unwrap();
    let (started, daemon_pid) = std::sync::mpsc::channel();
    let outcome = std::panic::catch_unwind(|| {
        let lab = Lab::builder()
            .link("gone1", WanLink::symmetric(LinkSpec::new(20.0, 10)))
            .direct_link("gone2")
            .build()
            .unwrap();
        keeper.connect("to-client", lab.client(), "canary").unwrap();
        keeper.connect("to-server", lab.server(), "canary").unwrap();
        assert_eq!(keeper.netlink().links().unwrap().len(), 3);
        let daemon = Daemon::builder(lab.client(), "sleep").unwrap().arg("1000").start().unwrap();
        started.send(daemon.pid()).unwrap();
        let _transfer = Transfer::download(lab.client(), lab.server(), lab.server_v4())
            .duration(Duration::from_secs(1000))
            .start()
            .unwrap();
        panic!("in the middle of a test");
    });
    assert!(outcome.is_err());
    assert_eq!(outside("gone1") + outside("gone2"), 0);
    let pid = daemon_pid.try_recv().expect("the program was started");
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "the program was killed");
    // A child that another test is just starting may hold a copy until it executes its program.
    wait_for("the namespaces are gone", || keeper.netlink().links().unwrap().len() == 1);
}
