//! The configuration file: what it says, checked and typed.
//!
//! `mlvpn.conf` is an INI file that the C program introduced; `docs/config.md` documents every key.
//! Reading it never stops at the first mistake: [`parse`] collects every [`Finding`], each with the
//! place in the file and what to do about it.
//!
//! | module | purpose |
//! |---|---|
//! | `ini` | lines, sections, keys and values, with their places |
//! | `keys` | the table of known and of retired keys |
//! | `value` | text to numbers, addresses, names |
//! | `reader` | sections to [`Config`] |
//! | `checks` | what only two keys or two sections together can get wrong |
//! | `finding` | errors and warnings, and how they are shown |
//! | `network` | what the program does to the host's network |
//! | `mtu` | the largest packet that no link fragments |
//! | `file` | files on disk and their permissions |
//! | `key_files` | files with keys, read here or by another process |
//! | `credentials` | by what this end and its peers know each other |
//! | `password` | the shared secret |

mod checks;
mod control_token;
mod credentials;
mod file;
mod finding;
mod ini;
mod key_files;
pub mod keys;
mod mtu;
mod network;
mod password;
mod reader;
mod value;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use mlvpn_proto::{LinkTerms, Policy};
use zeroize::Zeroizing;

pub use control_token::ControlToken;
pub use credentials::{Credentials, KeyPair, Peer, ProtocolVersion};
pub use finding::{Finding, Findings, Severity, Span};
pub use key_files::{KeyFiles, MAX_KEYS_BYTES};
pub use mlvpn_proto::Treatment;
pub use network::HostNetwork;
pub use password::Password;

/// Largest configuration file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Most peers of one server.
pub const MAX_PEERS: usize = 1000;

/// Everything that a configuration file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[general]`.
    pub general: General,
    /// One per link section, in file order; never empty, names are unique.
    pub links: Vec<Link>,
    /// `[peer NAME]`, in file order: empty without a key pair, one for a client; names and keys are
    /// unique, networks do not overlap.
    pub peers: Vec<Peer>,
    /// `[filters]`, in file order, which is the order in which they are tried.
    pub filters: Vec<FilterRule>,
}

/// What concerns the whole session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct General {
    /// `mode`.
    pub mode: Mode,
    /// `protocol_version`: what the file says, from which [`General::speaks_v1`] follows.
    pub protocol: ProtocolVersion,
    /// `password` and `private_key_file`.
    pub credentials: Credentials,
    /// `cleartext_data`: the payload of data packets is neither encrypted nor authenticated.
    pub cleartext_data: bool,
    /// `reorder_buffer_size`.
    pub reorder: Reorder,
    /// `policy`; `None` = as the other end wishes.
    pub policy: Option<Policy>,
    /// `statuscommand`: the program to call when a link or the session changes state.
    pub status_command: Option<PathBuf>,
    /// The tun or tap device.
    pub interface: Interface,
    /// Addresses of the interface, and what is reached through it.
    pub addresses: Addresses,
    /// What the program does to the host's network by itself.
    pub network: HostNetwork,
    /// Where the status can be asked for.
    pub control: Control,
}

/// `mode`: which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends the first packet, to `remotehost`.
    Client,
    /// Waits for the client on `bindport`.
    Server,
}

/// `reorder_buffer_size`: how the order of packets is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reorder {
    /// The key is 0: packets are delivered as they arrive.
    Off,
    /// The key is not set: the wait follows the links' delay spread.
    Adaptive,
    /// At most this many packets are held back.
    Packets(u32),
}

/// The network interface that carries the IP packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `tuntap`.
    pub kind: InterfaceKind,
    /// `interface_name`, at most 15 bytes.
    pub name: String,
    /// `mtu` in bytes; `None` = the largest that no link fragments.
    pub mtu: Option<u16>,
}

/// `tuntap`: what the interface carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceKind {
    /// IP packets.
    Tun,
    /// Ethernet frames.
    Tap,
}

/// The interface's addresses and routes, which the program sets, or hands to the status command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// `ip4`: own address and prefix length.
    pub ip4: Option<Ipv4Net>,
    /// `ip4_gateway`: the peer's address.
    pub ip4_gateway: Option<Ipv4Addr>,
    /// `ip4_routes`: networks to reach through the session.
    pub ip4_routes: Vec<Ipv4Net>,
    /// `ip6`: own address and prefix length.
    pub ip6: Option<Ipv6Net>,
    /// `ip6_gateway`: the peer's address.
    pub ip6_gateway: Option<Ipv6Addr>,
    /// `ip6_routes`: networks to reach through the session.
    pub ip6_routes: Vec<Ipv6Net>,
}

