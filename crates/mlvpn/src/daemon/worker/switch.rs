//! What people switch by hand while the program runs.
//!
//! It lasts until it is switched back or the program ends; a reload leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::super::data::Command;
use super::super::plan;
use super::Worker;
use crate::config::Config;
use crate::control::{LinkSwitch, Request};
use crate::status::history::EventKind;

/// What was switched, by the links' names.
#[derive(Debug, Default)]
pub(super) struct Switches {
    disabled: BTreeSet<String>,
    /// `fallback_only` in place of what the configuration says.
    fallback: BTreeMap<String, bool>,
    /// `cost` likewise.
    cost: BTreeMap<String, Duration>,
}

impl Switches {
    /// Whether a link was switched off.
    pub(super) fn is_disabled(&self, link: &str) -> bool {
        self.disabled.contains(link)
    }

    /// Puts what was switched in place of what `config` says.
    pub(super) fn apply(&self, config: &mut Config) {
        for link in &mut config.links {
            if let Some(&is_fallback) = self.fallback.get(&link.name) {
                link.fallback_only = is_fallback;
            }
            if let Some(&cost) = self.cost.get(&link.name) {
                link.terms.cost = cost;
            }
        }
    }

    /// Forgets links that `config` has not: one that comes back under the same name is another.
    pub(super) fn retain_links_of(&mut self, config: &Config) {
        let is_there = |name: &str| config.links.iter().any(|link| link.name == name);
        self.disabled.retain(|name| is_there(name));
        self.fallback.retain(|name, _| is_there(name));
        self.cost.retain(|name, _| is_there(name));
    }
}

impl Worker {
    /// Does what somebody wants who may use the control socket, and answers.
    pub(super) fn serve(&mut self, request: Request) {
        let Request { link, switch, answer } = request;
        let done = if self.links.contains_key(&link) {
            let text = self.switch(&link, switch);
            info!(link, "switched by hand: {text}");
            self.board.on_event(EventKind::LinkSwitched, Some(&link), text.as_str());
            Ok(text)
        } else {
            let names: Vec<_> = self.config.links.iter().map(|link| link.name.as_str()).collect();
            Err(format!("there is no link of this name; there are {}", names.join(", ")))
        };
        // Who does not wait for the answer does not want it.
        let _ = answer.send(done);
    }

    /// Says what is so now.
    fn switch(&mut self, name: &str, switch: LinkSwitch) -> String {
        match switch {
            LinkSwitch::Up => self.enable(name).to_owned(),
            LinkSwitch::Down => self.disable(name).to_owned(),
            LinkSwitch::Fallback(is_fallback) => self.set_fallback(name, is_fallback).to_owned(),
            LinkSwitch::Cost(cost) => self.set_cost(name, cost),
        }
    }

    fn enable(&mut self, name: &str) -> &'static str {
        if !self.switches.disabled.remove(name) {
            return "switched on already";
        }
        if let Some(link) = self.links.get_mut(name) {
            link.enable(Instant::now());
            self.resolve(name);
        }
        "switched on"
    }

    /// The peer is told, so that it does not wait for the timeout.
    fn disable(&mut self, name: &str) -> &'static str {
        if !self.switches.disabled.insert(name.to_owned()) {
            return "switched off already";
        }
        if let Some(link) = self.links.get_mut(name) {
            link.disable();
            self.data.send(Command::Renew(plan::link_config(&link.config, None)));
            self.board.on_socket(name);
            self.mtu.forget(name);
            self.apply_mtu();
            self.update_title();
        }
        "switched off"
    }

    fn set_fallback(&mut self, name: &str, is_fallback: bool) -> &'static str {
        self.switches.fallback.insert(name.to_owned(), is_fallback);
        self.switches.apply(&mut self.config);
        if let Some(link) = self.links.get_mut(name) {
            link.config.fallback_only = is_fallback;
            self.data.send(Command::Retune(plan::link_config(&link.config, None)));
        }
        if is_fallback { "used only while no other link is usable" } else { "used with the others" }
    }

    fn set_cost(&mut self, name: &str, cost: Duration) -> String {
        self.switches.cost.insert(name.to_owned(), cost);
        self.switches.apply(&mut self.config);
        if let Some(link) = self.links.get_mut(name) {
            link.config.terms.cost = cost;
            self.data.send(Command::Retune(plan::link_config(&link.config, None)));
        }
        match cost.as_millis() {
            0 => "costs nothing".to_owned(),
            millis => format!("costs {millis} ms"),
        }
    }
}
