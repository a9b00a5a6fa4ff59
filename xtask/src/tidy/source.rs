//! Rust files: their length, unsafe code, things left behind.

use std::path::Path;

use super::Fault;

/// Lines without tests from which a file hides a noun, and from which it is a fault.
const LONG: usize = 500;
const TOO_LONG: usize = 800;
/// The one crate that may use unsafe code.
const UNSAFE_CRATE: &str = "crates/mlvpn-io";
/// A SAFETY comment ends at most this many lines before its block: attributes and the beginning of
/// the statement may stand between.
const SAFETY_DISTANCE: usize = 6;

/// Checks the file `path`, relative to the workspace.
pub(super) fn check(path: &Path, text: &str) -> Vec<Fault> {
    let lines: Vec<_> = text.lines().collect();
    let mut faults = Vec::new();
    faults.extend(length(path, &lines));
    faults.extend(forbids_unsafe(path, text));
    for (at, line) in lines.iter().enumerate() {
        if let Some(word) = left_behind(line) {
            faults.push(Fault::error(at + 1, format!("`{word}` was left behind")));
        }
        if opens_unsafe(line) && !has_reason(&lines[..at]) {
            faults.push(Fault::error(at + 1, "unsafe code without a SAFETY comment"));
        }
    }
    faults
}

fn length(path: &Path, lines: &[&str]) -> Option<Fault> {
    let name = path.file_stem()?.to_str()?;
    let is_test = name == "tests"
        || name.ends_with("_tests")
        || path.components().any(|part| part.as_os_str() == "tests");
    if is_test {
        return None;
    }
    let count = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'))
        .unwrap_or(lines.len());
    let message = format!("{count} lines without tests");
    match count {
        TOO_LONG.. => Some(Fault::error(0, message)),
        LONG.. => Some(Fault::warning(0, message)),
        _ => None,
    }
}

/// The root of every crate forbids unsafe code, but for the one that is there for it.
fn forbids_unsafe(path: &Path, text: &str) -> Option<Fault> {
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let is_missing = !text.contains("#![forbid(unsafe_code)]");
    (is_root && is_missing && !path.starts_with(UNSAFE_CRATE))
        .then(|| Fault::error(0, "the crate does not forbid unsafe code"))
}

fn left_behind(line: &str) -> Option<&'static str> {
    const WORDS: [&str; 4] =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("db", "g!(")];
    WORDS.into_iter().find(|word| line.contains(word))
}

fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    [concat!("unsafe", " {"), concat!("unsafe", " impl")].iter().any(|start| code.contains(start))
}

fn has_reason(before: &[&str]) -> bool {
    let mut lines = before.iter().rev().take_while(|line| !line.trim().is_empty());
    let mut distance = 0;
    lines.any(|line| {
        let is_comment = line.trim_start().starts_with("//");
        distance += usize::from(!is_comment);
        distance <= SAFETY_DISTANCE && is_comment && line.contains("SAFETY:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<usize> {
        check(Path::new(path), text).into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn tests_do_not_count_towards_the_length() {
        let code = "x\n".repeat(799);
        let file = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert!(!check(Path::new("a.rs"), &file).iter().any(|fault| fault.is_error));
        assert_eq!(
            check(Path::new("a.rs"), &format!("{code}x\n"))[0],
            Fault::error(0, "800 lines without tests")
        );
        assert_eq!(faults("a/tests/b.rs", &code), [0_usize; 0]);
    }

    #[test]
    fn only_one_crate_may_be_unsafe() {
        assert_eq!(faults("crates/a/src/lib.rs", ""), [0]);
        assert_eq!(faults("crates/a/src/lib.rs", "#![forbid(unsafe_code)]"), [0_usize; 0]);
        assert_eq!(faults("crates/mlvpn-io/src/lib.rs", ""), [0_usize; 0]);
    }

    #[test]
    fn unsafe_code_gives_its_reason_close_by() {
        let block = concat!("unsafe", " { f() }");
        assert_eq!(faults("a.rs", block), [1]);
        assert_eq!(
            faults("a.rs", &format!("// SAFETY: f is sound\nlet x =\n    {block};")),
            [0_usize; 0]
        );
        assert_eq!(faults("a.rs", &format!("// SAFETY: of another\n\n{block};")), [3]);
    }

    #[test]
    fn what_was_left_behind_is_found() {
        assert_eq!(faults("a.rs", concat!("a\n// TO", "DO: b")), [2]);
    }
}
