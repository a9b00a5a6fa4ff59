//! `[peer NAME]` sections.

use mlvpn_proto::crypto::keypair::PresharedKey;

use super::credentials::key_file;
use super::{Fields, Merged};
use crate::config::value::{self, Fault};
use crate::config::{Finding, KeyFiles, Peer};

/// Longest name of a peer, in bytes.
const MAX_NAME: usize = 64;

/// NAME, if a section is called `peer NAME`. One called `peer` is a link, as in the C program.
pub(super) fn peer_name(section: &str) -> Option<&str> {
    let rest = section.strip_prefix("peer")?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim()).filter(|name| !name.is_empty())
}

/// Reads the section of the peer called `name`; none if its public key is of no use.
pub(super) fn read(
    mut fields: Fields<'_, '_>,
    section: &Merged<'_>,
    name: &str,
    keys: &mut KeyFiles,
) -> Option<Peer> {
    let fields = &mut fields;
    check_name(fields, section, name);
    if fields.value("public_key").is_none() {
        let place = fields.place("public_key").unwrap_or(section.name.span);
        fields.push(
            Finding::error(place, format!("the public key of peer `{name}` is missing"))
                .label("no public key")
                .help("add public_key = what `mlvpn pubkey` prints at the other end"),
        );
    }
    let public_key = fields.read("public_key", value::public_key);
    let preshared_key = preshared_key(fields, keys);
    let ip4 = fields.read("ip4", |t| value::list(t, value::ip4_network)).unwrap_or_default();
    let ip6 = fields.read("ip6", |t| value::list(t, value::ip6_network)).unwrap_or_default();
    Some(Peer { name: name.to_owned(), public_key: public_key?, preshared_key, ip4, ip6 })
}

fn preshared_key(fields: &mut Fields<'_, '_>, keys: &mut KeyFiles) -> Option<PresharedKey> {
    let (here, file) = ("preshared_key", "preshared_key_file");
    if fields.value(here).is_some() && fields.value(file).is_some() {
        fields.refuse(file, Fault::new("preshared_key is set, too", "remove one of the two lines"));
        return None;
    }
    let key = fields.read(here, value::preshared_key);
    key.or_else(|| key_file(fields, file, "mlvpn genpsk", keys, PresharedKey::from_base64))
}

fn check_name(fields: &mut Fields<'_, '_>, section: &Merged<'_>, name: &str) {
    let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    if name.len() > MAX_NAME || !name.chars().all(is_plain) {
        fields.push(
            Finding::error(section.name.span, "this cannot be the name of a peer")
                .help("at most 64 letters, digits, dots, dashes and underscores, without quotes"),
        );
    }
}
