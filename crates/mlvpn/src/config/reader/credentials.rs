//! The keys of `[general]` by which ends know each other.

use mlvpn_proto::crypto::keypair::{KeyError, PrivateKey};

use super::Fields;
use crate::config::ini::{Value, is_key_like};
use crate::config::password::{Use, weakness};
use crate::config::value::Fault;
use crate::config::{Credentials, Finding, KeyFiles, KeyPair, Password, ProtocolVersion, Span};

/// Reads who this end is; the password is missed only where there is no sign of key pairs.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    section: Span,
    protocol: ProtocolVersion,
    has_peers: bool,
    keys: &mut KeyFiles,
) -> Option<Credentials> {
    let has_keys = has_peers || fields.value("private_key_file").is_some();
    let Some(value) = fields.value("password") else {
        if !has_keys {
            fields.push(no_password(fields.place("password"), section, protocol));
            return None;
        }
        return Some(Credentials { password: None, key_pair: key_pair(fields, protocol, keys) });
    };
    let password_use = match protocol {
        ProtocolVersion::Auto | ProtocolVersion::V1 => Some(Use::Version1),
        ProtocolVersion::V2 if has_keys => None,
        ProtocolVersion::V2 => Some(Use::Version2),
    };
    match password_use {
        Some(password_use) => check_password(fields, value, password_use),
        None => fields.push(
            Finding::warning(value.span, "the password has no effect")
                .label("only version 1 would use it")
                .help("remove the line, or set protocol_version = \"auto\": peers are known by their keys"),
        ),
    }
    let password = Some(Password::new(value.legacy.as_bytes().to_vec()));
    Some(Credentials { password, key_pair: key_pair(fields, protocol, keys) })
}

fn check_password(fields: &mut Fields<'_, '_>, value: &Value, password_use: Use) {
    if value.legacy.as_str() != value.text.as_str() {
        fields.push(
            Finding::warning(value.span, "the password is not read as it looks")
                .label("spaces are dropped, single quotes belong to it")
                .help("put it between double quotes at both ends, in the same way"),
        );
    }
    if !value.text.is_ascii() && password_use == Use::Version1 {
        fields.push(
            Finding::warning(value.span, "the password has characters beyond ASCII").help(
                "mlvpn 2.x cannot read it; `mlvpn genpass` prints one that every version can",
            ),
        );
    }
    if let Some(why) = weakness(&value.legacy, password_use) {
        let label = match password_use {
            Use::Version1 => "easy to guess",
            Use::Version2 => "can be guessed from one recorded handshake",
        };
        fields.push(
            Finding::warning(value.span, format!("the password is weak: {why}"))
                .label(label)
                .help("`mlvpn genpass` prints a strong one; both ends need the same"),
        );
    }
}

fn no_password(place: Option<Span>, section: Span, protocol: ProtocolVersion) -> Finding {
    let help = match protocol {
        ProtocolVersion::V2 => {
            "add password = \"...\", the same at both ends (`mlvpn genpass` prints a strong one), \
             or private_key_file and a [peer NAME] section"
        }
        _ => "add password = \"...\", the same at both ends; `mlvpn genpass` prints a strong one",
    };
    match place {
        Some(span) => {
            Finding::error(span, "the password is empty").label("nothing here").help(help)
        }
        None => {
            Finding::error(section, "the password is missing").label("no password here").help(help)
        }
    }
}

/// The key pair, unless the version of the protocol makes it useless anyway.
fn key_pair(
    fields: &mut Fields<'_, '_>,
    protocol: ProtocolVersion,
    keys: &mut KeyFiles,
) -> Option<KeyPair> {
    if protocol == ProtocolVersion::V1 {
        return None;
    }
    key_file(fields, "private_key_file", "mlvpn genkey", keys, PrivateKey::from_base64).map(KeyPair)
}

/// The key in the file that the value of `key` names; `program` prints such keys.
pub(super) fn key_file<T>(
    fields: &mut Fields<'_, '_>,
    key: &str,
    program: &str,
    keys: &mut KeyFiles,
    parse: impl FnOnce(&str) -> Result<T, KeyError>,
) -> Option<T> {
    let path = fields.value(key)?.text.as_str();
    let read = if is_key_like(path) {
        Err(Fault::new(
            "this looks like a key, not like the path of a file",
            "put the key into a file that only its owner may read, and write the path of that file",
        ))
    } else {
        keys.read(path, program).and_then(|text| {
            parse(&text).map_err(|error| {
                Fault::new(format!("{path}: {error}"), format!("it holds what `{program}` prints"))
            })
        })
    };
    read.map_err(|fault| fields.refuse(key, fault)).ok()
}
