//! What the command line says.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::PublicKey;

use super::uplinks::Choice;
use crate::config::Host;

/// What the command line says.
#[derive(Debug, Clone, Args)]
pub struct SetupOptions {
    #[command(subcommand)]
    pub(super) end: End,
}

/// Which end this host is.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum End {
    /// Set up a server, and print the line to paste on a client
    ///
    /// Makes a key pair, addresses for the tunnel that clash with nothing here, and a configuration; makes the
    /// user `mlvpn`, and starts the service where systemd is. For a client it makes a key pair as well and
    /// prints a line with all that the client needs: it is a secret, and is shown only then. What no
    /// option says is asked for on a terminal.
    Server(Box<ServerOptions>),
    /// Set up a client with the line that the server has printed
    ///
    /// Finds the uplinks by itself: each device with a default route becomes a link, but for other tunnels,
    /// bridges of containers and the like.
    Client(Box<ClientOptions>),
}

/// For both ends.
#[derive(Debug, Clone, Args)]
pub(super) struct CommonOptions {
    /// What the configuration is called: NAME.conf, and the service mlvpn@NAME
    #[arg(long, default_value = "mlvpn", value_parser = name)]
    pub(super) name: String,
    /// Where the configuration goes; services read /etc/mlvpn only
    #[arg(long, value_name = "DIR", default_value = super::FOLDER)]
    pub(super) config_dir: PathBuf,
    /// Show every change, with secrets masked, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Replace files that differ; each is kept beside the new one
    #[arg(long)]
    pub(super) force: bool,
    /// Do not start the service
    #[arg(long)]
    pub(super) no_start: bool,
    /// Ask nothing: what no option says is as it is suggested
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum YesNo {
    Yes,
    No,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ServerOptions {
    #[command(flatten)]
    pub(super) common: CommonOptions,
    /// Address or name by which clients reach this server; several with commas, the best first
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(super) address: Vec<Host>,
    /// The first UDP port; each link has one, in a row [default: 5080]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// The most uplinks that a client may use [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) links: Option<u16>,
    /// Make keys for this client and print its line; with the first set-up, it is called `client` unless
    /// named
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) add_client: Option<String>,
    /// The client's public key, if it has a key pair of its own, which its line then does not hold
    ///
    /// At the client: `mlvpn genkey --out /etc/mlvpn/mlvpn.key` makes the pair and prints the key.
    #[arg(long, value_name = "KEY", requires = "add_client")]
    pub(super) public_key: Option<PublicKey>,
    /// Give the client a pre-shared key as well, against computers that some day break X25519
    #[arg(long)]
    pub(super) preshared_key: bool,
    /// Whether all traffic of clients goes through the tunnel [default: yes]
    #[arg(long, value_name = "WANTED")]
    pub(super) default_route: Option<YesNo>,
    /// Networks behind this server that clients reach through the tunnel, with commas
    #[arg(long = "route", value_name = "NET", value_delimiter = ',')]
    pub(super) routes: Vec<IpNet>,
    /// Name servers for clients, with commas [default: those of this host, if others can use them]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) dns: Vec<IpAddr>,
    /// Clients keep their name servers
    #[arg(long, conflicts_with = "dns")]
    pub(super) no_dns: bool,
    /// IPv4 network of the tunnel [default: one that is free here]
    #[arg(long, value_name = "NET")]
    pub(super) ip4: Option<Ipv4Net>,
    /// IPv6 network of the tunnel [default: a private one]
    #[arg(long, value_name = "NET")]
    pub(super) ip6: Option<Ipv6Net>,
    /// Translate no addresses: the networks around this host know the way to the tunnel's
    #[arg(long)]
    pub(super) no_nat: bool,
    /// Let the ports in, if ufw, firewalld or nftables filters packets here
    #[arg(long)]
    pub(super) open_firewall: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ClientOptions {
    /// What the server has printed; `-` reads it from standard input, which keeps it out of the shell's
    /// history. Without it, it is asked for
    pub(super) token: Option<String>,
    #[command(flatten)]
    pub(super) common: CommonOptions,
    /// An uplink's device, or LINK=DEVICE; can be repeated [default: every device with a default route]
    #[arg(long = "uplink", value_name = "[LINK=]DEVICE")]
    pub(super) uplinks: Vec<Choice>,
    /// Use at most so many uplinks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) links: Option<u16>,
    /// Another address or name of the server than the token says; several with commas
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(super) address: Vec<Host>,
    /// The first of the server's UDP ports, if a router there forwards others than the token says
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// Whether all traffic goes through the tunnel [default: as the token says]
    #[arg(long, value_name = "WANTED")]
    pub(super) default_route: Option<YesNo>,
    /// Keep the name servers of this host
    #[arg(long)]
    pub(super) no_dns: bool,
    /// Send nothing but this host's own packets: no network behind it uses the tunnel
    #[arg(long)]
    pub(super) no_nat: bool,
}

/// A name that can be that of a file, a service and a peer.
fn name(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_good = (1..=64).contains(&text.len())
        && text.bytes().all(is_part)
        && text.as_bytes()[0].is_ascii_alphanumeric();
    if is_good {
        return Ok(text.to_owned());
    }
    Err("a name has at most 64 letters, digits, dots, dashes and underscores, and begins with a letter \
         or digit"
        .to_owned())
}
