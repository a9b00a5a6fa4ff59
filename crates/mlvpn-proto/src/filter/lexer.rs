//! Cuts a filter's text into tokens.

use std::net::Ipv6Addr;

use super::FilterError;
use super::program::{BinaryOperator, Relation};
use super::words::{self, Keyword};

/// A token and the bytes of the text that it stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    /// The byte offset of the token.
    pub(super) column: usize,
    pub(super) text: &'a str,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenKind<'a> {
    Number(u32),
    /// Two to four decimal numbers with dots between: `bits` (16, 24 or 32) low bits of `value`.
    Address4 {
        value: u32,
        bits: u32,
    },
    Address6(Ipv6Addr),
    Mac([u8; 6]),
    Keyword(Keyword),
    /// Any other word, or one behind a backslash.
    Name(&'a str),
    Operator(BinaryOperator),
    Relation(Relation),
    LeftParenthesis,
    RightParenthesis,
    LeftBracket,
    RightBracket,
    Colon,
}

/// Cuts `text` into tokens.
///
/// # Errors
/// Points at a character that starts no token, or at a malformed number or address.
pub(super) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, FilterError> {
    let mut tokens = Vec::new();
    let mut column = 0;
    while let Some(first) = text[column..].chars().next() {
        if matches!(first, ' ' | '\t' | '\r' | '\n') {
            column += 1;
            continue;
        }
        let (kind, len) = next_token(&text[column..]).map_err(|m| FilterError::new(column, m))?;
        tokens.push(Token { kind, column, text: &text[column..column + len] });
        column += len;
    }
    Ok(tokens)
}

/// The token at the start of `rest` and its length in bytes.
fn next_token(rest: &str) -> Result<(TokenKind<'_>, usize), String> {
    if let Some(found) = colon_address(rest)? {
        return Ok(found);
    }
    if let Some(found) = symbol(rest) {
        return Ok(found);
    }
    if let Some(escaped) = rest.strip_prefix('\\') {
        let ends = |c: char| matches!(c, ' ' | '!' | '(' | ')' | '\t' | '\r' | '\n');
        let name = &escaped[..escaped.find(ends).unwrap_or(escaped.len())];
        if name.is_empty() {
            return Err("expected a name after `\\`".into());
        }
        return Ok((TokenKind::Name(name), 1 + name.len()));
    }
    let word = word_at(rest);
    if word.is_empty() {
        let character = rest.chars().next().unwrap_or(' ');
        return Err(format!(
            "the character `{}` has no place in a filter",
            character.escape_default()
        ));
    }
    Ok((classify_word(word)?, word.len()))
}

/// The longest word at the start of `rest`: letters, digits and `-_.` that neither starts nor ends with `-_`.
fn word_at(rest: &str) -> &str {
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return "";
    }
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
    rest[..end].trim_end_matches(['-', '_'])
}

fn classify_word(word: &str) -> Result<TokenKind<'_>, String> {
    if let Some(keyword) = words::keyword(word) {
        return Ok(TokenKind::Keyword(keyword));
    }
    if let Some(number) = words::constant(word) {
        return Ok(TokenKind::Number(number));
    }
    let is_decimal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_decimal(word) || is_hexadecimal(word) {
        return number(word).map(TokenKind::Number);
    }
    if (2..=4).contains(&word.split('.').count()) && word.split('.').all(is_decimal) {
        return address4(word);
    }
    Ok(TokenKind::Name(word))
}

fn is_hexadecimal(word: &str) -> bool {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Reads a number in the notation of C: decimal, `0x` hexadecimal, `0` octal.
fn number(word: &str) -> Result<u32, String> {
    let (digits, radix) = match word.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&word[2..], 16),
        [b'0', _, ..] => (&word[1..], 8),
        _ => (word, 10),
    };
    if let Some(digit) = digits.chars().find(|c| !c.is_digit(radix)) {
        return Err(format!(
            "`{word}` is octal because of its leading 0, and cannot contain `{digit}`"
        ));
    }
    u32::from_str_radix(digits, radix).map_err(|_| format!("`{word}` does not fit 32 bits"))
}

fn address4(word: &str) -> Result<TokenKind<'static>, String> {
    let (mut value, mut bits) = (0, 0);
    for part in word.split('.') {
        let byte: u8 = part
            .parse()
            .map_err(|_| format!("`{word}` is no IPv4 address: `{part}` is beyond 255"))?;
        value = value << 8 | u32::from(byte);
        bits += 8;
    }
    Ok(TokenKind::Address4 { value, bits })
}

/// An IPv6 or hardware address, if `rest` starts with one.
///
/// One colon alone is none: `udp[4:2]`.
fn colon_address(rest: &str) -> Result<Option<(TokenKind<'_>, usize)>, String> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let run = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
    if run.matches(':').count() < 2 {
        return Ok(None);
    }
    if let Ok(address) = run.parse() {
        return Ok(Some((TokenKind::Address6(address), run.len())));
    }
    match mac(run) {
        Some(address) => Ok(Some((TokenKind::Mac(address), run.len()))),
        None => Err(format!("`{run}` is neither an IPv6 nor a hardware address")),
    }
}

fn mac(run: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = run.split(':');
    for byte in &mut address {
        let part = parts.next().filter(|p| (1..=2).contains(&p.len()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

fn symbol(rest: &str) -> Option<(TokenKind<'static>, usize)> {
    use TokenKind::{Keyword as Word, Operator, Relation as Compare};
    // Longer symbols first.
    #[rustfmt::skip]
    const SYMBOLS: &[(&str, TokenKind<'static>)] = &[
        ("&&", Word(Keyword::And)), ("||", Word(Keyword::Or)),
        ("<<", Operator(BinaryOperator::ShiftLeft)), (">>", Operator(BinaryOperator::ShiftRight)),
        ("==", Compare(Relation::Equal)), ("!=", Compare(Relation::NotEqual)),
        ("<=", Compare(Relation::LessOrEqual)), (">=", Compare(Relation::GreaterOrEqual)),
        ("=", Compare(Relation::Equal)), ("<", Compare(Relation::Less)), (">", Compare(Relation::Greater)),
        ("!", Word(Keyword::Not)), ("&", Operator(BinaryOperator::And)), ("|", Operator(BinaryOperator::Or)),
        ("^", Operator(BinaryOperator::Xor)), ("+", Operator(BinaryOperator::Add)),
        ("-", Operator(BinaryOperator::Subtract)), ("*", Operator(BinaryOperator::Multiply)),
        ("/", Operator(BinaryOperator::Divide)), ("%", Operator(BinaryOperator::Modulo)),
        ("(", TokenKind::LeftParenthesis), (")", TokenKind::RightParenthesis),
        ("[", TokenKind::LeftBracket), ("]", TokenKind::RightBracket), (":", TokenKind::Colon),
    ];
    SYMBOLS.iter().find(|(text, _)| rest.starts_with(text)).map(|(text, kind)| (*kind, text.len()))
}
