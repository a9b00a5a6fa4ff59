//! The files with keys that a configuration names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::{Kind, read_private};
use super::value::Fault;

/// Bytes of a key in base64.
const KEY_BYTES: usize = 44;
/// Largest [`KeyFiles::to_bytes`], in bytes: names that fit into a configuration file, and their keys.
pub const MAX_KEYS_BYTES: usize = 2 * super::MAX_FILE_BYTES;

const KEY_FILE: Kind =
    Kind { max_bytes: 1024, max: "1 KiB", what: "the file of a key", holds: "a key" };

/// Reads the key files that a configuration names, and remembers what was in them for another
/// process that has no right to read them.
///
/// The texts are wiped when dropped; its `Debug` output does not show them.
#[derive(Default)]
pub struct KeyFiles {
    /// Where relative paths begin; none: there is no disk, and what is not known is missing.
    folder: Option<PathBuf>,
    /// By the path as the configuration has it: what may be a key, by its length.
    texts: BTreeMap<String, Zeroizing<String>>,
}

impl KeyFiles {
    /// Those of the configuration file at `config`: relative paths begin in its folder.
    pub fn of(config: &Path) -> Self {
        let folder = config.parent().unwrap_or(Path::new("")).to_owned();
        Self { folder: Some(folder), texts: BTreeMap::new() }
    }

    /// Those that another process has read, from [`Self::to_bytes`]; none when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() <= MAX_KEYS_BYTES)?;
        let entry = |line: &str| {
            let (key, path) = line.split_at_checked(KEY_BYTES)?;
            Some((path.strip_prefix(' ')?.to_owned(), Zeroizing::new(key.to_owned())))
        };
        Some(Self { folder: None, texts: text.lines().map(entry).collect::<Option<_>>()? })
    }

    /// What was read so far, to be handed over and never to be shown: a line per file, with its key, a
    /// blank, and its path as the configuration has it.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let length = self.texts.keys().map(|path| KEY_BYTES + path.len() + 2).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        for (path, key) in &self.texts {
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(path.as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }

    /// The key in the file `path`, without blanks and line ends around it. `program` prints such keys.
    pub(super) fn read(&mut self, path: &str, program: &str) -> Result<Zeroizing<String>, Fault> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        let Some(folder) = &self.folder else {
            return Err(Fault::new(
                format!("{path}: the file is not at hand"),
                "only a configuration that is read from disk can name files",
            ));
        };
        let full = folder.join(path);
        let named =
            |fault: Fault| Fault::new(format!("{}: {}", full.display(), fault.message), fault.help);
        let is_missing = !full.try_exists().unwrap_or(true);
        let bytes = read_private(&full, &KEY_FILE).map_err(|mut fault| {
            if is_missing {
                fault.help = format!("`{program} --out {}` makes one", full.display());
            }
            named(fault)
        })?;
        let text = std::str::from_utf8(&bytes).map_or("", str::trim);
        if text.len() != KEY_BYTES || text.contains(['\n', '\r']) {
            return Err(named(Fault::new(
                "there is something else than one key in the file",
                format!("it holds what `{program}` prints: 32 bytes in base64, and nothing else"),
            )));
        }
        let text = Zeroizing::new(text.to_owned());
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }
}

impl fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.texts.keys().collect();
        f.debug_struct("KeyFiles").field("folder", &self.folder).field("paths", &paths).finish()
    }
}
