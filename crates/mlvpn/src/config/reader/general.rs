//! `[general]`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use mlvpn_proto::Policy;

use super::{Fields, credentials, network};
use crate::config::value::{self, Fault};
use crate::config::{
    Addresses, Control, ControlToken, Credentials, Finding, General, Host, HostNetwork, Interface,
    InterfaceKind, KeyFiles, KeyPair, Mode, ProtocolVersion, Reorder, Span,
};

/// Name of the interface when the file sets none, as in the C program.
const DEFAULT_INTERFACE: &str = "mlvpn0";
/// Seconds without a keep-alive after which a link is down when the file says nothing, as in the C program.
const DEFAULT_TIMEOUT_S: u64 = 60;
/// Shortest timeout in seconds: keep-alives come once a second.
const MIN_TIMEOUT_S: u64 = 2;
/// From this share of lost packets on, in percent, tolerance has no limit.
const LOSS_OFF: u64 = 100;
/// From this round-trip time on, in ms, tolerance has no limit.
const LATENCY_OFF_MS: u64 = 1000;
/// Smallest MTU of IPv4 (RFC 791).
const MIN_MTU: u64 = 68;
/// Largest number of packets that can be held back.
const MAX_REORDER: u64 = 65536;

/// `[general]`, as far as it could be read.
pub(super) struct PartialGeneral {
    pub(super) mode: Option<Mode>,
    pub(super) protocol: ProtocolVersion,
    credentials: Option<Credentials>,
    rest: Rest,
}

/// What has defaults.
struct Rest {
    cleartext_data: bool,
    reorder: Reorder,
    policy: Option<Policy>,
    status_command: Option<std::path::PathBuf>,
    interface: Interface,
    addresses: Addresses,
    network: HostNetwork,
    control: Control,
}

/// What a link inherits from `[general]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkDefaults {
    pub(super) timeout: Duration,
    pub(super) loss_tolerance: Option<u8>,
    pub(super) latency_tolerance: Option<Duration>,
}

impl Default for LinkDefaults {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(DEFAULT_TIMEOUT_S),
            loss_tolerance: None,
            latency_tolerance: None,
        }
    }
}

impl LinkDefaults {
    /// The three keys that `[general]` and links share, `self` standing in for those not set.
    pub(super) fn read(self, fields: &mut Fields<'_, '_>) -> Self {
        Self {
            timeout: timeout(fields).unwrap_or(self.timeout),
            loss_tolerance: loss_tolerance(fields).unwrap_or(self.loss_tolerance),
            latency_tolerance: latency_tolerance(fields).unwrap_or(self.latency_tolerance),
        }
    }
}

impl PartialGeneral {
    /// The whole of it, if nothing is missing.
    pub(super) fn complete(self) -> Option<General> {
        let Rest {
            cleartext_data,
            reorder,
            policy,
            status_command,
            interface,
            addresses,
            network,
            control,
        } = self.rest;
        Some(General {
            mode: self.mode?,
            protocol: self.protocol,
            credentials: self.credentials?,
            cleartext_data,
            reorder,
            policy,
            status_command,
            interface,
            addresses,
            network,
            control,
        })
    }

    /// What the interface carries.
    pub(super) fn interface_kind(&self) -> InterfaceKind {
        self.rest.interface.kind
    }

    /// The key pair, if there is one that could be read.
    pub(super) fn key_pair(&self) -> Option<&KeyPair> {
        self.credentials.as_ref()?.key_pair.as_ref()
    }
}

/// Reads `[general]`, whose name stands at `section`; `has_peers` where the file has sections of
/// peers.
pub(super) fn read(
    mut fields: Fields<'_, '_>,
    section: Span,
    has_peers: bool,
    keys: &mut KeyFiles,
) -> (PartialGeneral, LinkDefaults) {
    let fields = &mut fields;
    let mode = mode(fields, section);
    let protocol =
        fields.read("protocol_version", value::protocol_version).unwrap_or(ProtocolVersion::Auto);
    let general = PartialGeneral {
        mode,
        protocol,
        credentials: credentials::read(fields, section, protocol, has_peers, keys),
        rest: Rest {
            cleartext_data: fields.read("cleartext_data", value::switch).unwrap_or(false),
            reorder: reorder(fields),
            policy: fields.read("policy", value::policy),
            status_command: fields.read("statuscommand", value::absolute_path),
            interface: interface(fields),
            addresses: addresses(fields),
            network: network::read(fields),
            control: control(fields, keys),
        },
    };
    (general, LinkDefaults::default().read(fields))
}

fn mode(fields: &mut Fields<'_, '_>, section: Span) -> Option<Mode> {
    if fields.value("mode").is_none() {
        let place = fields.place("mode").unwrap_or(section);
        fields.push(
            Finding::error(place, "the mode is missing")
                .label("no mode here")
                .help("add mode = \"client\" or mode = \"server\""),
        );
    }
    fields.read("mode", value::mode)
}

fn reorder(fields: &mut Fields<'_, '_>) -> Reorder {
    let what = "the number of packets";
    match fields.read("reorder_buffer_size", |t| value::number(t, 0..=MAX_REORDER, what)) {
        None => Reorder::Adaptive,
        Some(0) => Reorder::Off,
        Some(packets) => Reorder::Packets(u32::try_from(packets).expect("at most 65536")),
    }
}

