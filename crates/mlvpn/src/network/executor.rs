//! Has the kernel do what was decided.

use std::io;

use mlvpn_io::netlink::{Netlink, NetlinkError};
use tracing::{debug, info, warn};

use super::NetworkError;
use super::operations::{Batch, Operation};

/// Does all steps of a batch, or none: what was done before one fails is taken back.
///
/// # Errors
/// The step that failed, the kernel's answer and the remedy.
pub fn execute(netlink: &mut Netlink, batch: &Batch) -> Result<(), NetworkError> {
    for (done, operation) in batch.operations.iter().enumerate() {
        debug!("to {}: {operation}", batch.purpose);
        if let Err(error) = perform(netlink, operation) {
            take_back(netlink, &batch.operations[..done]);
            let remedy = remedy(operation, &error.source);
            let error = NetworkError::new(&batch.purpose, &error, remedy);
            return Err(error.passing(batch.is_for_link));
        }
    }
    info!(steps = batch.operations.len(), "network: {}", batch.purpose);
    Ok(())
}

fn take_back(netlink: &mut Netlink, done: &[Operation]) {
    for operation in done.iter().rev().map(Operation::inverse) {
        debug!("taking back: {operation}");
        if let Err(error) = perform(netlink, &operation) {
            warn!("cannot take back a step: {error}");
        }
    }
}

/// What is there already, or gone already, is no failure.
fn perform(netlink: &mut Netlink, operation: &Operation) -> Result<(), NetlinkError> {
    let done = match operation {
        Operation::AddAddress(link, prefix) => netlink.add_address(*link, *prefix),
        Operation::DeleteAddress(link, prefix) => netlink.delete_address(*link, *prefix),
        Operation::SetUp(link) => netlink.set_link_up(*link, true),
        Operation::SetDown(link) => netlink.set_link_up(*link, false),
        Operation::AddRoute(route) => netlink.add_route(route),
        Operation::ReplaceRoute { new, .. } => netlink.replace_route(new),
        Operation::DeleteRoute(route) => netlink.delete_route(route),
        Operation::AddRule(rule) => netlink.add_rule(rule),
        Operation::DeleteRule(rule) => netlink.delete_rule(rule),
    };
    let is_addition = matches!(
        operation,
        Operation::AddAddress(..) | Operation::AddRoute(_) | Operation::AddRule(_)
    );
    let is_deletion = matches!(
        operation,
        Operation::DeleteAddress(..) | Operation::DeleteRoute(_) | Operation::DeleteRule(_)
    );
    match done {
        Err(error) if is_addition && error.is_already_there() => Ok(()),
        Err(error) if is_deletion && error.is_not_found() => Ok(()),
        done => done,
    }
}

/// What helps against the kernel's answer to a step.
fn remedy(operation: &Operation, answer: &io::Error) -> &'static str {
    let is_ip6 = match operation {
        Operation::AddAddress(_, prefix) => prefix.is_ipv6(),
        Operation::AddRoute(route) | Operation::ReplaceRoute { new: route, .. } => {
            route.destination.is_ipv6()
        }
        Operation::AddRule(rule) => rule.is_ipv6,
        _ => false,
    };
    match answer.raw_os_error().and_then(nix_errno) {
        Some(nix::errno::Errno::EPERM) => "start mlvpn as root, or with CAP_NET_ADMIN",
        Some(nix::errno::Errno::EACCES) if is_ip6 => {
            "IPv6 is disabled here: enable it (sysctl net.ipv6.conf.all.disable_ipv6=0), or remove \
             ip6 and ip6_routes from the configuration"
        }
        Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EOPNOTSUPP) if is_ip6 => {
            "this kernel has no IPv6, or no policy routing for it (CONFIG_IPV6_MULTIPLE_TABLES): \
             remove ip6 and ip6_routes from the configuration"
        }
        Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EOPNOTSUPP) => {
            "this kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): set manage_network = \
             \"no\" and use a statuscommand"
        }
        Some(nix::errno::Errno::ENETUNREACH | nix::errno::Errno::EHOSTUNREACH) => {
            "the gateway is in no network of the device; it is tried again when that changes"
        }
        Some(nix::errno::Errno::ENETDOWN | nix::errno::Errno::ENODEV) => {
            "the device is down or gone; it is tried again when that changes"
        }
        _ => "it is tried again; `mlvpn check` shows what is wanted",
    }
}

fn nix_errno(raw: i32) -> Option<nix::errno::Errno> {
    Some(nix::errno::Errno::from_raw(raw))
}
