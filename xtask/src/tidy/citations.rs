//! Requirements that code cites, such as `[S4]`, exist in the specification.

use std::collections::BTreeSet;

use super::Fault;

/// The specification whose requirements the protocol's code cites.
pub(super) const SPECIFICATION: &str = "docs/protocol-v2.md";

/// The requirements that a specification defines: list items that begin with a number in brackets.
pub(super) fn defined(specification: &str) -> BTreeSet<String> {
    let item = |line: &str| Some(line.strip_prefix("- [")?.split_once(']')?.0.to_owned());
    specification.lines().filter_map(item).collect()
}

/// Checks the comments of a source file.
pub(super) fn check(text: &str, defined: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else { continue };
        for cited in citations(comment).filter(|cited| !defined.contains(*cited)) {
            let message = format!("[{cited}] is no requirement of {SPECIFICATION}");
            faults.push(Fault::error(at + 1, message));
        }
    }
    faults
}

/// What stands in brackets and looks like a requirement: a capital letter and one or two digits.
fn citations(comment: &str) -> impl Iterator<Item = &str> {
    let bracketed = comment.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
    bracketed.filter(|text| {
        let mut characters = text.chars();
        characters.next().is_some_and(|first| first.is_ascii_uppercase())
            && (2..=3).contains(&text.len())
            && characters.all(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requirements_that_exist_may_be_cited() {
        let defined = defined("text [X9]\n- [S1] A rule.\n- [S12] Another.\n");
        let text = "let a = b[S1]; // see [S1] and `[S12]`\n/// [S2], [u8; 4], [X9]\n";
        let faults = check(text, &defined);
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.line == 2), "{faults:?}");
    }
}
