//! What is to be done: files and commands, first put together, then shown or done.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use similar::TextDiff;
use zeroize::Zeroizing;

use crate::network::command;
use crate::private_file::{self, OWNER_ONLY};

const FITS: &str = "a string takes everything";
/// Keys whose values are not shown.
const SECRET_KEYS: [&str; 2] = ["password", "preshared_key"];

/// Everything that is not there yet.
#[derive(Debug, Default)]
pub(super) struct Plan {
    steps: Vec<Step>,
    may_replace: bool,
}

#[derive(Debug)]
enum Step {
    Folder(PathBuf),
    File(NewFile),
    Command { program: PathBuf, arguments: Vec<String>, purpose: String },
}

struct NewFile {
    path: PathBuf,
    content: Zeroizing<String>,
    before: Option<Zeroizing<String>>,
    kind: Kind,
    /// Where the former file is kept.
    backup: Option<PathBuf>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing of it may be shown.
    Key,
    /// Nothing of its secrets may be shown.
    Configuration,
    /// For everybody.
    Public,
}

impl Plan {
    /// Nothing yet. `may_replace`: files that differ are replaced, and kept beside.
    pub(super) fn new(may_replace: bool) -> Self {
        Self { steps: Vec::new(), may_replace }
    }

    /// Whether everything is there already.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a file is to be written at `path`.
    pub(super) fn writes(&self, path: &Path) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::File(file) if file.path == path))
    }

    /// From now on files that differ may be replaced.
    pub(super) fn allow_replacing(&mut self) {
        self.may_replace = true;
    }

    /// A folder that is to exist.
    pub(super) fn folder(&mut self, path: &Path) {
        if !path.is_dir() {
            self.steps.push(Step::Folder(path.to_owned()));
        }
    }

    /// A file that is to have this content.
    ///
    /// # Errors
    /// When it has another one and must not be replaced; then with the difference.
    pub(super) fn file(&mut self, path: &Path, content: &str, kind: Kind) -> anyhow::Result<()> {
        let Some(file) = NewFile::at(path, content, kind)? else { return Ok(()) };
        if file.before.is_some() && !self.may_replace {
            bail!(
                "{} is there and differs; it was left as it is. --force replaces it, and keeps it \
                 beside:\n{}",
                path.display(),
                file.shown()
            );
        }
        self.steps.push(Step::File(file));
        Ok(())
    }

    /// Lines at the end of a file that is there. It is not kept beside, for nothing of it is lost.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn append(&mut self, path: &Path, lines: &str) -> anyhow::Result<()> {
        let before = read(path)?.unwrap_or_default();
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let content = Zeroizing::new(format!("{}{gap}{lines}", before.as_str()));
        let file = NewFile::at(path, &content, Kind::Configuration)?;
        self.steps.extend(file.map(|file| Step::File(NewFile { backup: None, ..file })));
        Ok(())
    }

    /// A file of this program's own, which nobody else changes: it is replaced without being kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn note(&mut self, path: &Path, content: &str) -> anyhow::Result<()> {
        let file = NewFile::at(path, content, Kind::Configuration)?;
        self.steps.extend(file.map(|file| Step::File(NewFile { backup: None, ..file })));
        Ok(())
    }

    /// A command to run; `purpose` says what it does, as a sentence without an end.
    pub(super) fn command(&mut self, program: &Path, arguments: &[&str], purpose: &str) {
        self.steps.push(Step::Command {
            program: program.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            purpose: purpose.to_owned(),
        });
    }

    /// What would be done, for people; secrets are masked.
    pub(super) fn shown(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            match step {
                Step::Folder(path) => {
                    writeln!(out, "make the folder {}", path.display()).expect(FITS);
                }
                Step::File(file) => {
                    writeln!(out, "{}:", file.headline()).expect(FITS);
                    for line in file.shown().lines() {
                        writeln!(out, "    {line}").expect(FITS);
                    }
                }
                Step::Command { program, arguments, purpose } => {
                    let line = command_line(program, arguments);
                    writeln!(out, "{purpose}:\n    {line}").expect(FITS);
                }
            }
        }
        out
    }

    /// Does it, and says so on standard error.
    ///
    /// # Errors
    /// The first step that failed; what was done before stays, and is not done again by another run.
    pub(super) fn carry_out(&self) -> anyhow::Result<()> {
        for step in &self.steps {
            match step {
                Step::Folder(path) => {
                    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
                    made.with_context(|| cannot_write(path))?;
                    eprintln!("made the folder {}", path.display());
                }
                Step::File(file) => {
                    file.write()?;
                    eprintln!("{}", file.headline());
                }
                Step::Command { program, arguments, purpose } => {
                    let borrowed: Vec<_> = arguments.iter().map(String::as_str).collect();
                    command::run(program, &borrowed, "").with_context(|| {
                        format!("could not {purpose}; try `{}`", command_line(program, arguments))
                    })?;
                    eprintln!("{purpose}: {}", command_line(program, arguments));
                }
            }
        }
        Ok(())
    }
}

impl NewFile {
    /// None when the file has that content already.
    fn at(path: &Path, content: &str, kind: Kind) -> anyhow::Result<Option<Self>> {
        let before = read(path)?;
        if before.as_ref().is_some_and(|before| before.as_str() == content) {
            return Ok(None);
        }
        let backup = before.as_ref().map(|_| free_name(path));
        let content = Zeroizing::new(content.to_owned());
        Ok(Some(Self { path: path.to_owned(), content, before, kind, backup }))
    }

