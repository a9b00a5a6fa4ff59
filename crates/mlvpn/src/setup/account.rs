//! The user that the larger part of the program runs as.

use anyhow::bail;
use mlvpn_io::privileges::Identity;

use super::plan::Plan;
use crate::network::command;

/// Its name.
pub(super) const USER: &str = "mlvpn";

/// Makes the user, if there is none.
///
/// # Errors
/// When no program for that is installed.
pub(super) fn add(plan: &mut Plan) -> anyhow::Result<()> {
    if Identity::lookup(USER).is_ok() {
        return Ok(());
    }
    if !super::is_root() {
        eprintln!(
            "note: there is no user {USER}, and only root can make it: `useradd --system {USER}`"
        );
        return Ok(());
    }
    let purpose = format!("make the user {USER}, who may do nothing");
    let shell = ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"];
    let shell = shell.into_iter().find(|path| std::path::Path::new(path).exists());
    let shell = shell.unwrap_or("/bin/false");
    if let Some(useradd) = command::find("useradd") {
        let arguments = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            shell,
            USER,
        ];
        plan.command(&useradd, &arguments, &purpose);
    } else if let (Some(addgroup), Some(adduser)) =
        (command::find("addgroup"), command::find("adduser"))
    {
        // As BusyBox has them.
        plan.command(&addgroup, &["-S", USER], &format!("make the group {USER}"));
        let arguments = ["-S", "-D", "-H", "-h", "/nonexistent", "-s", shell, "-G", USER, USER];
        plan.command(&adduser, &arguments, &purpose);
    } else {
        bail!(
            "there is no user {USER}, and neither useradd nor adduser to make it: make it by hand"
        );
    }
    Ok(())
}
