//! The keys of one section.

use std::collections::BTreeMap;

use super::Merged;
use crate::config::ini::{Entry, Value};
use crate::config::keys::{self, KEYS, Place, RETIRED, Scope};
use crate::config::value::Fault;
use crate::config::{Finding, Findings, Span};

/// The known keys of one section, and where to complain.
pub(super) struct Fields<'d, 'f> {
    values: BTreeMap<&'static str, &'d Value>,
    findings: &'f mut Findings,
}

impl<'d, 'f> Fields<'d, 'f> {
    /// Sorts the entries of a section; unknown, retired, misplaced and repeated keys become findings.
    pub(super) fn new(section: &Merged<'d>, place: Place, findings: &'f mut Findings) -> Self {
        let mut values: BTreeMap<&'static str, &'d Value> = BTreeMap::new();
        for entry in &section.entries {
            match keys::find_in(&entry.key.text, place) {
                Some(key) if key.scope.allows(place) => match values.get(key.name) {
                    Some(first) => findings.push(repeated(entry, first)),
                    None => {
                        values.insert(key.name, &entry.value);
                    }
                },
                Some(key) => findings.push(misplaced(entry, key.scope, place)),
                None => findings.push(unknown(entry, place)),
            }
        }
        Self { values, findings }
    }

    /// The value of `key`, if there is one and it is not empty.
    pub(super) fn value(&self, key: &str) -> Option<&'d Value> {
        debug_assert!(keys::find(key).is_some(), "every key that is read is in the table");
        self.values.get(key).copied().filter(|v| !v.text.is_empty())
    }

    /// Whether `key` stands there, be it empty; and where.
    pub(super) fn place(&self, key: &str) -> Option<Span> {
        self.values.get(key).map(|v| v.span)
    }

    /// The value of `key` as `parse` reads it; a fault becomes an error.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match parse(&value.text) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                self.refuse(key, fault);
                None
            }
        }
    }

    /// Adds the finding that the value of `key` is of no use.
    pub(super) fn refuse(&mut self, key: &str, fault: Fault) {
        if let Some(span) = self.place(key) {
            let message = format!("{key}: {}", fault.message);
            self.findings.push(Finding::error(span, message).help(fault.help));
        }
    }

    /// Adds a finding.
    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

fn repeated(entry: &Entry, first: &Value) -> Finding {
    let key = &entry.key.text;
    if entry.value.text == first.text {
        Finding::warning(entry.key.span, format!("`{key}` is set twice to the same value"))
            .label("again")
            .help("remove one of the two lines")
    } else {
        Finding::error(entry.key.span, format!("`{key}` is set twice, to different values"))
            .label("the second time")
            .help("remove one of the two lines; the C program reads the first")
    }
}

fn misplaced(entry: &Entry, scope: Scope, place: Place) -> Finding {
    let key = &entry.key.text;
    match scope {
        Scope::Peer => Finding::error(entry.key.span, format!("`{key}` outside a peer's section"))
            .label("belongs to a peer")
            .help("move the line below [peer NAME], NAME being what you call the other end"),
        _ if place == Place::Peer => {
            Finding::warning(entry.key.span, format!("`{key}` does not concern a peer, and is ignored here"))
                .label("ignored")
                .help(match scope {
                    Scope::General => "move the line to [general]",
                    _ => "move the line below the name of a link, such as [dsl1]",
                })
        }
        Scope::Link => Finding::error(entry.key.span, format!("`{key}` outside a link section"))
            .label("belongs to a link")
            .help(format!("move the line below the name of a link, such as [dsl1]: each link has its own {key}")),
        Scope::General | Scope::Both => {
            Finding::warning(entry.key.span, format!("`{key}` concerns all links, and is ignored here"))
                .label("ignored")
                .help("move the line to [general]")
        }
    }
}

fn unknown(entry: &Entry, place: Place) -> Finding {
    let name = &entry.key.text;
    if let Some(retired) = keys::find_retired(name) {
        return Finding::warning(entry.key.span, format!("`{name}` is a key of mlvpn 1.x"))
            .label("ignored")
            .help(retired.advice);
    }
    let finding =
        Finding::warning(entry.key.span, format!("unknown key `{name}`")).label("ignored");
    if let Some(advice) = keys::foreign_advice(name) {
        return finding.help(advice);
    }
    let known = KEYS.iter().map(|k| k.name).chain(RETIRED.iter().map(|k| k.name));
    match keys::nearest(name, known) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help(format!("the keys of this section are {}", names(place))),
    }
}

fn names(place: Place) -> String {
    let names: Vec<_> = KEYS.iter().filter(|k| k.scope.allows(place)).map(|k| k.name).collect();
    names.join(", ")
}
