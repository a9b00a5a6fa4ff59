//! `mlvpn genkey`, `mlvpn pubkey` and `mlvpn genpsk`: keys as WireGuard's tools write and read them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use super::random_bytes;
use crate::private_file;

/// Most bytes that are read where a key is expected.
const MAX_INPUT: u64 = 1024;

#[derive(Debug, Args)]
pub(super) struct Target {
    /// Write the key to this new file, which only its owner may read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long, requires = "out")]
    force: bool,
}

/// Prints or writes a new private key. When it is written, its public key is printed.
pub(super) fn genkey(target: &Target) -> anyhow::Result<()> {
    let key = PrivateKey::take(&mut *random_bytes()?);
    if target.put(&key.to_base64())? {
        println!("{}", key.public_key());
    }
    Ok(())
}

/// Prints or writes a new pre-shared key.
pub(super) fn genpsk(target: &Target) -> anyhow::Result<()> {
    let key = PresharedKey::take(&mut *random_bytes()?);
    target.put(&key.to_base64()).map(drop)
}

/// Prints the public key of the private key in `file`, or on standard input.
pub(super) fn pubkey(file: Option<&Path>) -> anyhow::Result<()> {
    let (shown, text) = match file {
        Some(path) => {
            let shown = path.display().to_string();
            let file = fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
            let text = read(file).with_context(|| format!("cannot read {shown}"))?;
            (shown, text)
        }
        None => {
            let text = read(io::stdin().lock()).context("cannot read standard input")?;
            ("standard input".to_owned(), text)
        }
    };
    let key = PrivateKey::from_base64(text.trim()).with_context(|| {
        format!("there is no private key on {shown}; `mlvpn genkey` prints one")
    })?;
    println!("{}", key.public_key());
    Ok(())
}

fn read(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT as usize));
    from.take(MAX_INPUT).read_to_string(&mut text)?;
    Ok(text)
}

impl Target {
    /// Puts a key where it is wanted; whether that is a file.
    fn put(&self, key: &str) -> anyhow::Result<bool> {
        let Some(path) = &self.out else {
            println!("{key}");
            return Ok(false);
        };
        let line = Zeroizing::new(format!("{key}\n"));
        let write = if self.force { private_file::replace } else { private_file::create };
        let result = write(path, line.as_bytes(), private_file::OWNER_ONLY);
        match result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} exists, and is left as it is; --force replaces it", path.display())
            }
            result => result.with_context(|| format!("cannot write {}", path.display()))?,
        }
        Ok(true)
    }
}
