//! Link sections.

use std::time::Duration;

use mlvpn_proto::{LinkTerms, Policy};

use super::Fields;
use super::general::LinkDefaults;
use crate::config::ini::Spanned;
use crate::config::{Finding, Link, Mode, keys, value};

/// The least limit in bytes per second: control packets need some.
const LEAST_RATE: u64 = 12_500;
/// The largest that the protocol can tell.
const MAX_RATE: u64 = (1 << 48) - 1;

/// Reads the link section called `name`; without a known `mode` nothing is missed.
pub(super) fn read(
    mut fields: Fields<'_, '_>,
    name: &Spanned,
    mode: Option<Mode>,
    defaults: LinkDefaults,
) -> Link {
    let fields = &mut fields;
    check_name(fields, name);
    let bind_port = match mode {
        Some(Mode::Server) => fields.read("bindport", value::port),
        _ => fields.read("bindport", value::port_or_any).flatten(),
    };
    for key in required(mode) {
        if fields.value(key).is_none() {
            fields.push(missing(name, key));
        }
    }
    let shared = defaults.read(fields);
    Link {
        name: name.text.clone(),
        bind_host: fields.read("bindhost", value::host),
        bind_port,
        bind_fib: fields
            .read("bindfib", |t| value::number_u32(t, "the routing table or firewall mark"))
            .filter(|fib| *fib != 0),
        bind_dev: fields.read("binddev", value::interface_name),
        remote_host: fields.read("remotehost", value::host),
        remote_port: fields.read("remoteport", value::port),
        bandwidth_upload: fields
            .read("bandwidth_upload", |t| {
                value::number(t, 0..=u64::MAX, "the rate in bytes per second")
            })
            .filter(|rate| *rate != 0),
        timeout: shared.timeout,
        loss_tolerance: shared.loss_tolerance,
        latency_tolerance: shared.latency_tolerance,
        fallback_only: fields.read("fallback_only", value::switch).unwrap_or(false),
        terms: terms(fields),
    }
}

/// What version 2 is to use the link for.
fn terms(fields: &mut Fields<'_, '_>) -> LinkTerms {
    let rate = "the rate in bytes per second";
    let max_rate = fields.read("max_rate", |text| match text {
        "0" => Ok(0),
        _ => value::number(text, LEAST_RATE..=MAX_RATE, rate),
    });
    let most = LinkTerms::MAX_COST.as_millis() as u64;
    let cost = fields.read("cost", |t| value::number(t, 0..=most, "the cost in ms"));
    LinkTerms {
        max_rate: max_rate.filter(|rate| *rate != 0),
        cost: Duration::from_millis(cost.unwrap_or(0)),
        is_metered: fields.read("metered", value::yes_or_no).unwrap_or(false),
    }
}

/// The keys without which a link cannot be opened.
fn required(mode: Option<Mode>) -> &'static [&'static str] {
    match mode {
        Some(Mode::Client) => &["remotehost", "remoteport"],
        Some(Mode::Server) => &["bindport"],
        None => &[],
    }
}

fn missing(name: &Spanned, key: &str) -> Finding {
    let (role, help) = match key {
        "remotehost" => ("client", "add remotehost = the server's address or name"),
        "remoteport" => ("client", "add remoteport = the server's bindport for this link"),
        _ => ("server", "add bindport = the UDP port that the client sends to"),
    };
    let message = format!("{key} is missing, which every link needs in {role} mode");
    Finding::error(name.span, message).label(format!("no {key}")).help(help)
}

/// A name is shown in the process title and passed to the status command.
fn check_name(fields: &mut Fields<'_, '_>, name: &Spanned) {
    if let Some(meant) = meant_instead(&name.text) {
        fields.push(
            Finding::warning(name.span, format!("[{}] is read as a link", name.text))
                .label("a link of this name")
                .help(format!("write [{meant}] if that is what you mean")),
        );
    } else if Policy::of_name(&name.text).is_some() {
        fields.push(
            Finding::warning(
                name.span,
                format!("the link is called like the policy `{}`", name.text),
            )
            .label("in [filters] this is the link")
            .help("give the link another name to put flows under that policy"),
        );
    } else if name.text.contains(|c: char| c.is_whitespace() || c == '=' || c == '"') {
        fields.push(
            Finding::warning(name.span, "a link's name is best without blanks and quotes")
                .label("the status command gets it as its third argument")
                .help("use letters, digits, dots and dashes"),
        );
    }
}

/// The section of another kind that the name of a link looks like.
fn meant_instead(name: &str) -> Option<String> {
    if name.eq_ignore_ascii_case("general") || name.eq_ignore_ascii_case("filters") {
        return Some(name.to_ascii_lowercase());
    }
    let (word, rest) = name.split_once(char::is_whitespace)?;
    keys::nearest(word, ["peer"]).map(|peer| format!("{peer} {}", rest.trim()))
}
