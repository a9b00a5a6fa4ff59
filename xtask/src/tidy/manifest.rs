//! Every crate of the workspace takes part in its lints and says what it is.

use super::Fault;

/// Checks a Cargo.toml. The roots of workspaces are left out.
pub(super) fn check(text: &str) -> Vec<Fault> {
    let has_table = |name: &str| text.lines().any(|line| line.trim() == name);
    if has_table("[workspace]") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let takes_lints = text
        .split_once("[lints]")
        .is_some_and(|(_, table)| table.trim_start().starts_with("workspace = true"));
    if !takes_lints {
        faults.push(Fault::error(0, "no `[lints] workspace = true`"));
    }
    if !text.lines().any(|line| line.starts_with("description = ")) {
        faults.push(Fault::error(0, "no description"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_takes_the_lints_of_the_workspace() {
        let head = "[package]\nname = \"a\"\ndescription = \"b\"\n";
        assert_eq!(check(&format!("{head}\n[lints]\nworkspace = true\n")), []);
        assert_eq!(check(head).len(), 1);
        assert_eq!(check("[workspace]\n"), []);
    }
}
