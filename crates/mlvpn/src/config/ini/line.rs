//! One line of the file.

use zeroize::Zeroizing;

use super::{Entry, Spanned, Value};
use crate::config::{Finding, Findings, Span};

/// What word processors and web pages put in the place of `"` and `'`.
const TYPOGRAPHIC_QUOTES: [char; 5] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}'];

/// What a line turned out to be.
pub(super) enum Line {
    /// Nothing, or a comment.
    Blank,
    /// `[name]`.
    Section(Spanned),
    /// `key = value`.
    Entry(Entry),
    /// Something that has been reported.
    Stray(Span),
}

/// Reads one line whose first byte is at `start` in the file.
pub(super) fn parse(line: &str, start: usize, findings: &mut Findings) -> Line {
    let Marks { assign, comment } = Marks::find(line);
    let body = trimmed(line, 0, comment);
    if body.is_empty() {
        return Line::Blank;
    }
    let whole = Span { start: start + body.start, end: start + body.end };
    if let Some(at) = line[body.clone()].find(|c: char| c.is_control() && c != '\t' && c != '\r') {
        let at = whole.start + at;
        findings.push(
            Finding::error(Span { start: at, end: at + 1 }, "a control character")
                .help("remove it; is this a text file?"),
        );
        return Line::Stray(whole);
    }
    if line[body.clone()].starts_with('[') {
        return section(&line[body], whole, findings);
    }
    match assign {
        Some(assign) => entry(line, start, assign, comment, findings),
        None => {
            findings.push(no_assignment(&line[body], whole));
            Line::Stray(whole)
        }
    }
}

/// Where the parts of a line meet.
struct Marks {
    /// The first `=` outside quotes.
    assign: Option<usize>,
    /// The `#` that starts the comment, or the end of the line.
    comment: usize,
}

impl Marks {
    fn find(line: &str) -> Self {
        let mut quoted = false;
        let mut assign = None;
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'=' if !quoted && assign.is_none() => assign = Some(at),
                b'#' if !quoted => return Self { assign, comment: at },
                _ => {}
            }
        }
        Self { assign, comment: line.len() }
    }
}

fn section(body: &str, whole: Span, findings: &mut Findings) -> Line {
    let Some(close) = body.find(']') else {
        findings.push(
            Finding::error(whole, "a section without its closing bracket")
                .help(format!("write {}]", body.trim_end())),
        );
        return Line::Stray(whole);
    };
    if !body[close + 1..].trim().is_empty() {
        let rest = Span { start: whole.start + close + 1, end: whole.end };
        findings.push(
            Finding::warning(rest, "text after a section's name is ignored")
                .label("ignored")
                .help("put it on a line of its own, or `#` before it"),
        );
    }
    let name = trimmed(body, 1, close);
    let span = Span { start: whole.start + name.start, end: whole.start + name.end };
    if name.is_empty() || body[name.clone()].contains('[') {
        findings.push(
            Finding::error(whole, "a section without a proper name")
                .help("write [general], [filters] or the name of a link, such as [dsl1]"),
        );
        return Line::Stray(whole);
    }
    Line::Section(Spanned { text: body[name].to_owned(), span })
}

fn entry(line: &str, start: usize, assign: usize, comment: usize, findings: &mut Findings) -> Line {
    let key = trimmed(line, 0, assign);
    let key_span = Span { start: start + key.start, end: start + key.end };
    let name = line[key].replace('"', "").trim().to_owned();
    let value = value(line, start, assign, comment, findings);
    if name.is_empty() {
        let span = Span { start: start + assign, end: start + assign + 1 };
        findings.push(
            Finding::error(span, "no key before `=`").help("write key = value, or remove the line"),
        );
        return Line::Stray(value.span);
    }
    Line::Entry(Entry { key: Spanned { text: name, span: key_span }, value })
}

fn value(
    line: &str,
    start: usize,
    assign: usize,
    comment: usize,
    findings: &mut Findings,
) -> Value {
    let legacy = legacy_reading(&line[assign + 1..comment]);
    let single = single_quoted(line, assign + 1);
    let raw = trimmed(line, assign + 1, comment);
    let quotes = line[raw.clone()].matches('"').count();
    let simple =
        quotes == 2 && line[raw.clone()].starts_with('"') && line[raw.clone()].ends_with('"');
    let inner = match single.clone() {
        Some(inner) => trimmed(line, inner.start, inner.end),
        None if simple => trimmed(line, raw.start + 1, raw.end - 1),
        None => raw.clone(),
    };
    let verbatim = single.is_some() || simple || quotes == 0;
    let text = if verbatim {
        Zeroizing::new(line[inner.clone()].to_owned())
    } else {
        Zeroizing::new(line[inner.clone()].replace('"', "").trim().to_owned())
    };
    let span = if inner.is_empty() {
        Span { start: start + assign, end: start + assign + 1 }
    } else {
        Span { start: start + inner.start, end: start + inner.end }
    };
    if single.is_none() && quotes % 2 == 1 {
        findings.push(
            Finding::warning(span, "a quoted value without its closing quote")
                .label("runs to the end of the line")
                .help("add the second \""),
        );
    }
    if text.starts_with(TYPOGRAPHIC_QUOTES) {
        findings.push(
            Finding::error(span, "typographic quotes are not quotes")
                .help("write the value between \" and \""),
        );
    }
    let text = Zeroizing::new(text.trim_matches(TYPOGRAPHIC_QUOTES).to_owned());
    Value { text, legacy: Zeroizing::new(legacy), span }
}

/// The place between single quotes, if they enclose the whole value that starts after `from`.
fn single_quoted(line: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let open = from + line[from..].find(|c: char| !c.is_whitespace())?;
    let inner = line[open..].strip_prefix('\'')?;
    let close = open + 1 + inner.find('\'')?;
    let rest = line[close + 1..].trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(open + 1..close)
}

/// The value as the C program reads it, given what stands between `=` and the comment.
fn legacy_reading(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '\r' => {}
            ' ' if !quoted || out.is_empty() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    out
}

fn no_assignment(body: &str, whole: Span) -> Finding {
    if body.starts_with(['"', '\'']) {
        Finding::error(whole, "a quoted text on a line of its own")
            .label("belongs to no key")
            .help("a value stands on the same line as its key: key = \"value\"")
    } else {
        Finding::error(whole, "neither a section nor `key = value`")
            .help("write key = value, or `#` at the start of a comment")
    }
}

/// `from..to` without the blanks at its ends.
fn trimmed(text: &str, from: usize, to: usize) -> std::ops::Range<usize> {
    let part = &text[from..to];
    let start = from + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}
