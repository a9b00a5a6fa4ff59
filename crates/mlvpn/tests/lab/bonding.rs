//! One download over all links.

use std::time::Duration;

use mlvpn_lab::Lab;
use mlvpn_lab::workload::DatagramStream;

use crate::tunnel::{Plan, SERVER_V4, lab, two_links};

tests![
    one_download_moves_over_both_links_and_arrives_intact,
    one_download_in_clear_text_moves_over_both_links_and_arrives_intact,
    an_upload_in_version_1_follows_the_configured_weights,
];

fn lines() -> Lab {
    lab(&[("dsl1", "down=10,delay=10"), ("dsl2", "down=10,delay=10")])
}

/// Bytes that arrived at the client by each link, and then at the server.
fn delivered(lab: &Lab) -> ([u64; 2], [u64; 2]) {
    let [one, two] = ["dsl1", "dsl2"].map(|link| lab.link(link).delivered_bytes().unwrap());
    ([one.0, two.0], [one.1, two.1])
}

fn download_over_both(plan: Plan, lab: &Lab) {
    let tunnel = plan.start(lab);
    let (before, _) = delivered(lab);
    let report = tunnel.download().duration(Duration::from_secs(4)).run().unwrap();
    let (after, _) = delivered(lab);
    let shares = [after[0] - before[0], after[1] - before[1]];
    assert_eq!(report.wrong_bytes(), 0);
    assert!(report.bytes() > 200_000, "{} bytes", report.bytes());
    let total = shares[0] + shares[1];
    assert!(total > report.bytes(), "all of it went over the links: {shares:?}");
    assert!(shares.iter().all(|share| share * 10 >= total * 3), "{shares:?}");
}

fn one_download_moves_over_both_links_and_arrives_intact() {
    let lab = lines();
    download_over_both(Plan::over(&lab), &lab);
}

fn one_download_in_clear_text_moves_over_both_links_and_arrives_intact() {
    let lab = lines();
    download_over_both(Plan::over(&lab).both("general", "cleartext_data", 1), &lab);
}

fn an_upload_in_version_1_follows_the_configured_weights() {
    let lab = two_links();
    let mut plan = Plan::over(&lab).in_version_1();
    plan.client.set("dsl1", "bandwidth_upload", 300_000);
    plan.client.set("dsl2", "bandwidth_upload", 100_000);
    let tunnel = plan.start(&lab);
    let (_, before) = delivered(&lab);
    let upload = DatagramStream::new(&tunnel.client.host, &tunnel.server.host, SERVER_V4);
    let report = upload.rate(2_000_000).size(1_000).duration(Duration::from_secs(2)).run().unwrap();
    assert_eq!((report.lost(), report.duplicates, report.corrupt), (0, 0, 0), "{report:?}");
    let (_, after) = delivered(&lab);
    let share = (after[0] - before[0]) as f64 / (after[1] - before[1]) as f64;
    // Keepalives of a slow test go half and half.
    assert!((2.7..3.3).contains(&share), "{share}");
}
