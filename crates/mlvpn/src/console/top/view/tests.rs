use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::board::{Answer, Wish};
use super::*;
use crate::console::document::{Columns, Event, History};
use crate::control::LinkSwitch;

const NOW: f64 = 1_000_000.0;

/// A client with a good link, a fallback and one without an answer, and what was in the last minutes.
fn documents() -> Documents {
    let up = r#""srtt_ms":21.44,"loss_ratio":0,"rate":{"sent":400000,"received":5000000},
        "received_peak":6000000,"path":{"capacity":1500000,"loss_ratio":0.004,"received_loss_ratio":0.02,"mtu":1472}"#;
    let status = serde_json::from_str(&format!(
        r#"{{"name":"mlvpn","version":"3.0.0","mode":"client","uptime_seconds":8040,"protocol_version":2,
        "tuntap":{{"name":"mlvpn0","mtu":1440}},"rate":{{"sent":500000,"received":6000000}},
        "peers":[{{"name":"office","software":"mlvpn 3.0.0","uptime_seconds":192}}],
        "tunnels":[
          {{"name":"adsl","condition":"up",{up}}},
          {{"name":"a-link-with-a-very-long-name","condition":"standby","fallback_only":true,
            "remark":"used only while no other link is usable","srtt_ms":340.2,"rate":{{"sent":0,"received":0}}}},
          {{"name":"lte\u001b[2J","condition":"waiting","remark":"no answer from 192.0.2.1:5081"}}
        ]}}"#
    ));
    let ramp: Vec<_> = (0..120u64).map(|step| (step != 60).then_some(step * 1_000)).collect();
    let columns = Columns { sent: ramp.clone(), received: ramp };
    let event = |ago: f64, link: Option<&str>, text: &str| Event {
        unix_seconds: NOW - ago,
        kind: String::new(),
        link: link.map(str::to_owned),
        text: text.to_owned(),
    };
    let history = History {
        at_seconds: (0..120).map(f64::from).collect(),
        links: vec![Track { name: "adsl".to_owned(), columns }],
        events: vec![
            event(192.0, None, "the tunnel is up"),
            event(12.0, Some("lte"), "down: timeout"),
        ],
        ..History::default()
    };
    Documents { status: status.unwrap(), history }
}

fn board() -> Board {
    let mut board = Board::default();
    board.on_answer(Answer::News(Box::new(Ok(documents()))));
    board
}

fn press(board: &mut Board, keys: &str) -> Option<Wish> {
    let mut wish = None;
    for key in keys.chars() {
        let code = match key {
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            key => KeyCode::Char(key),
        };
        wish = board.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    wish
}

fn drawn(board: &mut Board, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, Colour::On, NOW)).unwrap();
    terminal
}

#[test]
fn all_of_it_fits_on_a_terminal_of_the_usual_size() {
    insta::assert_snapshot!(drawn(&mut board(), 100, 20).backend());
}

#[test]
fn a_narrow_terminal_keeps_what_matters_most() {
    insta::assert_snapshot!(drawn(&mut board(), 50, 14).backend());
}

#[test]
fn no_size_is_too_small_to_draw_on() {
    for (width, height) in [(1, 1), (3, 2), (10, 5), (20, 3), (200, 1), (300, 100)] {
        drawn(&mut board(), width, height);
    }
}

#[test]
fn a_program_that_is_gone_is_told_beside_what_was_known_last() {
    let mut board = board();
    board
        .on_answer(Answer::News(Box::new(Err("/run/mlvpn.sock: nobody\u{1b} answers".to_owned()))));
    let shown = drawn(&mut board, 100, 20).backend().to_string();
    assert!(shown.contains("not reachable: /run/mlvpn.sock: nobody? answers"), "{shown}");
    assert!(shown.contains("adsl"), "{shown}");
    board.on_answer(Answer::News(Box::new(Ok(documents()))));
    assert!(!drawn(&mut board, 100, 20).backend().to_string().contains("not reachable"));
    let mut empty = Board::default();
    empty.on_answer(Answer::News(Box::new(Err("no".to_owned()))));
    assert!(drawn(&mut empty, 40, 5).backend().to_string().contains("not reachable: no"));
}

#[test]
fn a_link_is_switched_only_after_a_yes() {
    let mut board = board();
    assert_eq!(press(&mut board, "↓d"), None);
    let shown = drawn(&mut board, 100, 20).backend().to_string();
    assert!(shown.contains("Close a-link-with-a-very-long-name?"), "{shown}");
    assert_eq!(press(&mut board, "n"), None);
    assert_eq!(press(&mut board, "y"), None, "nothing is asked any more");
    let name = "a-link-with-a-very-long-name".to_owned();
    assert_eq!(
        press(&mut board, "fy"),
        Some(Wish::Switch(name.clone(), LinkSwitch::Fallback(false)))
    );
    assert_eq!(press(&mut board, "uy"), Some(Wish::Switch(name, LinkSwitch::Up)));
    let adsl = || "adsl".to_owned();
    assert_eq!(press(&mut board, "↑fy"), Some(Wish::Switch(adsl(), LinkSwitch::Fallback(true))));
    assert_eq!(press(&mut board, "↑dy"), Some(Wish::Switch(adsl(), LinkSwitch::Down)));
    board.on_answer(Answer::Switched(adsl(), Ok("switched off".to_owned())));
    assert!(drawn(&mut board, 100, 20).backend().to_string().contains("adsl: switched off"));
    assert_eq!(press(&mut board, "q"), Some(Wish::End));
}

#[test]
fn closing_the_only_link_that_is_up_is_said_to_be_so() {
    let mut documents = documents();
    documents.status.tunnels.remove(1);
    let mut board = Board::default();
    board.on_answer(Answer::News(Box::new(Ok(documents))));
    press(&mut board, "d");
    assert!(board.question().unwrap().contains("No other link is up"), "{:?}", board.question());
}

#[test]
fn paused_nothing_changes_but_the_trouble() {
    let mut board = board();
    press(&mut board, " ");
    let mut other = documents();
    other.status.name = "another".to_owned();
    board.on_answer(Answer::News(Box::new(Ok(other.clone()))));
    let shown = drawn(&mut board, 100, 20).backend().to_string();
    assert!(shown.contains("paused") && !shown.contains("another"), "{shown}");
    press(&mut board, " ");
    board.on_answer(Answer::News(Box::new(Ok(other))));
    assert!(drawn(&mut board, 100, 20).backend().to_string().contains("another"));
}

#[test]
fn the_selected_link_is_seen_however_many_there_are() {
    let mut documents = documents();
    let link = documents.status.tunnels[0].clone();
    documents.status.tunnels =
        (0..40).map(|n| Link { name: format!("link{n}"), ..link.clone() }).collect();
    let mut board = Board::default();
    board.on_answer(Answer::News(Box::new(Ok(documents))));
    for place in (0..40).chain((0..40).rev()) {
        let shown = drawn(&mut board, 80, 16).backend().to_string();
        assert!(shown.contains(&format!("> link{} ", board.selected())), "{place}: {shown}");
        press(&mut board, if place < 39 { "↓" } else { "↑" });
    }
}

#[test]
fn without_colours_there_are_none() {
    let coloured = |colour| {
        let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
        terminal.draw(|frame| draw(frame, &mut board(), colour, NOW)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(coloured(Colour::On) && !coloured(Colour::Off));
}
