//! `mlvpn doctor`: what is wrong with a tunnel and around it, and how to mend it.
//!
//! First everything is looked at (`evidence`): the configuration, the host's network, the running program
//! over its control socket or, where none runs, whether the server answers a handshake with these credentials
//! (`probe`). The rest judges what was seen and changes nothing.
//!
//! | module | purpose |
//! |---|---|
//! | `finding` | what is found, with its remedy; shown, and as JSON |
//! | `evidence` | what there is to judge |
//! | `probe` | a handshake of our own, when no program runs |
//! | `devices` | the device of each link: there, up, with address, gateway and room |
//! | `session` | what the running program tells: links, peers, drops, versions |
//! | `routing` | rules, default routes and forwarding: ours, and others' |
//! | `packet_filter` | nftables: ports that are shut, tables of ours that are gone |
//! | `system` | the kernel, rights, programs, users, clock |

mod devices;
mod evidence;
mod finding;
mod packet_filter;
mod probe;
mod routing;
mod session;
mod system;

use std::process::ExitCode;

use clap::Args;

use crate::config::{self, Loaded, Severity};
use crate::console::socket::Target;
use evidence::Evidence;
use finding::{Finding, Report};

/// What the command line says.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    #[command(flatten)]
    target: Target,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Leave out what is in order
    #[arg(short, long)]
    quiet: bool,
}

/// Looks at everything, and tells what was found. The exit code is 0 if there is no fault, else 1.
///
/// # Errors
/// When it is not clear which configuration is meant.
pub fn run(options: &DoctorOptions) -> anyhow::Result<ExitCode> {
    let file = options.target.configuration()?;
    let mut report = Report::default();
    let shown = file.display().to_string();
    match config::load(&file) {
        Err(findings) => {
            for mistake in findings.list() {
                report.add(mistaken(mistake, &shown));
            }
            report.extend(system::findings(None));
        }
        Ok(Loaded { parsed, .. }) => {
            report.add(Finding::ok("configuration", "file", format!("{shown} can be used")));
            for warning in parsed.warnings.list() {
                report.add(mistaken(warning, &shown));
            }
            let evidence = Evidence::look(&file, parsed.config, options.target.socket());
            judge(&evidence, &mut report);
        }
    }
    let text = if options.json { report.to_json() } else { report.to_text(options.quiet) };
    print!("{text}");
    Ok(if report.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(evidence: &Evidence, report: &mut Report) {
    report.extend(system::findings(Some(evidence)));
    report.extend(devices::findings(evidence));
    report.extend(session::findings(evidence));
    report.extend(routing::findings(evidence));
    report.extend(packet_filter::findings(evidence));
}

/// A mistake in the file, with the command that shows its place.
fn mistaken(mistake: &config::Finding, file: &str) -> Finding {
    let finding = match mistake.severity {
        Severity::Error => Finding::fault("configuration", "file", &mistake.message),
        Severity::Warning => Finding::warning("configuration", "file", &mistake.message),
    };
    let help = mistake.help.clone().unwrap_or_default();
    finding.remedy(match help.as_str() {
        "" => format!("mlvpn check {file}"),
        help => format!("{help} (`mlvpn check {file}` shows the place)"),
    })
}
