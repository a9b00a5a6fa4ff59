use std::collections::BTreeSet;

use hyper::body::Body as _;
use serde_json::Value;

use super::*;
use crate::status::Condition;
use crate::status::history::{EventKind, History};
use crate::status::tests::sample;

/// The page as served, and its policy.
fn served() -> (String, String) {
    let page = response();
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    let mut body = page.into_body();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let frame = std::pin::pin!(&mut body).poll_frame(&mut context);
    let std::task::Poll::Ready(Some(Ok(frame))) = frame else { panic!("it is there at once") };
    (String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap(), policy)
}

#[test]
fn only_the_script_and_the_style_of_the_page_are_in_force() {
    let (page, policy) = served();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    for tag in ["script", "style"] {
        let tags: Vec<_> = page.match_indices(&format!("<{tag}")).collect();
        assert_eq!(tags.len(), 1, "{tag}");
        assert!(page[tags[0].0..].starts_with(&format!("<{tag} nonce=\"{nonce}\">")));
    }
    assert!(!page.contains(NONCE));
    assert_ne!(served().1, policy, "another number each time");
}

#[test]
fn the_page_asks_nobody_else_and_takes_no_text_for_markup() {
    let (page, _) = served();
    let without = page.replace("http://www.w3.org/2000/svg", "");
    for forbidden in
        ["http:", "https:", "//cdn", "@import", "url(", " src=", "innerHTML", "outerHTML"]
    {
        assert!(!without.contains(forbidden), "{forbidden}");
    }
    for forbidden in ["insertAdjacent", "document.write", "eval(", " style=", " onclick"] {
        assert!(!without.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn only_who_takes_html_gets_the_page() {
    let with = |accept: &'static str| {
        is_wanted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
    };
    assert!(with("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
    assert!(!with("*/*") && !with("application/json") && !is_wanted(&HeaderMap::new()));
}

/// The names that the page's script reads of a variable: `name.field`.
fn fields_read(page: &str, variable: &str) -> BTreeSet<String> {
    let start = format!("{variable}.");
    let uses = page.match_indices(&start).filter(|(at, _)| {
        let before = page[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    });
    let name = |(at, _): (usize, &str)| {
        let rest = &page[at + start.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    uses.map(name).collect()
}

#[test]
fn what_the_script_reads_is_what_is_told() {
    let (page, _) = served();
    let status: Value = serde_json::from_str(&sample().to_json()).unwrap();
    let mut history = History::default();
    history.on_snapshot(&mut sample());
    history.on_event(std::time::Duration::ZERO, EventKind::Mtu, None, String::new());
    let history: Value = serde_json::from_str(&history.to_json()).unwrap();
    for (variable, told) in [
        ("status", &status),
        ("peer", &status["peers"][0]),
        ("link", &status["tunnels"][0]),
        ("path", &status["tunnels"][0]["path"]),
        ("rate", &status["tunnels"][0]["rate"]),
        ("history", &history),
        ("columns", &history["tunnel"]),
        ("track", &history["links"][0]),
        ("event", &history["events"][0]),
    ] {
        let read = fields_read(&page, variable);
        assert!(!read.is_empty(), "{variable}");
        for field in read {
            assert!(told.get(&field).is_some(), "{variable}.{field}: {told}");
        }
    }
    assert!(status["tuntap"]["name"].is_string() && status["tuntap"]["mtu"].is_number());
}

#[test]
fn every_condition_has_a_colour() {
    let (page, _) = served();
    for condition in Condition::ALL {
        let class = format!(".{}", condition.as_str());
        let is_there = page.lines().any(|line| {
            line.contains("color: var(") && line.split([' ', ',', '{']).any(|word| word == class)
        });
        assert!(is_there, "{class}");
    }
}
