//! Links between Markdown files lead somewhere.

use super::Fault;

/// Checks the links of a file; `exists` tells about paths relative to it.
pub(super) fn check(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        for target in targets(line) {
            if !exists(target) {
                faults.push(Fault::error(at + 1, format!("`{target}` does not exist")));
            }
        }
    }
    faults
}

/// The files that a line links to, without their anchors. Code in backticks has no links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let prose = line.split('`').step_by(2);
    prose
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_checked_and_others_are_not() {
        let text = "[a](a.md) [b](b.md#c), [w](https://w.example)\n[h](#here) `[c](d.md)`\n\
                    ```\n[e](e.md)\n```\n[`f`](f.md)";
        let faults = check(text, &|path| path == "a.md");
        let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 6]);
        assert_eq!(faults[0], Fault::error(1, "`b.md` does not exist"));
    }
}