/// Where the status can be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// `control_unix_path`: a unix socket.
    pub unix_path: Option<PathBuf>,
    /// `control_bind_host` and `control_bind_port`: HTTP; only when both are set.
    pub http: Option<(Host, u16)>,
    /// What `control_token_file` holds: who asks over HTTP must know it.
    pub token: Option<ControlToken>,
}

/// An uplink: one section of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The section's name.
    pub name: String,
    /// `bindhost`: local address; `None` = any.
    pub bind_host: Option<Host>,
    /// `bindport`: local port; `None` = any. Always set in server mode.
    pub bind_port: Option<u16>,
    /// `bindfib`: routing table (BSD) or firewall mark (Linux); `None` = the default one.
    pub bind_fib: Option<u32>,
    /// `binddev`: the device to send through.
    pub bind_dev: Option<String>,
    /// `remotehost`: the peer; always set in client mode.
    pub remote_host: Option<Host>,
    /// `remoteport`: the peer's port; always set in client mode.
    pub remote_port: Option<u16>,
    /// `bandwidth_upload` in bytes per second; `None` = not known, all links weigh the same.
    pub bandwidth_upload: Option<u64>,
    /// `timeout`: down after this long without a keep-alive; at least 2 s.
    pub timeout: Duration,
    /// `loss_tolerence` in percent, 0 to 99; `None` = off.
    pub loss_tolerance: Option<u8>,
    /// `latency_tolerence`: round-trip time, below 1 s; `None` = off.
    pub latency_tolerance: Option<Duration>,
    /// `fallback_only`: used only while no other link is usable.
    pub fallback_only: bool,
    /// `max_rate`, `cost` and `metered`.
    pub terms: LinkTerms,
}

/// An address, or a name that has to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A host name.
    Name(String),
}

/// Why a text is no [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {help}")]
pub struct ParseHostError {
    message: String,
    help: String,
}

/// One line of `[filters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterRule {
    /// What is done with packets that match: they take a link of this configuration while it is up, or are
    /// under a policy of their own.
    pub treatment: Treatment,
    /// A pcap-filter expression that has been checked.
    pub expression: String,
}

/// A configuration that can be run, with what its author should look at.
#[derive(Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Findings,
}

/// A configuration from disk, and what another process needs to read it again.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says.
    pub parsed: Parsed,
    /// The file, wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The files that it names.
    pub keys: KeyFiles,
}

impl Loaded {
    /// The configuration; what was read is wiped.
    pub fn into_config(self) -> Config {
        self.parsed.config
    }
}

/// Reads and checks the file at `path`, and the key files that it names.
///
/// # Errors
/// All errors and warnings, if there is at least one error: a file cannot be read, others may read
/// it, or its content is wrong.
pub fn load(path: &Path) -> Result<Loaded, Findings> {
    let bytes = file::read_file(path)?;
    let mut keys = KeyFiles::of(path);
    let parsed = parse_with_keys(&path.display().to_string(), &bytes, &mut keys)?;
    Ok(Loaded { parsed, bytes, keys })
}

/// Checks the content of a configuration file that names no key files; `name` stands for it in
/// messages.
///
/// # Errors
/// As [`parse_with_keys`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Parsed, Findings> {
    parse_with_keys(name, bytes, &mut KeyFiles::default())
}

/// Checks the content of a configuration file; the key files that it names are read from `keys`.
///
/// # Errors
/// All errors and warnings, if there is at least one error.
pub fn parse_with_keys(name: &str, bytes: &[u8], keys: &mut KeyFiles) -> Result<Parsed, Findings> {
    let mut findings = Findings::new(name);
    let document = ini::parse(bytes, &mut findings);
    let config = reader::read(&document, keys, &mut findings);
    match config {
        Some(config) if !findings.has_errors() => Ok(Parsed { config, warnings: findings }),
        _ => Err(findings),
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::str::FromStr for Host {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, ParseHostError> {
        value::host(text).map_err(|value::Fault { message, help }| ParseHostError { message, help })
    }
}

#[cfg(test)]
mod tests;
