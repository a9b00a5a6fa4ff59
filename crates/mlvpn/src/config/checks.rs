//! What only two keys or two sections together can get wrong.

pub(super) mod network;
pub(super) mod peers;

use mlvpn_proto::id::PathId;

use super::reader::Sections;
use super::{Config, Finding, Findings, Link};

/// Compares the links with one another.
pub(super) fn check(sections: &Sections<'_>, links: &[Link], findings: &mut Findings) {
    check_bandwidth(sections, links, findings);
    check_same_socket(sections, links, findings);
    check_all_fallback(sections, links, findings);
}

/// Warns of keys that have no meaning in the only version of the protocol that is spoken.
pub(super) fn check_version(config: &Config, sections: &Sections<'_>, findings: &mut Findings) {
    if config.general.speaks_v2() {
        return;
    }
    let general = sections.general.as_ref().and_then(|section| section.entry("policy"));
    let links = sections.links.iter();
    let of_links = links.flat_map(|link| ["max_rate", "cost"].map(|key| link.entry(key)));
    for entry in of_links.flatten().chain(general) {
        findings.push(
            Finding::warning(
                entry.key.span,
                format!("`{}` has no effect with version 1 of the protocol", entry.key.text),
            )
            .label("ignored")
            .help("remove the line, or protocol_version = 1"),
        );
    }
}

/// Warns of links that would take each other's place: a session of version 2 has as many paths as its
/// packets have numbers for.
pub(super) fn check_count(config: &Config, sections: &Sections<'_>, findings: &mut Findings) {
    let Some(section) = sections.links.get(PathId::COUNT).filter(|_| config.general.speaks_v2())
    else {
        return;
    };
    findings.push(
        Finding::warning(
            section.name.span,
            format!("version 2 of the protocol has room for {} links", PathId::COUNT),
        )
        .label("this one and those below take the places of others")
        .help("remove links, or protocol_version = 1"),
    );
}

/// Warns of an MTU with which every full packet is sent in two fragments.
pub(super) fn check_mtu(config: &Config, sections: &Sections<'_>, findings: &mut Findings) {
    let largest = config.unfragmented_mtu();
    let entry = sections.general.as_ref().and_then(|s| s.entry("mtu"));
    if let (Some(mtu), Some(entry)) = (config.general.interface.mtu, entry)
        && mtu > largest
    {
        findings.push(
            Finding::warning(entry.value.span, format!("an mtu of {mtu} makes the links fragment"))
                .label(format!("more than {largest}"))
                .help(format!(
                    "remove the line: mlvpn then uses the largest that fits, {largest} over links of 1500 bytes"
                )),
        );
    }
}

/// Weights are those of the configuration only when all links have one.
fn check_bandwidth(sections: &Sections<'_>, links: &[Link], findings: &mut Findings) {
    if links.iter().all(|l| l.bandwidth_upload.is_none()) {
        return;
    }
    for (section, link) in sections.links.iter().zip(links) {
        if link.bandwidth_upload.is_none() {
            findings.push(
                Finding::warning(
                    section.name.span,
                    "bandwidth_upload is set for other links but not for this one",
                )
                .label("so all links get the same share")
                .help("set it in every link section, in bytes per second, or in none"),
            );
        }
    }
}

fn check_same_socket(sections: &Sections<'_>, links: &[Link], findings: &mut Findings) {
    let socket = |l: &Link| (l.bind_host.clone(), l.bind_port, l.bind_dev.clone(), l.bind_fib);
    for (at, link) in links.iter().enumerate().filter(|(_, l)| l.bind_port.is_some()) {
        let earlier = links[..at].iter().find(|l| socket(l) == socket(link));
        let entry = sections.links[at].entry("bindport");
        if let (Some(earlier), Some(entry)) = (earlier, entry) {
            findings.push(
                Finding::error(
                    entry.value.span,
                    format!(
                        "`{}` and `{}` have the same address and port",
                        earlier.name, link.name
                    ),
                )
                .label("taken")
                .help("give each link a bindport of its own"),
            );
        }
    }
}

fn check_all_fallback(sections: &Sections<'_>, links: &[Link], findings: &mut Findings) {
    if links.iter().all(|l| l.fallback_only)
        && let Some(entry) = sections.links.first().and_then(|s| s.entry("fallback_only"))
    {
        findings.push(
            Finding::warning(entry.key.span, "all links are fallback_only")
                .label("there is nothing to fall back from")
                .help("leave it out of the links that carry the traffic"),
        );
    }
}
