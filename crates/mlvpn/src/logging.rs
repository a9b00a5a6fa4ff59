//! The log: syslog, or standard error with `--debug`.
//!
//! One line for each event, fields after the message. Syslog never holds the caller up; standard
//! error does when it is a pipe that nobody empties.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use syslog::{Syslog, SyslogLayer};

mod syslog;
mod throttle;
mod token;

pub use throttle::Throttle;
pub use token::{REORDER, RTT, TOKENS, TokenName, WRR};

/// What the command line says about the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// `--debug`: to standard error with timestamps, not to syslog.
    pub debug: bool,
    /// How many `-v` more than `-q`; may be negative.
    pub verbosity: i32,
    /// Each `-D`: a part of the program whose details are wanted. Implies `debug`, as in the C
    /// program. See [`TOKENS`].
    pub tokens: Vec<String>,
    /// `--name`.
    pub name: Option<String>,
}

impl LogOptions {
    /// Who we are in syslog: `mlvpn-NAME`, or `mlvpn` without a name of one's own.
    #[must_use]
    pub fn ident(&self) -> String {
        match self.name.as_deref() {
            None | Some("" | "mlvpn") => "mlvpn".to_owned(),
            Some(name) => format!("mlvpn-{name}"),
        }
    }

    /// Least severe level that is logged, apart from the tokens: `-v` 0 is INFO, 1 the same, 2
    /// DEBUG and 3 TRACE; `-q` is WARN and `-qq` ERROR. The C program's steps.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.verbosity {
            ..=-2 => Level::ERROR,
            -1 => Level::WARN,
            0 | 1 => Level::INFO,
            2 => Level::DEBUG,
            3.. => Level::TRACE,
        }
    }

    /// Which events are logged. Of the libraries only warnings are.
    #[must_use]
    pub fn filter(&self) -> Targets {
        let level = LevelFilter::from_level(self.level());
        let wanted = level.max(LevelFilter::DEBUG);
        let tokens = self.tokens.iter().flat_map(|token| token::targets(token));
        Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("mlvpn", level)
            .with_targets(tokens.map(|target| (target, wanted)))
    }
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// To the system's log.
    Syslog,
    /// To standard error, as asked for.
    Stderr,
    /// To standard error, for there is no syslog.
    StderrForWantOfSyslog,
}

/// Starts logging for the whole process, and tells where to. `pid` stands in the lines of syslog.
///
/// A process that forks later keeps this destination.
///
/// # Errors
/// When logging was started before.
pub fn init(options: &LogOptions, pid: u32) -> Result<LogDestination, SetGlobalDefaultError> {
    let wants_stderr = options.debug || !options.tokens.is_empty();
    let syslog = if wants_stderr { None } else { Syslog::open().ok() };
    let registry = tracing_subscriber::registry();
    match syslog {
        Some(syslog) => {
            let layer = SyslogLayer::new(syslog, options.ident(), pid);
            let subscriber = registry.with(layer.with_filter(options.filter()));
            tracing::subscriber::set_global_default(subscriber)?;
            Ok(LogDestination::Syslog)
        }
        None => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            let subscriber = registry.with(layer.with_filter(options.filter()));
            tracing::subscriber::set_global_default(subscriber)?;
            Ok(if wants_stderr {
                LogDestination::Stderr
            } else {
                LogDestination::StderrForWantOfSyslog
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(verbosity: i32, tokens: &[&str]) -> LogOptions {
        let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
        LogOptions { verbosity, tokens, ..LogOptions::default() }
    }

    #[test]
    fn each_step_of_verbosity_has_its_level() {
        for (verbosity, level) in [
            (i32::MIN, Level::ERROR),
            (-2, Level::ERROR),
            (-1, Level::WARN),
            (0, Level::INFO),
            (1, Level::INFO),
            (2, Level::DEBUG),
            (3, Level::TRACE),
            (i32::MAX, Level::TRACE),
        ] {
            assert_eq!(options(verbosity, &[]).level(), level, "{verbosity}");
        }
    }

    #[test]
    fn our_crates_follow_the_verbosity_and_libraries_only_warn() {
        let filter = options(2, &[]).filter();
        for target in ["mlvpn", "mlvpn::control", "mlvpn_proto::session", "mlvpn_io::udp"] {
            assert!(filter.would_enable(target, &Level::DEBUG), "{target}");
            assert!(!filter.would_enable(target, &Level::TRACE), "{target}");
        }
        assert!(filter.would_enable("hyper::proto", &Level::WARN));
        assert!(!filter.would_enable("hyper::proto", &Level::INFO));
        assert!(!options(-2, &[]).filter().would_enable("hyper", &Level::WARN));
    }

    #[test]
    fn a_token_opens_its_part_of_the_program_and_no_other() {
        let filter = options(-1, &["control", "mlvpn::daemon"]).filter();
        assert!(filter.would_enable("mlvpn::control::http", &Level::DEBUG));
        assert!(filter.would_enable("mlvpn::daemon", &Level::DEBUG));
        assert!(!filter.would_enable("mlvpn::hook", &Level::INFO));
        assert!(options(3, &["control"]).filter().would_enable("mlvpn::control", &Level::TRACE));
    }

    #[test]
    fn the_ident_tells_instances_apart() {
        for (name, ident) in
            [(None, "mlvpn"), (Some(""), "mlvpn"), (Some("mlvpn"), "mlvpn"), (Some("a"), "mlvpn-a")]
        {
            let options = LogOptions { name: name.map(str::to_owned), ..LogOptions::default() };
            assert_eq!(options.ident(), ident);
        }
    }
}