    fn mode(&self) -> u32 {
        if self.kind == Kind::Public { 0o644 } else { OWNER_ONLY }
    }

    fn headline(&self) -> String {
        let path = self.path.display();
        match (&self.before, &self.backup) {
            (None, _) => format!("write {path} (mode {:04o})", self.mode()),
            (Some(_), None) => format!("change {path}"),
            (Some(_), Some(backup)) => {
                format!("replace {path}, and keep the former one as {}", backup.display())
            }
        }
    }

    /// The text, or the difference.
    fn shown(&self) -> String {
        if self.kind == Kind::Key {
            return "(a private key, which is not shown)\n".to_owned();
        }
        let new = mask(&self.content);
        let Some(before) = &self.before else { return new };
        let before = mask(before);
        if before == new {
            return "(only a secret differs)\n".to_owned();
        }
        let diff = TextDiff::from_lines(&before, &new);
        diff.unified_diff().context_radius(2).header("as it is", "as it would be").to_string()
    }

    fn write(&self) -> anyhow::Result<()> {
        if let Some(backup) = &self.backup {
            let before = self.before.as_ref().map_or("", |before| before.as_str());
            private_file::create(backup, before.as_bytes(), OWNER_ONLY)
                .with_context(|| cannot_write(backup))?;
        }
        private_file::replace(&self.path, self.content.as_bytes(), self.mode())
            .with_context(|| cannot_write(&self.path))
    }
}

impl std::fmt::Debug for NewFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.headline())
    }
}

fn cannot_write(path: &Path) -> String {
    let hint = if super::is_root() { "" } else { "; try as root" };
    format!("cannot write {}{hint}", path.display())
}

/// None when there is no such file.
fn read(path: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let hint = if super::is_root() { "" } else { "; try as root" };
            Err(error).with_context(|| format!("cannot read {}{hint}", path.display()))
        }
    }
}

/// Where the former file can be kept.
fn free_name(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-{number}"));
        PathBuf::from(name)
    };
    (1..).map(name).find(|path| !path.exists()).expect("there are names without end")
}

/// The text with its secrets masked.
fn mask(text: &str) -> String {
    let is_secret = |line: &str| {
        let key = line.trim_start_matches([' ', '\t', '#']);
        let key = key.split('=').next().unwrap_or_default().trim_end();
        line.contains('=') && SECRET_KEYS.contains(&key)
    };
    let masked = |line: &str| match line.split_once('=').filter(|_| is_secret(line)) {
        Some((key, _)) => format!("{key}= (not shown)\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(masked).collect()
}

/// A command as it would be typed.
fn command_line(program: &Path, arguments: &[String]) -> String {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let words = std::iter::once(name.as_ref()).chain(arguments.iter().map(String::as_str));
    let quoted = words.map(|word| {
        let is_plain = !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:@=,+%".contains(&b));
        if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("mlvpn-plan-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_there_is_no_step_and_what_differs_is_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new("twice");
        let (folder, file) = (scratch.0.join("etc"), scratch.0.join("etc/a.conf"));
        let plan = |content: &str, may_replace| {
            let mut plan = Plan::new(may_replace);
            plan.folder(&folder);
            plan.file(&file, content, Kind::Configuration).map(|()| plan)
        };
        plan("a = 1\n", false).unwrap().carry_out().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(plan("a = 1\n", false).unwrap().is_empty());
        let error = plan("a = 2\npassword = \"x\"\n", false).unwrap_err().to_string();
        assert!(error.contains("--force") && error.contains("-a = 1\n+a = 2"), "{error}");
        for (number, content) in [(1, "a = 2\n"), (2, "a = 3\n")] {
            let before = fs::read_to_string(&file).unwrap();
            plan(content, true).unwrap().carry_out().unwrap();
            let kept = fs::read_to_string(scratch.0.join(format!("etc/a.conf.before-{number}")));
            assert_eq!(
                (kept.unwrap(), fs::read_to_string(&file).unwrap()),
                (before, content.to_owned())
            );
        }
    }

    #[test]
    fn a_file_grows_at_its_end() {
        let scratch = Scratch::new("grows");
        let file = scratch.0.join("a.conf");
        fs::write(&file, "a = 1").unwrap();
        let mut plan = Plan::new(false);
        plan.append(&file, "[b]\n").unwrap();
        plan.carry_out().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a = 1\n[b]\n");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn secrets_are_shown_neither_whole_nor_as_differences() {
        let scratch = Scratch::new("secret");
        let file = scratch.0.join("a.conf");
        let text =
            |secret: &str| format!("x = 1\n  preshared_key = \"{secret}\"\npublic_key = \"p\"\n");
        let mut plan = Plan::new(true);
        plan.file(&file, &text("hush"), Kind::Configuration).unwrap();
        plan.file(&scratch.0.join("k"), "hush", Kind::Key).unwrap();
        plan.command(Path::new("/usr/bin/true"), &["a b", "c"], "try it");
        let shown = plan.shown();
        assert!(!shown.contains("hush") && shown.contains("public_key = \"p\""), "{shown}");
        assert!(shown.contains("true 'a b' c"), "{shown}");
        assert!(!format!("{plan:?}").contains("hush"));
        fs::write(&file, text("other")).unwrap();
        let mut plan = Plan::new(true);
        plan.file(&file, &text("hush"), Kind::Configuration).unwrap();
        let shown = plan.shown();
        assert!(shown.contains("only a secret differs") && !shown.contains("other"), "{shown}");
    }
}
