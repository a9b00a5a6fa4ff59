//! The command line: the C program's options, and subcommands for what is done by hand.

mod check;
pub(crate) mod genpass;
mod keys;
mod live;
mod pages;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;
use zeroize::Zeroizing;

use crate::demo::DemoOptions;
use crate::doctor::DoctorOptions;
use crate::logging::TOKENS;
use crate::setup::SetupOptions;

/// Exit status for a command line that makes no sense, as `getopt` programs have it.
const EXIT_USAGE: u8 = 2;

const LONG_ABOUT: &str = "\
Bonds several internet links into one: a client and a server, each with a configuration file, spread \
packets over all links between them and put them back in order.

With --config the program runs until it is stopped. SIGHUP makes it read the file again: only what \
changed is applied, and links that did not change carry on. SIGTERM and SIGINT tell the peer, and remove \
what was created. Started as root it keeps a small privileged process, and does the rest as the user \
given by --user.";

const EXAMPLES: &str = "\
Examples:
  mlvpn setup server                      set up a server; it prints the line for the client
  mlvpn setup client TOKEN                that line: set up the client
  mlvpn check /etc/mlvpn/mlvpn.conf       look for mistakes before starting
  mlvpn -c /etc/mlvpn/mlvpn.conf --user mlvpn --name adsl
                                          run as a service, shown as `adsl` by ps
  mlvpn -c mlvpn.conf --debug -vv         run in a terminal, and see why
  mlvpn doctor                            what is wrong, and how to mend it
  mlvpn status                            what the links of the running mlvpn do
  mlvpn top                               the same live, until you press q
  mlvpn link lte down                     do without this link until it is switched `up`
  mlvpn link lte cost 20                  prefer links that are up to 20 ms slower
  mlvpn demo                              see what bonding does, without any set-up
  mlvpn genpass                           a password for both ends
  mlvpn genkey --out /etc/mlvpn/private.key
                                          a key pair: writes the private key, prints the public one
  mlvpn completions bash > /etc/bash_completion.d/mlvpn

