//! Requirements that code cites, such as `[S4]`, exist in the specification, and each of them is cited.

use std::collections::BTreeSet;

use super::Fault;

/// The specification whose requirements the protocol's code cites.
pub(super) const SPECIFICATION: &str = "docs/protocol-v2.md";

/// The requirements that a specification defines: list items that begin with a number in brackets.
pub(super) fn defined(specification: &str) -> BTreeSet<String> {
    specification.lines().filter_map(item).map(str::to_owned).collect()
}

/// The number of the requirement that begins on a line.
fn item(line: &str) -> Option<&str> {
    Some(line.strip_prefix("- [")?.split_once(']')?.0)
}

/// Where requirements stand that no source file cites.
pub(super) fn uncited(specification: &str, cited: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, line) in specification.lines().enumerate() {
        let Some(name) = item(line).filter(|name| !cited.contains(*name)) else { continue };
        let message = format!("[{name}] is cited nowhere: what fulfils it?");
        faults.push(Fault::error(at + 1, message));
    }
    faults
}

/// Numbers that two requirements have.
pub(super) fn repeated(specification: &str) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let items = specification.lines().enumerate().filter_map(|(at, line)| Some((at, item(line)?)));
    items
        .filter(|(_, name)| !seen.insert(*name))
        .map(|(at, name)| Fault::error(at + 1, format!("there is a [{name}] before this one")))
        .collect()
}

/// Lines with a MUST that belong to no numbered requirement: nobody could cite them. A requirement goes on in indented lines.
pub(super) fn unnumbered(specification: &str) -> Vec<Fault> {
    let mut is_numbered = false;
    let mut faults = Vec::new();
    // What the word means is said before the first section.
    let sections =
        specification.lines().enumerate().skip_while(|(_, line)| !line.starts_with("## "));
    for (at, line) in sections {
        let goes_on = line.is_empty() || line.starts_with("  ");
        is_numbered = item(line).is_some() || is_numbered && goes_on;
        let has_must = line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "MUST");
        if has_must && !is_numbered {
            faults.push(Fault::error(
                at + 1,
                "this MUST belongs to no numbered requirement".to_owned(),
            ));
        }
    }
    faults
}

/// The requirements that the comments of a source file cite.
pub(super) fn cited(text: &str) -> impl Iterator<Item = &str> {
    comments(text).flat_map(|(_, comment)| citations(comment))
}

/// Checks the comments of a source file.
pub(super) fn check(text: &str, defined: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, comment) in comments(text) {
        for cited in citations(comment).filter(|cited| !defined.contains(*cited)) {
            let message = format!("[{cited}] is no requirement of {SPECIFICATION}");
            faults.push(Fault::error(at + 1, message));
        }
    }
    faults
}

/// The comments of a source file, each with the number of its line from 0.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let comment = |line: &'_ str| line.find("//").map(|at| at + 2);
    text.lines().enumerate().filter_map(move |(at, line)| Some((at, &line[comment(line)?..])))
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

    #[test]
    fn each_number_is_of_one_requirement_and_each_must_has_a_number() {
        let specification = "What MUST means.\n## 1\n- [S1] One MUST,\n  and MUST.\nIt MUST.\n- [S2] A.\n- [S1] B.\n";
        let lines = |faults: Vec<Fault>| faults.iter().map(|fault| fault.line).collect::<Vec<_>>();
        assert_eq!(lines(repeated(specification)), [7]);
        assert_eq!(lines(unnumbered(specification)), [5]);
    }

    #[test]
    fn every_requirement_is_cited_in_a_comment() {
        let specification = "text\n- [S1] A rule.\n- [S12] Another.\n";
        let cited = cited("let a = b[S12]; // see [S1]\n").map(str::to_owned).collect();
        let faults = uncited(specification, &cited);
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [3]);
    }
}
