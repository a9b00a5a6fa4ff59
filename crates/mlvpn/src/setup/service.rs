//! How the program is started, now and with the system.

use std::path::Path;

use super::Place;
use super::account::USER;
use super::plan::{Kind, Plan};
use crate::network::command;

/// The unit that is installed where the package has brought none.
const UNIT: &str = include_str!("../../../../packaging/systemd/mlvpn@.service");
/// Where the program is when this process cannot tell where it was started from.
const USUAL_PROGRAM: &str = "/usr/bin/mlvpn";
const UNIT_FILE: &str = "mlvpn@.service";
/// Where systemd looks for units.
const UNIT_FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Who starts the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    Systemd,
    OpenRc,
    ByHand,
}

impl Service {
    /// The manager of this system that finds this configuration.
    pub(super) fn of(place: &Place) -> Self {
        let has = |path: &str| Path::new(path).exists();
        if !place.is_standard() || !super::is_root() {
            Self::ByHand
        } else if has("/run/systemd/system") && command::find("systemctl").is_some() {
            Self::Systemd
        } else if has("/run/openrc") && has("/etc/init.d/mlvpn") {
            Self::OpenRc
        } else {
            Self::ByHand
        }
    }

    /// Has it started now and with the system; or, where it runs, has it take what changed.
    pub(super) fn start(&self, place: &Place, plan: &mut Plan) -> anyhow::Result<()> {
        match self {
            Self::ByHand => Ok(()),
            Self::Systemd => start_by_systemd(place, plan),
            Self::OpenRc => {
                start_by_openrc(place, plan);
                Ok(())
            }
        }
    }

    /// What starts the program.
    pub(super) fn command_to_start(&self, place: &Place) -> String {
        let name = &place.name;
        match self {
            Self::Systemd => format!("systemctl enable --now mlvpn@{name}"),
            Self::OpenRc => format!("rc-service mlvpn.{name} start"),
            Self::ByHand => format!(
                "{} -c {} --user {USER} --name {name}",
                program(),
                place.configuration().display()
            ),
        }
    }
}

fn start_by_systemd(place: &Place, plan: &mut Plan) -> anyhow::Result<()> {
    let Some(systemctl) = command::find("systemctl") else { return Ok(()) };
    unit(plan, &systemctl)?;
    let unit = format!("mlvpn@{}", place.name);
    let is = |what: &str| command::run(&systemctl, &[what, "--quiet", &unit], "").is_ok();
    if !is("is-enabled") || !is("is-active") {
        let purpose = "start mlvpn, now and with the system";
        plan.command(&systemctl, &["enable", "--now", &unit], purpose);
    } else if plan.writes(&place.configuration()) {
        let purpose = "have the running mlvpn read its configuration";
        plan.command(&systemctl, &["reload-or-restart", &unit], purpose);
    }
    Ok(())
}

/// The script runs a tunnel for each link to it.
fn start_by_openrc(place: &Place, plan: &mut Plan) {
    let programs = command::find("rc-update").zip(command::find("rc-service"));
    let Some((update, service)) = programs else { return };
    let script = format!("mlvpn.{}", place.name);
    let link = Path::new("/etc/init.d").join(&script);
    if let Some(ln) = command::find("ln").filter(|_| !link.exists()) {
        let target = link.display().to_string();
        plan.command(&ln, &["-s", "mlvpn", &target], "make a service of this name");
    }
    let is_running = link.exists() && command::run(&service, &[&script, "status"], "").is_ok();
    if !is_running {
        plan.command(&update, &["add", &script, "default"], "start mlvpn with the system");
        plan.command(&service, &[&script, "start"], "start mlvpn");
    } else if plan.writes(&place.configuration()) {
        let purpose = "have the running mlvpn read its configuration";
        plan.command(&service, &[&script, "reload"], purpose);
    }
}

/// The unit, where there is none.
fn unit(plan: &mut Plan, systemctl: &Path) -> anyhow::Result<()> {
    let is_there = |folder: &str| Path::new(folder).join(UNIT_FILE).exists();
    if UNIT_FOLDERS.iter().any(|folder| is_there(folder)) {
        return Ok(());
    }
    let text = with_program(UNIT, &program());
    plan.file(&Path::new(UNIT_FOLDERS[0]).join(UNIT_FILE), &text, Kind::Public)?;
    plan.command(systemctl, &["daemon-reload"], "have systemd read the unit");
    Ok(())
}

/// The unit with another program to start.
fn with_program(unit: &str, program: &str) -> String {
    let line = |line: &str| match line.strip_prefix("ExecStart=").and_then(|l| l.split_once(' ')) {
        Some((_, arguments)) => format!("ExecStart={program} {arguments}\n"),
        None => format!("{line}\n"),
    };
    unit.lines().map(line).collect()
}

/// The path of this program.
fn program() -> String {
    let path =
        std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    path.unwrap_or_else(|| USUAL_PROGRAM.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_this_program_as_the_user_that_is_made() {
        let unit = with_program(UNIT, "/opt/x/mlvpn");
        let starts: Vec<_> = unit.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        let [start] = starts[..] else { panic!("{starts:?}") };
        assert!(start.starts_with("ExecStart=/opt/x/mlvpn -c /etc/mlvpn/%i.conf "), "{start}");
        assert!(start.contains(&format!("--user {USER}")), "{start}");
        assert_eq!(unit.lines().count(), UNIT.lines().count());
    }

    #[test]
    fn a_configuration_elsewhere_is_started_by_hand() {
        let place = Place { name: "a".to_owned(), folder: "/tmp/x".into() };
        assert_eq!(Service::of(&place), Service::ByHand);
        let line = Service::ByHand.command_to_start(&place);
        assert!(line.ends_with("-c /tmp/x/a.conf --user mlvpn --name a"), "{line}");
    }
}
