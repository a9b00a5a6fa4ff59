//! The house rules that neither the compiler nor clippy checks.

mod citations;
mod links;
mod manifest;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, bail};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", ".git", "artifacts", "coverage", "corpus"];

/// What is wrong somewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) is_error: bool,
    /// The line, from 1; 0 for the whole file.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Fault {
    fn error(line: usize, message: impl Into<String>) -> Self {
        Self { is_error: true, line, message: message.into() }
    }

    fn warning(line: usize, message: impl Into<String>) -> Self {
        Self { is_error: false, line, message: message.into() }
    }
}

/// Checks all files below `root`.
///
/// # Errors
/// When a rule is broken; the places have been printed by then.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(root, &mut files).context("cannot list the files")?;
    files.sort();
    let specification = fs::read_to_string(root.join(citations::SPECIFICATION))
        .context(citations::SPECIFICATION)?;
    let requirements = citations::defined(&specification);
    let (mut errors, mut cited) = (0, BTreeSet::new());
    for path in &files {
        let shown = path.strip_prefix(root).unwrap_or(path);
        errors += report(shown, &check(path, shown, &requirements)?);
        if is_citing(shown) {
            cited.extend(citations::cited(&fs::read_to_string(path)?).map(str::to_owned));
        }
    }
    let of_specification = [
        citations::uncited(&specification, &cited),
        citations::repeated(&specification),
        citations::unnumbered(&specification),
    ];
    for faults in of_specification {
        errors += report(Path::new(citations::SPECIFICATION), &faults);
    }
    if errors > 0 {
        bail!("{errors} rules broken");
    }
    eprintln!("{} files are tidy", files.len());
    Ok(())
}

/// Prints what is wrong with a file. Returns how many errors there are.
fn report(shown: &Path, faults: &[Fault]) -> usize {
    for fault in faults {
        let severity = if fault.is_error { "error" } else { "warning" };
        eprintln!("{}:{}: {severity}: {}", shown.display(), fault.line, fault.message);
    }
    faults.iter().filter(|fault| fault.is_error).count()
}

/// Whether the comments of a file may cite requirements.
fn is_citing(shown: &Path) -> bool {
    shown.starts_with("crates") && shown.extension().is_some_and(|extension| extension == "rs")
}

fn check(path: &Path, shown: &Path, requirements: &BTreeSet<String>) -> anyhow::Result<Vec<Fault>> {
    let read = || fs::read_to_string(path).with_context(|| shown.display().to_string());
    let extension = path.extension().and_then(|text| text.to_str());
    Ok(match extension {
        Some("rs") => {
            let text = read()?;
            let mut faults = source::check(shown, &text);
            if is_citing(shown) {
                faults.extend(citations::check(&text, requirements));
            }
            faults
        }
        Some("md") => links::check(&read()?, &|target| page(&path.with_file_name(target))),
        Some("toml") if path.ends_with("Cargo.toml") => manifest::check(&read()?),
        _ => Vec::new(),
    })
}

/// The text of a Markdown file, or nothing of another that exists.
fn page(path: &Path) -> Option<String> {
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    if is_page { fs::read_to_string(path).ok() } else { path.exists().then(String::new) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() {
            if !is_skipped {
                collect(&entry.path(), files)?;
            }
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
