//! Links between Markdown files lead somewhere, and so do their anchors.

use std::collections::BTreeMap;

use super::Fault;

/// Checks the links of a file; `read` gives the text at a path relative to it, which is empty for what is no Markdown
/// file and has no anchors, and none where nothing is.
pub(super) fn check(text: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, line) in prose(text) {
        for target in targets(line) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if path.is_empty() { Some(text.to_owned()) } else { read(path) };
            let message = match page {
                None => format!("`{path}` does not exist"),
                Some(page) if !anchor.is_empty() && !anchors(&page).iter().any(|a| a == anchor) => {
                    format!("there is no heading `#{anchor}` in `{path}`")
                }
                Some(_) => continue,
            };
            faults.push(Fault::error(at + 1, message));
        }
    }
    faults
}

/// The lines outside of blocks of code, each with its number from 0.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What a line links to, but for other sites. Code in backticks has no links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let prose = line.split('`').step_by(2);
    prose
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// The anchors of a page's headings, as GitHub makes them: letters, digits, hyphens and underscores of the text in small
/// letters, hyphens for blanks, and a number after those that there are already.
fn anchors(page: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, u32>::new();
    let headings = prose(page).filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len() && text.starts_with(' ')).then(|| text.trim())
    });
    headings
        .map(|heading| {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let slug: String =
                kept.flat_map(char::to_lowercase).collect::<String>().replace(' ', "-");
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_checked_and_others_are_not() {
        let text = "# Here\n[a](a.md) [b](b.md#c), [w](https://w.example)\n[h](#here) `[c](d.md)`\n\
                    ```\n[e](e.md)\n```\n[`f`](f.md)";
        let faults = check(text, &|path| (path == "a.md").then(String::new));
        let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 7]);
        assert_eq!(faults[0], Fault::error(2, "`b.md` does not exist"));
    }

    #[test]
    fn anchors_are_those_of_headings() {
        let page = "# One, `two` (3.1)\n```\n# no heading\n```\n## Same\n## Same\n#no heading\n";
        assert_eq!(anchors(page), ["one-two-31", "same", "same-1"]);
        let text = "[a](p.md#same-1) [b](p.md#no-heading)\n[c](#own) [d](#other)\n# Own\n";
        let faults = check(text, &|_| Some(page.to_owned()));
        let messages: Vec<_> = faults.iter().map(|f| (f.line, f.message.as_str())).collect();
        assert_eq!(
            messages,
            [
                (1, "there is no heading `#no-heading` in `p.md`"),
                (2, "there is no heading `#other` in ``"),
            ]
        );
    }
}
