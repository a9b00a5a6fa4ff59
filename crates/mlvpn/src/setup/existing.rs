//! What is there of an earlier set-up.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use mlvpn_proto::crypto::keypair::PrivateKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Place;
use crate::config::{self, Config, Host, Mode};

/// What the server tells its clients and has no use for itself: kept for the next client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Choices {
    /// By which clients reach it.
    pub(super) addresses: Vec<String>,
    /// Whether all their traffic goes through the tunnel.
    pub(super) default_route: Option<bool>,
    /// What else they reach through it.
    pub(super) routes: Vec<String>,
    /// Name servers for them.
    pub(super) dns: Option<Vec<IpAddr>>,
}

impl Choices {
    /// What was kept; nothing when there is no such file.
    pub(super) fn read(place: &Place) -> anyhow::Result<Self> {
        let path = place.choices();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} makes no sense; remove it, and give all options again", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn hosts(&self) -> Vec<Host> {
        self.addresses.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(super) fn nets(&self) -> Vec<IpNet> {
        self.routes.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(super) fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("plain values can always be written");
        text + "\n"
    }
}

/// The configuration that is there; none when there is no file.
///
/// # Errors
/// When it is of no use, or that of the other end.
pub(super) fn configuration(place: &Place, mode: Mode) -> anyhow::Result<Option<Config>> {
    let path = place.configuration();
    if !path.exists() {
        return Ok(None);
    }
    let shown = path.display();
    let loaded = config::load(&path).map_err(|findings| {
        anyhow::anyhow!(
            "{shown} has mistakes; mend or remove it first, or set up another one with --name:\n{findings}"
        )
    })?;
    let config = loaded.into_config();
    if config.general.mode != mode {
        let is = if mode == Mode::Server { "a client's" } else { "a server's" };
        bail!("{shown} is {is}: set up this end under another name with --name NAME");
    }
    Ok(Some(config))
}

/// The private key that is there; none when there is no file.
pub(super) fn private_key(path: &Path) -> anyhow::Result<Option<PrivateKey>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let key = PrivateKey::from_base64(text.trim())
        .with_context(|| format!("{} holds something else than a key", path.display()))?;
    Ok(Some(key))
}

/// The interface for a new configuration: the first of its kind that no other configuration in the folder
/// and no device has.
pub(super) fn free_interface(place: &Place, is_device: impl Fn(&str) -> bool) -> String {
    let entries = fs::read_dir(&place.folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let others = paths.filter(|path| {
        path.extension().is_some_and(|extension| extension == "conf")
            && *path != place.configuration()
    });
    let texts: Vec<_> =
        others.filter_map(|path| fs::read_to_string(path).ok().map(Zeroizing::new)).collect();
    let is_named = |name: &str| {
        texts.iter().any(|text| {
            let value = text.lines().find_map(|line| {
                line.trim_start().strip_prefix("interface_name")?.trim_start().strip_prefix('=')
            });
            value.map_or(name == "mlvpn0", |value| value.trim().trim_matches(['"', '\'']) == name)
        })
    };
    let mut names = (0..).map(|number| format!("mlvpn{number}"));
    names.find(|name| !is_named(name) && !is_device(name)).expect("there are names without end")
}
