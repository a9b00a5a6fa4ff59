//! Packet filters in the language of pcap-filter(7), for the `[filters]` rules that tie traffic to a link.
//!
//! A filter is compiled once into a short program without backward jumps (`program`), so that matching a
//! packet takes bounded time, no memory and no recursion. On IP packets it gives the verdicts of libpcap with
//! `DLT_RAW`, on Ethernet frames those with `DLT_EN10MB`; among them: a filter that reads beyond the end of a
//! packet does not match it, whatever else it says.

mod arithmetic;
mod eval;
mod lexer;
mod operand;
mod parser;
mod primitive;
mod program;
mod words;

use crate::ip::PacketKind;
use program::Instruction;

/// The longest filter text that is accepted, in bytes.
pub const MAX_TEXT_LEN: usize = 4096;
/// How deep parentheses and brackets may be nested.
const MAX_DEPTH: usize = 64;
/// How many numbers an arithmetic expression may hold at once.
const MAX_STACK: usize = 32;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: Box<str>,
    instructions: Box<[Instruction]>,
}

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {}: {message}", .column + 1)]
pub struct FilterError {
    /// Where the fault lies: a byte offset into the text, from 0 to its length.
    pub column: usize,
    /// What was expected there, in words for the person who wrote the filter.
    pub message: String,
}

impl Filter {
    /// Compiles `text`, at most [`MAX_TEXT_LEN`] bytes. An empty text matches every packet.
    ///
    /// Host names are not looked up: addresses are given as numbers.
    ///
    /// # Errors
    /// [`FilterError`] points at the first word that cannot be understood or is not supported.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_TEXT_LEN {
            let message = format!("the filter is longer than {MAX_TEXT_LEN} bytes");
            return Err(FilterError { column: MAX_TEXT_LEN, message });
        }
        let instructions = parser::compile(text)?;
        Ok(Self { text: text.into(), instructions: instructions.into_boxed_slice() })
    }

    /// Whether the filter matches `packet`, which may be any bytes.
    #[must_use]
    pub fn matches(&self, packet: &[u8], kind: PacketKind) -> bool {
        eval::run(&self.instructions, packet, kind)
    }

    /// The text that the filter was compiled from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FilterError {
    fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

#[cfg(test)]
mod tests;
