//! `mlvpn setup client TOKEN`.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::document::{ClientDocument, ClientLink};
use super::options::{ClientOptions, YesNo};
use super::plan::{Kind, Plan};
use super::questions::Questions;
use super::service::Service;
use super::token::{Identity, Token};
use super::uplinks::{self, Medium, Survey, Uplink};
use super::{Place, account, existing, networks};
use crate::config::{Config, Host, Mode};
use crate::network::command;
use crate::network::present::Present;

/// The longest token that is read, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// Does what the command line says.
pub(super) fn run(options: &ClientOptions) -> anyhow::Result<()> {
    let place = Place::of(&options.common);
    let mut questions = Questions::new(options.common.yes);
    let token = token(options, &mut questions)?;
    let existing = existing::configuration(&place, Mode::Client)?;
    let present = super::look_at_network()?;
    let interface = match &existing {
        Some(config) => config.general.interface.name.clone(),
        None => existing::free_interface(&place, |name| present.link(name).is_some()),
    };
    check_addresses(&token, &present, &interface)?;
    let survey = survey(options, &present, &interface)?;
    let has_nat = !options.no_nat;
    if existing.is_none() && has_nat && command::find("nft").is_none() {
        bail!(
            "translating addresses needs the program nft: install the package nftables, or say --no-nat"
        );
    }
    let document = ClientDocument {
        token: &token,
        key_file: place.key_name(),
        interface,
        socket: socket(existing.as_ref(), &place),
        has_nat,
        links: links(&survey, &token, options)?,
    };
    tell_links(&document, &survey);
    if questions.is_asking() && !questions.is_wanted("Is that right", true)? {
        bail!("nothing was changed; --uplink DEVICE names the devices to use");
    }
    let mut plan = Plan::new(options.common.force);
    plan.folder(&place.folder);
    key(&token, &place, &mut plan)?;
    super::write_configuration(&place.configuration(), &document.to_text(), &mut plan, &questions)?;
    account::add(&mut plan)?;
    if !options.common.no_start {
        Service::of(&place).start(&place, &mut plan)?;
    }
    if plan.is_empty() {
        eprintln!("everything is there already; nothing to do");
    }
    if options.common.dry_run {
        print!("{}", plan.shown());
        return Ok(());
    }
    plan.carry_out()?;
    super::tell_start(&place, options.common.no_start, &plan);
    Ok(())
}

/// The token, with what the options say otherwise.
fn token(options: &ClientOptions, questions: &mut Questions) -> anyhow::Result<Token> {
    let text = match options.token.as_deref() {
        Some("-") => {
            let mut text = Zeroizing::new(String::with_capacity(MAX_TOKEN as usize));
            let stdin = std::io::stdin().lock();
            stdin
                .take(MAX_TOKEN)
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            text
        }
        Some(text) => Zeroizing::new(text.to_owned()),
        None => {
            let text = questions.secret(
                "The token that `mlvpn setup server` has printed",
                "TOKEN (what `mlvpn setup server` has printed; `-` reads it from standard input)",
            )?;
            questions.complete()?;
            text
        }
    };
    // Of a whole line that was pasted, the command is left out.
    let last = text.trim().strip_prefix("mlvpn setup client").unwrap_or(&text);
    let mut token: Token = last.parse()?;
    if !options.address.is_empty() {
        token.addresses.clone_from(&options.address);
    }
    if let (Some(port), Some(first)) = (options.port, token.ports.first().copied()) {
        let moved = |old: &u16| u16::try_from(i32::from(*old) - i32::from(first) + i32::from(port));
        token.ports =
            token.ports.iter().map(moved).collect::<Result<_, _>>().with_context(|| {
                format!("{} ports from {port} on are more than there are", token.ports.len())
            })?;
    }
    if let Some(wanted) = options.default_route {
        token.takes_default_route = wanted == YesNo::Yes;
    }
    if options.no_dns {
        token.dns.clear();
    }
    Ok(token)
}

/// The tunnel's networks are not those of this host.
fn check_addresses(token: &Token, present: &Present, interface: &str) -> anyhow::Result<()> {
    let known = networks::known(present, interface);
    for net in token.networks() {
        if let Some(other) = networks::clash(net, &known) {
            let option = if matches!(net, IpNet::V4(_)) { "--ip4" } else { "--ip6" };
            bail!(
                "the tunnel's network {net} clashes with {other}, to which this host knows a way: choose another \
                 one at the server, `mlvpn setup server {option} NET --force`, and add this client anew"
            );
        }
    }
    Ok(())
}

