//! From what there is to what there should be, in steps that can be taken back.

use std::fmt;

use mlvpn_io::netlink::{Prefix, Route, Rule};

use super::desired::{Desired, Group, is_same_place};
use super::numbers::Slot;
use super::present::Present;

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Gives the interface an address.
    AddAddress(u32, Prefix),
    /// Takes one away.
    DeleteAddress(u32, Prefix),
    /// Sets the interface up.
    SetUp(u32),
    /// Sets it down.
    SetDown(u32),
    /// Adds a route.
    AddRoute(Route),
    /// Puts a route in the place of another.
    ReplaceRoute {
        /// The one that there shall be.
        new: Route,
        /// The one that there is.
        old: Route,
    },
    /// Deletes a route.
    DeleteRoute(Route),
    /// Adds a rule.
    AddRule(Rule),
    /// Deletes a rule.
    DeleteRule(Rule),
}

/// Steps that make sense together only: when one fails, those before it are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What they are for, as a phrase.
    pub purpose: String,
    /// The steps.
    pub operations: Vec<Operation>,
    /// Whether they follow devices and gateways, so that they may fail now and succeed later.
    pub is_for_link: bool,
}

impl Batch {
    fn new(purpose: String, operations: Vec<Operation>) -> Self {
        Self { purpose, operations, is_for_link: false }
    }
}

/// What of the interface is our doing, for nothing that the kernel tells shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// The addresses that we gave it.
    pub addresses: Vec<Prefix>,
    /// Whether we set it up.
    pub is_up: bool,
    /// Whether it has been up since it is to be, whoever set it up.
    pub was_up: bool,
}

impl Operation {
    /// What takes it back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::AddAddress(link, prefix) => Self::DeleteAddress(link, prefix),
            Self::DeleteAddress(link, prefix) => Self::AddAddress(link, prefix),
            Self::SetUp(link) => Self::SetDown(link),
            Self::SetDown(link) => Self::SetUp(link),
            Self::AddRoute(route) => Self::DeleteRoute(route),
            Self::ReplaceRoute { new, old } => Self::ReplaceRoute { new: old, old: new },
            Self::DeleteRoute(route) => Self::AddRoute(route),
            Self::AddRule(rule) => Self::DeleteRule(rule),
            Self::DeleteRule(rule) => Self::AddRule(rule),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress(_, prefix) => write!(f, "add address {prefix}"),
            Self::DeleteAddress(_, prefix) => write!(f, "delete address {prefix}"),
            Self::SetUp(_) => f.write_str("set the interface up"),
            Self::SetDown(_) => f.write_str("set the interface down"),
            Self::AddRoute(route) => write!(f, "add {route}"),
            Self::ReplaceRoute { new, .. } => write!(f, "replace {new}"),
            Self::DeleteRoute(route) => write!(f, "delete {route}"),
            Self::AddRule(rule) => write!(f, "add {rule}"),
            Self::DeleteRule(rule) => write!(f, "delete {rule}"),
        }
    }
}

/// The steps from what is `present` to what is `desired`: first away with what leads astray, then the
/// interface, then group by group, and last away with what is of no use any more.
#[must_use]
pub fn difference(desired: &Desired, present: &Present, owned: &Owned, slot: Slot) -> Vec<Batch> {
    let mut batches = vec![stale_rules(desired, present, slot), interface(desired, present, owned)];
    batches.extend(desired.groups.iter().map(|group| group_batch(group, present, slot)));
    batches.push(stale_routes(desired, present, slot));
    batches.push(stale_addresses(desired, present, owned));
    batches.retain(|batch| !batch.operations.is_empty());
    batches
}

/// Rules that there should not be. Those that lead into the tunnel go before those by which links
/// go past it.
fn stale_rules(desired: &Desired, present: &Present, slot: Slot) -> Batch {
    let is_wanted = |rule: &&Rule| desired.groups.iter().any(|group| group.rules.contains(rule));
    let mut stale: Vec<_> =
        present.own_rules(slot).filter(|rule| !is_wanted(rule)).cloned().collect();
    stale.sort_by_key(|rule| !slot.leads_into_tunnel(rule.priority));
    let operations = stale.into_iter().map(Operation::DeleteRule).collect();
    Batch::new("remove rules".to_owned(), operations)
}

fn interface(desired: &Desired, present: &Present, owned: &Owned) -> Batch {
    let purpose = format!("set up {}", desired.interface);
    let Some(link) = present.link(&desired.interface) else {
        return Batch::new(purpose, Vec::new());
    };
    let has = |prefix: &Prefix| {
        present.addresses.iter().any(|a| a.link == link.index && a.prefix == *prefix)
    };
    let missing = desired.addresses.iter().filter(|prefix| !has(prefix));
    let mut operations: Vec<_> =
        missing.map(|prefix| Operation::AddAddress(link.index, *prefix)).collect();
    // Once: who sets it down later wants it down.
    if desired.is_up && !link.is_up && !owned.is_up && !owned.was_up {
        operations.push(Operation::SetUp(link.index));
    }
    if !desired.is_up && owned.is_up && link.is_up {
        operations.push(Operation::SetDown(link.index));
    }
    Batch::new(purpose, operations)
}

fn group_batch(group: &Group, present: &Present, slot: Slot) -> Batch {
    let mut operations = Vec::new();
    for route in &group.routes {
        match present.own_routes(slot).find(|old| is_same_place(old, route)) {
            Some(old) if old == route => {}
            Some(old) => {
                operations.push(Operation::ReplaceRoute { new: route.clone(), old: old.clone() });
            }
            None => operations.push(Operation::AddRoute(route.clone())),
        }
    }
    let missing = group.rules.iter().filter(|rule| !present.rules.contains(rule));
    operations.extend(missing.cloned().map(Operation::AddRule));
    Batch { is_for_link: group.is_for_link, ..Batch::new(group.purpose.clone(), operations) }
}

fn stale_routes(desired: &Desired, present: &Present, slot: Slot) -> Batch {
    let is_wanted = |route: &&Route| {
        let mut wanted = desired.groups.iter().flat_map(|group| &group.routes);
        wanted.any(|wanted| is_same_place(wanted, route))
    };
    let mut stale: Vec<_> =
        present.own_routes(slot).filter(|route| !is_wanted(route)).cloned().collect();
    // Those with a gateway before those by which it is reached.
    stale.sort_by_key(|route| route.gateway.is_none());
    let operations = stale.into_iter().map(Operation::DeleteRoute).collect();
    Batch::new("remove routes".to_owned(), operations)
}

fn stale_addresses(desired: &Desired, present: &Present, owned: &Owned) -> Batch {
    let purpose = format!("remove addresses of {}", desired.interface);
    let link = present.link(&desired.interface).map(|link| link.index);
    let is_stale = |prefix: &&Prefix| {
        !desired.addresses.contains(prefix)
            && present.addresses.iter().any(|a| Some(a.link) == link && a.prefix == **prefix)
    };
    let stale = owned.addresses.iter().filter(is_stale);
    let operations = stale.zip(link.into_iter().cycle());
    let operations = operations.map(|(prefix, link)| Operation::DeleteAddress(link, *prefix));
    Batch::new(purpose, operations.collect())
}

#[cfg(test)]
mod tests;
