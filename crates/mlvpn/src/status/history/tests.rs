use serde_json::Value;

use super::*;
use crate::status::LinkState;
use crate::status::tests::{sample, sample_link};

fn at(millis: u64, links: &[(&str, Volume)]) -> StatusSnapshot {
    let mut status = sample();
    status.uptime = Duration::from_millis(millis);
    let named = |&(name, volume): &(&str, Volume)| LinkStatus { volume, ..sample_link(name) };
    status.links = links.iter().map(named).collect();
    status
}

fn volume(sent: u64, received: u64) -> Volume {
    Volume { sent, received }
}

fn json(history: &History) -> Value {
    serde_json::from_str(&history.to_json()).unwrap()
}

#[test]
fn rates_are_measured_over_whole_seconds_and_told_until_the_next() {
    let mut history = History::default();
    let mut rates = |millis, sent| {
        let mut status = at(millis, &[("a", volume(sent, 2 * sent))]);
        history.on_snapshot(&mut status);
        (status.links[0].rates, status.links[0].received_peak)
    };
    assert_eq!(rates(500, 1_000), (None, None));
    assert_eq!(rates(1_000, 9_000), (None, None), "half a second later");
    let first = Some(Rates { sent: 2_000, received: 4_000 });
    assert_eq!(rates(1_500, 3_000), (first, Some(4_000)));
    assert_eq!(rates(2_000, 9_000), (first, Some(4_000)));
    let second = Some(Rates { sent: 500, received: 1_000 });
    assert_eq!(rates(3_500, 4_000), (second, Some(4_000)), "over two seconds");
    assert_eq!(rates(4_500, 10), (None, Some(4_000)), "the session is another one");
    assert_eq!(rates(5_500, 20).0, Some(Rates { sent: 10, received: 20 }));
}

#[test]
fn a_link_that_comes_later_has_nothing_before_and_one_that_is_gone_is_forgotten() {
    let mut history = History::default();
    history.on_snapshot(&mut at(0, &[("a", volume(0, 0))]));
    history.on_snapshot(&mut at(1_000, &[("a", volume(5, 6)), ("b", volume(0, 0))]));
    history.on_snapshot(&mut at(2_000, &[("b", volume(7, 8))]));
    let json = json(&history);
    assert_eq!(json["at_seconds"], serde_json::json!([0.0, 1.0, 2.0]));
    assert_eq!(json["links"].as_array().unwrap().len(), 1);
    assert_eq!(json["links"][0]["name"], "b");
    assert_eq!(json["links"][0]["sent"], serde_json::json!([null, null, 7]));
    assert_eq!(json["links"][0]["received"], serde_json::json!([null, null, 8]));
    assert_eq!(json["links"][0]["srtt_ms"], serde_json::json!([null, 20.9, 20.9]));
    assert_eq!(json["links"][0]["loss_ratio"], serde_json::json!([null, 0.015625, 0.015625]));
    assert_eq!(json["tunnel"]["sent"], serde_json::json!([null, 0, 0]));
}

#[test]
fn nothing_is_measured_on_a_link_that_is_down() {
    let mut history = History::default();
    let mut status = at(0, &[("a", volume(0, 0))]);
    status.links[0].state = LinkState::WaitingPeer;
    history.on_snapshot(&mut status);
    let json = json(&history);
    assert_eq!(json["links"][0]["srtt_ms"], serde_json::json!([null]));
    assert_eq!(json["links"][0]["loss_ratio"], serde_json::json!([null]));
}

#[test]
fn five_minutes_and_a_hundred_events_are_kept() {
    let mut history = History::default();
    for second in 0..1_000 {
        history.on_snapshot(&mut at(second * 1_000, &[("a", volume(second, second))]));
        let unix = Duration::from_secs(second);
        history.on_event(unix, EventKind::Mtu, None, second.to_string());
    }
    let json = json(&history);
    for column in [&json["at_seconds"], &json["links"][0]["sent"], &json["tunnel"]["received"]] {
        assert_eq!(column.as_array().unwrap().len(), STEPS);
    }
    assert_eq!(json["at_seconds"][0], 700.0);
    let texts: Vec<_> = history.events().map(|event| event.text.as_str()).collect();
    assert_eq!((texts.len(), texts[0], texts[EVENTS - 1]), (EVENTS, "900", "999"));
}

#[test]
fn events_are_told_with_time_kind_and_link() {
    let mut history = History::default();
    let unix = Duration::from_micros(1_700_000_000_123_456);
    history.on_event(unix, EventKind::LinkDown, Some("d\"1"), "down: <b>".to_owned());
    insta::assert_snapshot!(history.to_json(), @r#"{"at_seconds":[],"tunnel":{"sent":[],"received":[]},"links":[],"events":[{"unix_seconds":1700000000.123,"kind":"link_down","link":"d\"1","text":"down: <b>"}]}"#);
}

#[test]
fn every_kind_of_event_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> = EventKind::ALL.iter().map(|k| k.as_str()).collect();
    assert_eq!(words.len(), EventKind::ALL.len());
}