fn survey(options: &ClientOptions, present: &Present, interface: &str) -> anyhow::Result<Survey> {
    if !options.uplinks.is_empty() {
        return uplinks::choose(present, &options.uplinks);
    }
    let survey = uplinks::find(present, interface, Medium::of);
    if survey.uplinks.is_empty() {
        let ignored: Vec<_> = survey
            .ignored
            .iter()
            .map(|(device, why)| format!("; not by {device}: {why}"))
            .collect();
        bail!(
            "no device leads to the internet: there is no default route (`ip route`){}",
            ignored.concat()
        );
    }
    Ok(survey)
}

/// A link for each uplink, as far as there are ports.
fn links(
    survey: &Survey,
    token: &Token,
    options: &ClientOptions,
) -> anyhow::Result<Vec<ClientLink>> {
    let most = options.links.map_or(usize::MAX, usize::from);
    let mut ports = token.ports.iter();
    let mut links = Vec::new();
    for uplink in survey.uplinks.iter().take(most) {
        let Some(host) = host_for(uplink, &token.addresses) else {
            eprintln!(
                "note: {} is left out: it has no address of the family of the server's ({})",
                uplink.device,
                shown(&token.addresses)
            );
            continue;
        };
        let Some(port) = ports.next() else {
            eprintln!(
                "note: {} is left out: the server has {} ports, one for each link; `mlvpn setup server --links {} \
                 --force` there makes more, and then a new line for this client",
                uplink.device,
                token.ports.len(),
                survey.uplinks.len()
            );
            continue;
        };
        links.push(ClientLink { uplink: uplink.clone(), host, port: *port });
    }
    if links.is_empty() {
        bail!("no uplink can reach the server at {}", shown(&token.addresses));
    }
    Ok(links)
}

/// The first of the server's addresses that this uplink can reach.
fn host_for(uplink: &Uplink, addresses: &[Host]) -> Option<Host> {
    let is_reached = |host: &&Host| match host {
        Host::Name(_) => true,
        Host::Address(ip) if ip.is_ipv6() => uplink.has_v6,
        Host::Address(_) => uplink.has_v4,
    };
    addresses.iter().find(is_reached).cloned()
}

fn shown(addresses: &[Host]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn socket(existing: Option<&Config>, place: &Place) -> String {
    let kept = existing.and_then(|config| config.general.control.unix_path.as_ref());
    kept.map_or_else(|| place.socket(), |path| path.display().to_string())
}

/// The private key's file.
fn key(token: &Token, place: &Place, plan: &mut Plan) -> anyhow::Result<()> {
    let path = place.key();
    match &token.identity {
        Identity::Given(key) => {
            let line = Zeroizing::new(format!("{}\n", key.to_base64().as_str()));
            plan.file(&path, &line, Kind::Key)
        }
        Identity::Kept(public) => match existing::private_key(&path)? {
            Some(key) if key.public_key() == *public => Ok(()),
            Some(key) => bail!(
                "the line is for the client with the public key {public}, and the key in {} is that of {}",
                path.display(),
                key.public_key()
            ),
            None => bail!(
                "the line is for a client that has a key pair, and {} is missing: `mlvpn genkey --out {}` \
                 makes one and prints the public key, which the server needs before it prints the line",
                path.display(),
                path.display()
            ),
        },
    }
}

fn tell_links(document: &ClientDocument<'_>, survey: &Survey) {
    for (device, why) in &survey.ignored {
        eprintln!("not an uplink: {device}: {why}");
    }
    for link in &document.links {
        let gateways: Vec<_> = link.uplink.gateways.iter().map(ToString::to_string).collect();
        let by = match gateways.as_slice() {
            [] => String::new(),
            gateways => format!(" by {}", gateways.join(" and ")),
        };
        eprintln!(
            "link {}: {}{by}, to {} port {}",
            link.uplink.name, link.uplink.device, link.host, link.port
        );
    }
    for remark in &survey.remarks {
        eprintln!("note: {remark}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_goes_to_the_first_address_that_it_can_reach() {
        let uplink = |has_v4, has_v6| Uplink {
            name: "a".to_owned(),
            device: "a".to_owned(),
            has_v4,
            has_v6,
            gateways: Vec::new(),
        };
        let hosts: Vec<Host> =
            ["2001:db8::1", "192.0.2.1"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(host_for(&uplink(true, true), &hosts), Some(hosts[0].clone()));
        assert_eq!(host_for(&uplink(true, false), &hosts), Some(hosts[1].clone()));
        assert_eq!(host_for(&uplink(true, false), &hosts[..1]), None);
        let name: Host = "vpn.example.org".parse().unwrap();
        assert_eq!(host_for(&uplink(false, true), std::slice::from_ref(&name)), Some(name));
    }
}
