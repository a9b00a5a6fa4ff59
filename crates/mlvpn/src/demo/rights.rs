//! The rights that namespaces need, with root or without.

use std::fs;

use anyhow::Context as _;
use caps::{CapSet, Capability};
use mlvpn_io::netns::reexec_in_user_namespace;
use nix::unistd::User;

/// What the daemons may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// There are other users: the worker runs as `nobody`.
    SeveralUsers,
    /// In a user namespace in which there is only root.
    OnlyRoot,
}

impl Rights {
    /// Makes sure of the rights to create namespaces and devices. Where they are missing, starts the
    /// program again in a user namespace; then this does not return.
    pub(super) fn obtain() -> anyhow::Result<Self> {
        let can = |what| caps::has_cap(None, CapSet::Effective, what).unwrap_or(false);
        if can(Capability::CAP_SYS_ADMIN) && can(Capability::CAP_NET_ADMIN) {
            return Ok(Self::present());
        }
        let never = reexec_in_user_namespace().context(
            "the demo needs root, or a kernel that allows user namespaces to ordinary users",
        )?;
        match never {}
    }

    /// The options with which a daemon is started.
    pub(super) fn daemon_arguments(self) -> &'static [&'static str] {
        match self {
            Self::SeveralUsers => &["--user", "nobody"],
            Self::OnlyRoot => &["--yes-run-as-root"],
        }
    }

    fn present() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let may_change_groups = read("/proc/self/setgroups").trim() != "deny";
        let nobody = User::from_name("nobody").ok().flatten();
        let is_mapped = nobody.is_some_and(|user| {
            maps(&read("/proc/self/uid_map"), user.uid.as_raw())
                && maps(&read("/proc/self/gid_map"), user.gid.as_raw())
        });
        if is_mapped && may_change_groups { Self::SeveralUsers } else { Self::OnlyRoot }
    }
}

/// Whether an id exists, by the lines `first outside count` of user_namespaces(7).
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, _, count] = numbers[..] else { return false };
        (first..first + count).contains(&u64::from(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_exists_where_a_line_covers_it() {
        let initial = "         0          0 4294967295\n";
        let only_root = "         0       1000          1\n";
        let container = "0 1000 1\n1 100000 65536\n";
        for (map, id, expected) in [
            (initial, 65_534, true),
            (only_root, 0, true),
            (only_root, 65_534, false),
            (container, 65_534, true),
            (container, 65_537, false),
            ("", 0, false),
        ] {
            assert_eq!(maps(map, id), expected, "{id} in {map:?}");
        }
    }
}