fn interface(fields: &mut Fields<'_, '_>) -> Interface {
    let mtu = fields.read("mtu", |text| match text {
        "0" => Ok(0),
        _ => value::number(text, MIN_MTU..=65535, "the MTU in bytes"),
    });
    Interface {
        kind: fields.read("tuntap", value::interface_kind).unwrap_or(InterfaceKind::Tun),
        name: fields
            .read("interface_name", value::interface_name)
            .unwrap_or_else(|| DEFAULT_INTERFACE.into()),
        mtu: mtu.and_then(|m| u16::try_from(m).ok()).filter(|m| *m != 0),
    }
}

fn addresses(fields: &mut Fields<'_, '_>) -> Addresses {
    let ip4 = own_address(
        fields,
        "ip4",
        32,
        |t| t.parse::<Ipv4Addr>().ok().map(Ipv4Net::from),
        value::ip4_net,
    );
    let ip6 = own_address(
        fields,
        "ip6",
        128,
        |t| t.parse::<Ipv6Addr>().ok().map(Ipv6Net::from),
        value::ip6_net,
    );
    Addresses {
        ip4,
        ip4_gateway: fields.read("ip4_gateway", value::ip4),
        ip4_routes: fields
            .read("ip4_routes", |t| value::list(t, value::ip4_route))
            .unwrap_or_default(),
        ip6,
        ip6_gateway: fields.read("ip6_gateway", value::ip6),
        ip6_routes: fields
            .read("ip6_routes", |t| value::list(t, value::ip6_route))
            .unwrap_or_default(),
    }
}

/// An address with its prefix length; without one it stands alone, and there is a warning.
fn own_address<T>(
    fields: &mut Fields<'_, '_>,
    key: &str,
    length: u8,
    alone: impl Fn(&str) -> Option<T>,
    with_length: impl Fn(&str) -> Result<T, Fault>,
) -> Option<T> {
    let value = fields.value(key)?;
    let Some(address) = alone(&value.text) else {
        return fields.read(key, with_length);
    };
    fields.push(
        Finding::warning(value.span, format!("{key}: no prefix length"))
            .label(format!("taken as /{length}"))
            .help("write address/length, such as 10.42.43.1/30 or fd00::1/64"),
    );
    Some(address)
}

fn control(fields: &mut Fields<'_, '_>, keys: &mut KeyFiles) -> Control {
    let unix_path = fields.read("control_unix_path", value::socket_path);
    let host = fields.read("control_bind_host", value::host);
    let port = fields.read("control_bind_port", value::port);
    for (key, other) in
        [("control_bind_host", "control_bind_port"), ("control_bind_port", "control_bind_host")]
    {
        if let (Some(value), None) = (fields.value(key), fields.value(other)) {
            fields.push(
                Finding::warning(value.span, format!("{key} without {other} has no effect"))
                    .label("ignored")
                    .help(format!("set {other} as well")),
            );
        }
    }
    let key = "control_token_file";
    let token = credentials::key_file(fields, key, "mlvpn genpsk", keys, ControlToken::parse);
    let http = host.zip(port);
    if let (Some((host, _)), None) = (&http, fields.value(key)) {
        check_reach(fields, host);
    }
    Control { unix_path, http, token }
}

/// Warns of an address that others reach, where nothing keeps them from reading. It is no error: a
/// configuration of the C program brings the tunnel up as before.
fn check_reach(fields: &mut Fields<'_, '_>, host: &Host) {
    let Host::Address(address) = host else { return };
    if address.to_canonical().is_loopback() {
        return;
    }
    if let Some(value) = fields.value("control_bind_host") {
        let message = format!("others may reach {address}, and there is no control_token_file");
        fields.push(Finding::warning(value.span, message).label("HTTP is not opened").help(
            "bind to 127.0.0.1 or ::1; or make a token with `mlvpn genpsk --out FILE`, and name that \
             file with control_token_file",
        ));
    }
}

fn timeout(fields: &mut Fields<'_, '_>) -> Option<Duration> {
    let what = "the timeout in seconds";
    let seconds = fields.read("timeout", |t| value::number(t, 0..=86400, what))?;
    if seconds < MIN_TIMEOUT_S {
        corrected(fields, "timeout", "the timeout is at least 2 seconds", "taken as 2");
    }
    Some(Duration::from_secs(seconds.max(MIN_TIMEOUT_S)))
}

fn loss_tolerance(fields: &mut Fields<'_, '_>) -> Option<Option<u8>> {
    let key = "loss_tolerence";
    let percent =
        fields.read(key, |t| value::number(t, 0..=u64::from(u32::MAX), "the loss in percent"))?;
    if percent > LOSS_OFF {
        corrected(fields, key, "the loss is at most 100 percent", "taken as 100, which is off");
    }
    Some(u8::try_from(percent).ok().filter(|p| u64::from(*p) < LOSS_OFF))
}

fn latency_tolerance(fields: &mut Fields<'_, '_>) -> Option<Option<Duration>> {
    let key = "latency_tolerence";
    let ms =
        fields.read(key, |t| value::number(t, 0..=u64::from(u32::MAX), "the latency in ms"))?;
    if ms > LATENCY_OFF_MS {
        corrected(fields, key, "the latency is at most 1000 ms", "taken as 1000, which is off");
    }
    Some((ms < LATENCY_OFF_MS).then(|| Duration::from_millis(ms)))
}

/// Warns that a number was replaced by the nearest allowed one, as the C program does.
fn corrected(fields: &mut Fields<'_, '_>, key: &str, message: &str, label: &str) {
    if let Some(value) = fields.value(key) {
        fields.push(Finding::warning(value.span, message).label(label).help("write what you mean"));
    }
}
