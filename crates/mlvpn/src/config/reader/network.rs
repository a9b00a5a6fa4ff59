//! The keys of `[general]` that have the program set up the host's network.

use super::Fields;
use crate::config::value::{self, Fault};
use crate::config::{Finding, HostNetwork};

/// Reads them; what contradicts itself becomes a finding.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> HostNetwork {
    let command = fields.value("statuscommand").map(|value| value.span);
    let said = fields.read("manage_network", value::yes_or_no);
    let is_possible = cfg!(target_os = "linux");
    if said == Some(true) && !is_possible {
        fields.refuse("manage_network", elsewhere());
    }
    if let (Some(true), Some(span)) = (said, command) {
        fields.push(both(span));
    }
    let network = HostNetwork {
        is_managed: said.unwrap_or(command.is_none() && is_possible),
        takes_default_route: switch(fields, "default_route"),
        has_nat: switch(fields, "nat"),
        has_kill_switch: switch(fields, "kill_switch"),
        dns: fields.read("dns", |text| value::list(text, value::address)).unwrap_or_default(),
    };
    if !network.is_managed {
        refuse_unmanaged(fields, &network, is_possible);
    }
    network
}

fn switch(fields: &mut Fields<'_, '_>, key: &str) -> bool {
    fields.read(key, value::yes_or_no).unwrap_or(false)
}

/// What asks for work that somebody else is said to do.
fn refuse_unmanaged(fields: &mut Fields<'_, '_>, network: &HostNetwork, is_possible: bool) {
    let asked = [
        ("default_route", network.takes_default_route),
        ("nat", network.has_nat),
        ("kill_switch", network.has_kill_switch),
        ("dns", !network.dns.is_empty()),
    ];
    for (key, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
        if is_possible {
            fields.refuse(
                key,
                Fault::new(
                    "the network of this host is not mlvpn's to set up",
                    "set manage_network = \"yes\" and remove statuscommand, or remove this line and \
                     let the status command do it",
                ),
            );
        } else {
            fields.refuse(key, elsewhere());
        }
    }
}

fn elsewhere() -> Fault {
    Fault::new(
        "mlvpn sets up the network on Linux only",
        "remove the line and write a statuscommand that does it; it is told the addresses and routes",
    )
}

fn both(command: crate::config::Span) -> Finding {
    Finding::error(command, "a status command and manage_network = \"yes\" are in each other's way")
        .label("would set addresses and routes, too")
        .help("remove statuscommand, or set manage_network = \"no\" and let the command do it all")
}