Files:
  /etc/mlvpn/*.conf    configuration; must be readable by its owner only (chmod 600), as the key files that
                       it names

Signals:
  SIGHUP               read the configuration again
  SIGTERM, SIGINT      stop";

#[derive(Debug, Parser)]
#[command(
    name = "mlvpn",
    version,
    about = "Bonds several internet links into one",
    long_about = LONG_ABOUT,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    infer_long_args = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    run: Option<RunOptions>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct RunOptions {
    /// Run with this configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Run as this user, and keep only a small process as root
    ///
    /// Without the option it is the user `mlvpn`. It matters only when started as root.
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Show this name in the process title
    ///
    /// The privileged process is called `NAME [priv]`. It also names the program in the system log.
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Log to standard error instead of the system log
    #[arg(long)]
    debug: bool,
    /// Log everything that this part of the program does; implies --debug, can be repeated
    #[arg(short = 'D', value_name = "TOKEN", long_help = debug_token_help())]
    debug_tokens: Vec<String>,
    /// Log more: -vv each decision, -vvv each packet
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log less: -q warnings and errors, -qq errors only
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
    /// Leave the process title alone
    #[arg(long)]
    natural_title: bool,
    /// Do everything as root, in one process
    ///
    /// A fault in the part that reads from the network is then a fault with all privileges. For systems
    /// without an unprivileged user only.
    #[arg(long)]
    yes_run_as_root: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up this host: `mlvpn setup server` there, then `mlvpn setup client TOKEN` here
    ///
    /// Writes a configuration with keys, makes the user that the program runs as, and starts the service where
    /// systemd or OpenRC is. It asks on a terminal, or takes options; --dry-run shows every change and makes none. A
    /// second run changes nothing, and no file that differs is replaced without --force.
    Setup(SetupOptions),
    /// Check a configuration file without starting anything
    ///
    /// Prints all errors and warnings with the place in the file and the remedy, then what the
    /// configuration would do. Exits with 1 if there is an error, else with 0.
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Say what is wrong, link by link, and the command that mends it
    ///
    /// Looks at the configuration, the links' devices, routes and rules, the firewall, the kernel, and the running
    /// program; where none runs, a client tries a handshake over each link. Changes nothing. Exits with 0 if
    /// there is no fault, else with 1. As root it sees more.
    Doctor(DoctorOptions),
    /// Show what a running mlvpn does: links, rates, delays, losses, peers
    ///
    /// One screen for people; --json prints everything for programs. It is asked over the socket of
    /// control_unix_path.
    Status(live::StatusOptions),
    /// Watch a running mlvpn: links, rates, delays and losses, live on a terminal
    ///
    /// Keys: arrows select a link, `d`, `u` and `f` switch it down, up, and to be a fallback or not; space pauses, `q`
    /// ends. Without colours where NO_COLOR is set. It is asked over the socket of control_unix_path.
    Top(live::TopOptions),
    /// Switch a link of a running mlvpn: `mlvpn link NAME down`
    ///
    /// It lasts until it is switched back or mlvpn is restarted; reading the configuration again leaves it. Who may
    /// use the socket of control_unix_path may do this: its owner, and root.
    Link(live::LinkOptions),
    /// See two lines bonded on this machine, without any configuration
    ///
    /// Builds a client and a server in network namespaces, joined by emulated lines, runs mlvpn on both,
    /// and measures real TCP downloads and uploads through the tunnel: each line alone, all together, and
    /// with one cut in the middle. Needs no root where the kernel allows user namespaces. Nothing outside
    /// the namespaces changes, and nothing is left behind.
    Demo(DemoOptions),
    /// Print a strong password for mlvpn.conf
    ///
    /// 256 random bits as 43 characters that need no quoting. Both ends need the same password.
    Genpass,
    /// Print a new private key for private_key_file
    ///
    /// An X25519 key in base64, as `wg genkey` prints it. With --out it goes to a file that only its owner may
    /// read, and its public key is printed, which the other end needs.
    Genkey(keys::Target),
    /// Print the public key of a private key
    ///
    /// The other end needs it as the public_key of this end's [peer NAME] section. As `wg pubkey`.
    Pubkey {
        /// The file that holds the private key; without it, the key is read from standard input
        file: Option<PathBuf>,
    },
    /// Print a new pre-shared key for preshared_key or preshared_key_file
    ///
    /// A secret for both ends beside their key pairs: 256 random bits in base64, as `wg genpsk` prints them.
    Genpsk(keys::Target),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write mlvpn.1 and a page per subcommand to this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// How the daemon is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// The user of the unprivileged process; `None` = `mlvpn`.
    pub user: Option<String>,
    /// The process title; `None` = `mlvpn`.
    pub name: Option<String>,
    /// Log to standard error instead of syslog; also set when there are `debug_tokens`.
    pub debug: bool,
    /// Parts of the program to log everything of.
    pub debug_tokens: Vec<String>,
    /// Number of `-v` less number of `-q`.
    pub verbosity: i8,
    /// Leave the process title alone.
    pub natural_title: bool,
    /// Stay root in one process.
    pub run_as_root: bool,
}

impl From<RunOptions> for RunArgs {
    fn from(options: RunOptions) -> Self {
        let counted = i16::from(options.verbose) - i16::from(options.quiet);
        Self {
            config: options.config,
            user: options.user,
            name: options.name,
            debug: options.debug || !options.debug_tokens.is_empty(),
            debug_tokens: options.debug_tokens,
            verbosity: counted.clamp(i8::MIN.into(), i8::MAX.into()) as i8,
            natural_title: options.natural_title,
            run_as_root: options.yes_run_as_root,
        }
    }
}

/// Reads the command line, and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.run) {
        (Some(Command::Check { file }), _) => return check::run(&file),
        (Some(Command::Status(options)), _) => live::status(&options),
        (Some(Command::Top(options)), _) => live::top(&options),
        (Some(Command::Link(options)), _) => live::link(&options),
        (Some(Command::Setup(options)), _) => crate::setup::run(&options),
        (Some(Command::Doctor(options)), _) => return exit(crate::doctor::run(&options)),
        (Some(Command::Demo(options)), _) => crate::demo::run(&options),
        (Some(Command::Genpass), _) => genpass::run(),
        (Some(Command::Genkey(target)), _) => keys::genkey(&target),
        (Some(Command::Pubkey { file }), _) => keys::pubkey(file.as_deref()),
        (Some(Command::Genpsk(target)), _) => keys::genpsk(&target),
        (Some(Command::Completions { shell }), _) => pages::completions(shell),
        (Some(Command::Man { dir: Some(dir) }), _) => pages::write_man_pages(&dir),
        (Some(Command::Man { dir: None }), _) => pages::print_man_page(),
        (None, Some(options)) => crate::daemon::run(&options.into()),
        (None, None) => return ExitCode::from(EXIT_USAGE),
    };
    exit(done.map(|()| ExitCode::SUCCESS))
}

/// The exit code, after saying what went wrong.
fn exit(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("mlvpn: {error:#}");
        ExitCode::FAILURE
    })
}

/// 256 bits that nobody can guess.
pub(crate) fn random_bytes() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut random[..])
        .map_err(|cause| anyhow!("{cause}"))
        .context("the system has no random numbers")?;
    Ok(random)
}

/// What `-D` takes, from the table that the log uses.
fn debug_token_help() -> String {
    let words: Vec<_> = TOKENS.iter().map(|token| token.word).collect();
    format!(
        "Log everything that this part of the program does; implies --debug, can be repeated\n\n\
         One of {}, or a module of the program.",
        words.join(", ")
    )
}
