//! `[filters]`.

use mlvpn_proto::filter::{Filter, FilterError};
use mlvpn_proto::{Policy, Treatment};

use super::Merged;
use crate::config::ini::Entry;
use crate::config::keys::{self, Scope};
use crate::config::{FilterRule, Finding, Findings, Span};

/// Reads the rules, each of which names one of `links`, or a policy.
pub(super) fn read(
    entries: &[&Entry],
    links: &[Merged<'_>],
    findings: &mut Findings,
) -> Vec<FilterRule> {
    let mut rules = Vec::new();
    for entry in entries {
        let link = &entry.key.text;
        let Some(treatment) = treatment(link, links) else {
            findings.push(unknown_link(entry, links));
            continue;
        };
        if entry.value.text.is_empty() {
            findings.push(
                Finding::error(entry.key.span, format!("the filter for `{link}` is empty"))
                    .help("write a pcap-filter expression, such as \"udp port 5060\""),
            );
        } else if let Err(error) = Filter::parse(&entry.value.text) {
            findings.push(bad_filter(entry, &error));
        } else {
            rules.push(FilterRule { treatment, expression: entry.value.text.to_string() });
        }
    }
    rules
}

/// What the rule called `name` does. A link goes before the policy of that name: it may be older.
fn treatment(name: &str, links: &[Merged<'_>]) -> Option<Treatment> {
    let is_link = links.iter().any(|link| link.name.text == name);
    let policy = || Policy::of_name(name).map(Treatment::Policy);
    if is_link { Some(Treatment::Link(name.to_owned())) } else { policy() }
}

/// Points at the word at which the filter stops making sense.
fn bad_filter(entry: &Entry, error: &FilterError) -> Finding {
    let (text, whole) = (&entry.value.text, entry.value.span);
    let rest = text.get(error.column..).unwrap_or_default();
    let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
    // With quotes in the middle of the value, columns of the text are none of the file.
    let span = if whole.end - whole.start == text.len() && word > 0 {
        let start = whole.start + error.column;
        Span { start, end: start + word }
    } else {
        whole
    };
    Finding::error(span, format!("the filter for `{}`: {}", entry.key.text, error.message))
        .label(format!("column {} of the filter", error.column + 1))
        .help("write a pcap-filter expression, such as \"udp port 5060\"")
}

fn unknown_link(entry: &Entry, links: &[Merged<'_>]) -> Finding {
    let name = &entry.key.text;
    let is_link_key =
        keys::find(name).is_some_and(|k| matches!(k.scope, Scope::Link | Scope::Both));
    if is_link_key {
        return Finding::error(entry.key.span, format!("`{name}` outside a link section"))
            .label("belongs to a link")
            .help("move the line below the name of a link, such as [dsl1]");
    }
    let known: Vec<_> = links.iter().map(|l| l.name.text.as_str()).collect();
    let policies = Policy::ALL.map(Policy::as_str);
    let help = match keys::nearest(name, known.iter().copied().chain(policies)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "add a section for it".into(),
        None => format!("the links are {}; the policies {}", known.join(", "), policies.join(", ")),
    };
    Finding::error(entry.key.span, format!("[filters] names a link `{name}` that does not exist"))
        .label("no such link")
        .help(help)
}
