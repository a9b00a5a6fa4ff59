//! `mlvpn setup server`.

mod answers;
mod draft;

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::document::{PeerSection, ServerDocument};
use super::existing::{self, Choices};
use super::options::ServerOptions;
use super::plan::{Kind, Plan};
use super::questions::Questions;
use super::service::Service;
use super::token::{Ends, Identity, Token};
use super::{Place, account, firewall};
use crate::config::{Config, Host, Mode};
use crate::network::command;
use crate::network::present::Present;

/// Does what the command line says.
pub(super) fn run(options: &ServerOptions) -> anyhow::Result<()> {
    let setting = Setting::look(options)?;
    let mut questions = Questions::new(options.common.yes);
    let choices = setting.choices(&mut questions)?;
    let mut document = setting.document(&questions)?;
    questions.complete()?;
    let client = setting.client(&document, &questions)?;
    let mut plan = Plan::new(options.common.force);
    setting.plan(&mut document, client.as_ref(), &mut plan, &questions)?;
    setting.plan_around(&document, &choices, &mut plan)?;
    if plan.is_empty() {
        eprintln!("everything is there already; nothing to do");
        eprintln!("for another client: mlvpn setup server --add-client NAME");
    }
    if options.common.dry_run {
        print!("{}", plan.shown());
        return Ok(());
    }
    plan.carry_out()?;
    setting.tell(&document, &choices, &plan);
    if let Some(client) = &client {
        let token = client.token(setting.key.public_key(), &document, &choices);
        show(&token, &client.section.name, &setting.place);
    }
    Ok(())
}

/// The command line, and the host that it is for.
struct Setting<'a> {
    options: &'a ServerOptions,
    place: Place,
    present: Present,
    existing: Option<Config>,
    kept: Choices,
    key: PrivateKey,
}

/// A client that is to be added.
struct Client {
    section: PeerSection,
    identity: Identity,
}

impl<'a> Setting<'a> {
    fn look(options: &'a ServerOptions) -> anyhow::Result<Self> {
        let place = Place::of(&options.common);
        let existing = existing::configuration(&place, Mode::Server)?;
        let own_key = existing.as_ref().map(|config| {
            config.general.credentials.key_pair.clone().map(|pair| pair.0).with_context(|| {
                format!(
                    "{} has a password and no key pair: set up another one with --name NAME",
                    place.configuration().display()
                )
            })
        });
        let key = match own_key.transpose()? {
            Some(key) => key,
            None => match existing::private_key(&place.key())? {
                Some(key) => key,
                None => PrivateKey::take(&mut *crate::cli::random_bytes()?),
            },
        };
        let kept = Choices::read(&place)?;
        let present = super::look_at_network()?;
        let wants_nat = !options.no_nat;
        if existing.is_none() && wants_nat && command::find("nft").is_none() {
            bail!(
                "translating addresses needs the program nft: install the package nftables, or say --no-nat"
            );
        }
        Ok(Self { options, place, present, existing, kept, key })
    }

    /// The key and the configuration. One whose links and addresses stay grows at its end, and keeps what
    /// its owner has written.
    fn plan(
        &self,
        document: &mut ServerDocument,
        client: Option<&Client>,
        plan: &mut Plan,
        questions: &Questions,
    ) -> anyhow::Result<()> {
        let place = &self.place;
        plan.folder(&place.folder);
        let path = place.configuration();
        let stays = self.stays(document);
        let mut is_known = false;
        if let Some(Client { section, .. }) = client {
            is_known = document.peers.iter().any(|peer| peer.name == section.name);
            document.peers.retain(|peer| peer.name != section.name);
            document.peers.push(section.clone());
        }
        match client {
            None if stays => Ok(()),
            Some(client) if stays && !is_known => plan.append(&path, &client.section.to_text()),
            _ => {
                let line = Zeroizing::new(format!("{}\n", self.key.to_base64().as_str()));
                plan.file(&place.key(), &line, Kind::Key)?;
                super::write_configuration(&path, &document.to_text(), plan, questions)
            }
        }
    }

