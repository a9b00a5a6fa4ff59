//! The table of known and of retired keys.

/// Where a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In `[general]`.
    General,
    /// In a link section.
    Link,
    /// In `[general]` as the default of all links, and in a link section.
    Both,
    /// In a `[peer NAME]` section.
    Peer,
}

/// The kind of section that a key was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `[general]`.
    General,
    /// A link section.
    Link,
    /// A `[peer NAME]` section.
    Peer,
}

/// A key that the program reads.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
}

/// A key of mlvpn 1.x.
#[derive(Debug)]
pub struct RetiredKey {
    /// Its name.
    pub name: &'static str,
    /// What replaces it.
    pub advice: &'static str,
}

const fn key(name: &'static str, scope: Scope) -> Key {
    Key { name, scope }
}

/// All keys that are read. A name that means another thing in another place occurs once for each.
pub static KEYS: [Key; 45] = [
    key("mode", Scope::General),
    key("password", Scope::General),
    key("protocol_version", Scope::General),
    key("private_key_file", Scope::General),
    key("cleartext_data", Scope::General),
    key("statuscommand", Scope::General),
    key("manage_network", Scope::General),
    key("default_route", Scope::General),
    key("nat", Scope::General),
    key("kill_switch", Scope::General),
    key("dns", Scope::General),
    key("tuntap", Scope::General),
    key("interface_name", Scope::General),
    key("mtu", Scope::General),
    key("ip4", Scope::General),
    key("ip4_gateway", Scope::General),
    key("ip4_routes", Scope::General),
    key("ip6", Scope::General),
    key("ip6_gateway", Scope::General),
    key("ip6_routes", Scope::General),
    key("reorder_buffer_size", Scope::General),
    key("policy", Scope::General),
    key("control_unix_path", Scope::General),
    key("control_bind_host", Scope::General),
    key("control_bind_port", Scope::General),
    key("control_token_file", Scope::General),
    key("timeout", Scope::Both),
    key("loss_tolerence", Scope::Both),
    key("latency_tolerence", Scope::Both),
    key("bindhost", Scope::Link),
    key("bindport", Scope::Link),
    key("bindfib", Scope::Link),
    key("binddev", Scope::Link),
    key("remotehost", Scope::Link),
    key("remoteport", Scope::Link),
    key("bandwidth_upload", Scope::Link),
    key("fallback_only", Scope::Link),
    key("max_rate", Scope::Link),
    key("cost", Scope::Link),
    key("metered", Scope::Link),
    key("public_key", Scope::Peer),
    key("preshared_key", Scope::Peer),
    key("preshared_key_file", Scope::Peer),
    key("ip4", Scope::Peer),
    key("ip6", Scope::Peer),
];

/// What people write who know other programs, in lower case, and what they mean here.
static FOREIGN: [(&str, &str); 4] = [
    ("private_key", PRIVATE_KEY_ADVICE),
    ("privatekey", PRIVATE_KEY_ADVICE),
    ("allowedips", "write the peer's networks with ip4 and ip6"),
    ("endpoint", "each link has its own remotehost and remoteport"),
];
const PRIVATE_KEY_ADVICE: &str = "put the key into a file that only its owner may read, and name it with private_key_file in [general]";

/// Keys of mlvpn 1.x that are accepted with a warning, wherever they stand.
pub static RETIRED: [RetiredKey; 3] = [
    RetiredKey { name: "protocol", advice: "mlvpn speaks UDP only: remove the line" },
    RetiredKey {
        name: "loglevel",
        advice: "remove the line, and use -v or -q on the command line",
    },
    RetiredKey {
        name: "bandwidth_download",
        advice: "remove the line; what this end receives is governed by bandwidth_upload of the other end",
    },
];

impl Scope {
    /// Whether a key of this scope may stand in `place`.
    pub fn allows(self, place: Place) -> bool {
        matches!(
            (self, place),
            (Self::Both | Self::General, Place::General)
                | (Self::Both | Self::Link, Place::Link)
                | (Self::Peer, Place::Peer)
        )
    }
}

/// The key called `name` that may stand in `place`, else one of that name that may not.
pub fn find_in(name: &str, place: Place) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name && k.scope.allows(place)).or_else(|| find(name))
}

/// What the author of a key of another program's configuration means here.
pub(super) fn foreign_advice(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    FOREIGN.iter().find(|(foreign, _)| *foreign == lower).map(|(_, advice)| *advice)
}

/// The key called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

/// The retired key called `name`.
pub fn find_retired(name: &str) -> Option<&'static RetiredKey> {
    RETIRED.iter().find(|k| k.name == name)
}

/// The candidate that `name` is most likely a misspelling of.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_ascii_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len().min(name.len()) / 4)
        .min()
        .map(|(_, c)| c)
}
