//! From sections to a [`Config`].

mod credentials;
mod fields;
mod filters;
mod general;
mod link;
mod network;
mod peer;

use std::collections::BTreeSet;

use super::ini::{Document, Entry, Spanned};
use super::keys::Place;
use super::{Config, Finding, Findings, KeyFiles, Peer, Span, checks};
use fields::Fields;
use general::PartialGeneral;

/// Reads all sections, and what they name from `keys`; `None` if something is missing without which
/// there is no configuration.
pub(super) fn read(
    document: &Document,
    keys: &mut KeyFiles,
    findings: &mut Findings,
) -> Option<Config> {
    let sections = Sections::sort(document, findings);
    let has_peers = !sections.peers.is_empty();
    let general = sections.general.as_ref().map(|section| {
        let fields = Fields::new(section, Place::General, findings);
        general::read(fields, section.name.span, has_peers, keys)
    });
    if general.is_none() {
        findings.push(no_general_section(document.end));
    }
    let (mode, defaults) = match &general {
        Some((partial, defaults)) => (partial.mode, *defaults),
        None => (None, general::LinkDefaults::default()),
    };
    let mut links = Vec::new();
    for section in &sections.links {
        let fields = Fields::new(section, Place::Link, findings);
        links.push(link::read(fields, section.name, mode, defaults));
    }
    if links.is_empty() {
        findings.push(no_links(document.end));
    }
    let peers = peers(&sections, general.as_ref().map(|(partial, _)| partial), keys, findings);
    let filters = filters::read(&sections.filters, &sections.links, findings);
    checks::check(&sections, &links, findings);
    if links.is_empty() {
        return None;
    }
    let config = Config { general: general?.0.complete()?, links, peers, filters };
    checks::check_mtu(&config, &sections, findings);
    checks::check_count(&config, &sections, findings);
    checks::check_version(&config, &sections, findings);
    checks::network::check(&config, &sections, findings);
    Some(config)
}

/// The peers that could be read.
fn peers(
    sections: &Sections<'_>,
    general: Option<&PartialGeneral>,
    keys: &mut KeyFiles,
    findings: &mut Findings,
) -> Vec<Peer> {
    let mut peers = Vec::new();
    for section in &sections.peers {
        let fields = Fields::new(section, Place::Peer, findings);
        let name = peer::peer_name(&section.name.text).unwrap_or_default();
        peers.push(peer::read(fields, section, name, keys));
    }
    if let Some(general) = general {
        let own = checks::peers::Own {
            mode: general.mode,
            protocol: general.protocol,
            interface: general.interface_kind(),
            key_pair: general.key_pair(),
        };
        checks::peers::check(&own, sections, &peers, findings);
    }
    peers.into_iter().flatten().collect()
}

/// The sections by what they are for, those of the same name put together.
pub(super) struct Sections<'d> {
    pub(super) general: Option<Merged<'d>>,
    pub(super) links: Vec<Merged<'d>>,
    /// Those called `peer NAME`.
    pub(super) peers: Vec<Merged<'d>>,
    pub(super) filters: Vec<&'d Entry>,
}

/// A section with all its entries.
pub(super) struct Merged<'d> {
    pub(super) name: &'d Spanned,
    pub(super) entries: Vec<&'d Entry>,
}

impl<'d> Sections<'d> {
    fn sort(document: &'d Document, findings: &mut Findings) -> Self {
        let mut sorted =
            Self { general: None, links: Vec::new(), peers: Vec::new(), filters: Vec::new() };
        let mut seen = BTreeSet::new();
        let mut seen_peers = BTreeSet::new();
        for section in &document.sections {
            let name = &section.name;
            // The C program looks at the first seven characters only.
            if name.text.starts_with("filters") {
                sorted.filters.extend(&section.entries);
            } else if name.text == "general" {
                match &mut sorted.general {
                    Some(general) => {
                        findings.push(second_general(name.span));
                        general.entries.extend(&section.entries);
                    }
                    none => {
                        *none = Some(Merged { name, entries: section.entries.iter().collect() });
                    }
                }
            } else if let Some(peer) = peer::peer_name(&name.text) {
                if seen_peers.insert(peer) {
                    sorted.peers.push(Merged { name, entries: section.entries.iter().collect() });
                } else {
                    findings.push(second_peer(name.span, peer));
                }
            } else if !seen.insert(name.text.as_str()) {
                findings.push(second_link(name));
            } else {
                sorted.links.push(Merged { name, entries: section.entries.iter().collect() });
            }
        }
        sorted
    }
}

impl<'d> Merged<'d> {
    /// The entry called `key`.
    pub(super) fn entry(&self, key: &str) -> Option<&'d Entry> {
        self.entries.iter().copied().find(|e| e.key.text == key)
    }
}

fn second_general(span: Span) -> Finding {
    Finding::warning(span, "[general] occurs more than once")
        .label("read as if it continued the first")
        .help("put its keys into the first [general]")
}

fn second_link(name: &Spanned) -> Finding {
    Finding::error(name.span, format!("there are two links called `{}`", name.text))
        .label("the name is taken")
        .help("give each link a name of its own")
}

fn second_peer(span: Span, name: &str) -> Finding {
    Finding::error(span, format!("there are two peers called `{name}`"))
        .label("the name is taken")
        .help("give each peer a name of its own")
}

fn no_general_section(end: Span) -> Finding {
    Finding::error(end, "there is no [general] section")
        .label("the file ends here")
        .help("it holds at least mode = \"client\" or \"server\", and the password")
}

fn no_links(end: Span) -> Finding {
    Finding::error(end, "there are no links")
        .label("the file ends here")
        .help("add a section per uplink, such as [dsl1], with bindport (server) or remotehost and remoteport (client)")
}