    /// Whether the configuration that is there has these links and addresses.
    fn stays(&self, document: &ServerDocument) -> bool {
        let Some(config) = &self.existing else { return false };
        let links: Vec<_> = config.links.iter().filter_map(draft::server_link).collect();
        let own = &config.general.addresses;
        links == document.links
            && (own.ip4, own.ip6) == (document.ip4, document.ip6)
            && config.general.network.has_nat == document.has_nat
    }

    /// What is around the configuration.
    fn plan_around(
        &self,
        document: &ServerDocument,
        choices: &Choices,
        plan: &mut Plan,
    ) -> anyhow::Result<()> {
        let Self { options, place, .. } = self;
        plan.note(&place.choices(), &choices.to_text())?;
        account::add(plan)?;
        firewall::open(&document.ports(), options.open_firewall, plan);
        if !options.common.no_start {
            Service::of(place).start(place, plan)?;
        }
        Ok(())
    }

    /// What the user has to do, and should know.
    fn tell(&self, document: &ServerDocument, choices: &Choices, plan: &Plan) {
        let is_own =
            |ip: IpAddr| self.present.addresses.iter().any(|address| address.prefix.address == ip);
        for host in choices.hosts() {
            if let Host::Address(ip) = host
                && !is_own(ip)
            {
                let ports = document.ports();
                let (first, last) = (ports.first().copied(), ports.last().copied());
                eprintln!(
                    "note: {ip} is no address of this host: the router that has it must forward UDP {} to {} to \
                     this host",
                    first.unwrap_or_default(),
                    last.unwrap_or_default()
                );
            }
        }
        super::tell_start(&self.place, self.options.common.no_start, plan);
    }
}

impl Client {
    /// What the client has to know.
    fn token(&self, server_key: PublicKey, document: &ServerDocument, choices: &Choices) -> Token {
        let networks = &self.section.networks;
        let is_host = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
        let own = |is_ipv6: bool| {
            let hosts = networks.iter().filter(is_host).map(IpNet::addr);
            hosts.into_iter().find(|ip| ip.is_ipv6() == is_ipv6)
        };
        let ip4 = own(false).zip(document.ip4).and_then(|(ip, net)| match ip {
            IpAddr::V4(ip) => {
                Some(Ends { client: Ipv4Net::new(ip, net.prefix_len()).ok()?, server: net.addr() })
            }
            IpAddr::V6(_) => None,
        });
        let ip6 = own(true).zip(document.ip6).and_then(|(ip, net)| match ip {
            IpAddr::V6(ip) => {
                Some(Ends { client: Ipv6Net::new(ip, net.prefix_len()).ok()?, server: net.addr() })
            }
            IpAddr::V4(_) => None,
        });
        Token {
            addresses: choices.hosts(),
            ports: document.ports(),
            server_key,
            identity: self.identity.clone(),
            preshared_key: self.section.preshared_key.clone(),
            ip4,
            ip6,
            takes_default_route: choices.default_route.unwrap_or(true),
            routes: choices.nets(),
            dns: choices.dns.clone().unwrap_or_default(),
        }
    }
}

/// The line for the client goes to standard output, alone.
fn show(token: &Token, name: &str, place: &Place) {
    let secret = match (&token.identity, &token.preshared_key) {
        (Identity::Given(_), _) => {
            "It is a SECRET: it holds the client's private key, and whoever has it is that client. It is \
             shown only now."
        }
        (Identity::Kept(_), Some(_)) => "It is a SECRET: it holds the pre-shared key.",
        (Identity::Kept(_), None) => "It holds no secret.",
    };
    eprintln!("\nPaste this line on the client {name}, as root. {secret}\n");
    if matches!(token.identity, Identity::Kept(_)) {
        eprintln!("Its private key must be in {} there.\n", place.key().display());
    }
    println!("mlvpn setup client {}", token.to_text().as_str());
}
