//! Lines, sections, keys and values, with their places in the file.
//!
//! The reading is the C program's: `"` switches quoting on and off wherever it stands, `#` outside quotes
//! starts a comment, carriage returns do not count, keys are case-sensitive. Where it silently
//! skipped a line, there is a finding.

mod line;
mod mask;

use zeroize::Zeroizing;

use super::{Finding, Findings, MAX_FILE_BYTES, Span};
pub(super) use mask::is_key_like;

/// The file as sections.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// In file order; a name can occur more than once.
    pub(super) sections: Vec<Section>,
    /// Place of the last line, for what is missing altogether.
    pub(super) end: Span,
}

/// `[name]` and what follows it.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: Spanned,
    pub(super) entries: Vec<Entry>,
}

/// `key = value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Spanned,
    pub(super) value: Value,
}

/// A piece of text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned {
    pub(super) text: String,
    pub(super) span: Span,
}

/// What stands right of the `=`.
#[derive(Debug)]
pub(super) struct Value {
    /// Without quotes and without blanks around; empty if there is nothing.
    pub(super) text: Zeroizing<String>,
    /// As the C program reads it: unquoted blanks are dropped and single quotes belong to the value.
    /// Only the password depends on it, because both ends derive their key from it.
    pub(super) legacy: Zeroizing<String>,
    /// The text without its quotes; the place of the `=` if there is nothing.
    pub(super) span: Span,
}

/// Splits a file into sections and entries.
///
/// Never fails: what cannot be read becomes a finding. The text is remembered in `findings` with the
/// passwords masked.
pub(super) fn parse(bytes: &[u8], findings: &mut Findings) -> Document {
    if bytes.len() > MAX_FILE_BYTES {
        findings.push(Finding::whole_file("the file is larger than 1 MiB"));
        return Document::default();
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Zeroizing::new(text.to_owned()),
        Err(error) => {
            let start = error.valid_up_to();
            findings.push(
                Finding::error(Span { start, end: start + 1 }, "the file is not UTF-8 text")
                    .help("save it as ASCII or UTF-8"),
            );
            Zeroizing::new(String::from_utf8_lossy(bytes).into_owned())
        }
    };
    let mut reader = Reader::default();
    for (start, line) in lines(&text) {
        reader.read_line(line, start, findings);
    }
    reader.document.end = last_line(&text);
    findings.set_source(mask::mask(&text, &reader.secrets));
    reader.document
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    document: Document,
    /// Places of what must not be printed.
    secrets: Vec<Span>,
    /// The last entry was a password without a value, so that a text alone on the next line is one.
    expects_secret: bool,
}

impl Reader {
    fn read_line(&mut self, line: &str, start: usize, findings: &mut Findings) {
        match line::parse(line, start, findings) {
            line::Line::Blank => {}
            line::Line::Section(name) => {
                self.expects_secret = false;
                self.document.sections.push(Section { name, entries: Vec::new() });
            }
            line::Line::Entry(entry) => self.add(entry, findings),
            line::Line::Stray(span) => {
                if self.expects_secret {
                    self.secrets.push(span);
                }
            }
        }
    }

    fn add(&mut self, entry: Entry, findings: &mut Findings) {
        if mask::is_secret(&entry.key.text, &entry.value.text) {
            self.expects_secret = entry.value.text.is_empty();
            if !self.expects_secret {
                self.secrets.push(entry.value.span);
            }
        } else {
            self.expects_secret = false;
        }
        match self.document.sections.last_mut() {
            Some(section) => section.entries.push(entry),
            None => findings.push(
                Finding::error(
                    entry.key.span,
                    format!("`{}` stands before the first section", entry.key.text),
                )
                .label("belongs to no section")
                .help("put [general], or the name of a link in brackets, on a line above it"),
            ),
        }
    }
}

/// Lines without their line feed, each with the place of its first byte.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let skip = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut start = skip;
    text[skip..].split('\n').map(move |line| {
        let this = start;
        start += line.len() + 1;
        (this, line)
    })
}

fn last_line(text: &str) -> Span {
    let end = text.trim_end().len();
    let start = text[..end].rfind('\n').map_or(0, |at| at + 1);
    Span { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Document, Findings) {
        let mut findings = Findings::new("t");
        let document = parse(text.as_bytes(), &mut findings);
        (document, findings)
    }

    /// The only value of a one-section file: our reading and the C program's.
    fn value(line: &str) -> (String, String) {
        let (document, findings) = read(&format!("[s]\n{line}\n"));
        assert!(!findings.has_errors(), "{findings}");
        let value = &document.sections[0].entries[0].value;
        (value.text.to_string(), value.legacy.to_string())
    }

    #[test]
    fn values_are_read_as_the_c_program_reads_them() {
        let same = |line: &str, expected: &str| {
            assert_eq!(value(line), (expected.to_owned(), expected.to_owned()), "{line}");
        };
        same("k = v", "v");
        same("k=v", "v");
        same("  k =   v   ", "v");
        same("k = \"v\"", "v");
        same("k = \"a b  c\"", "a b  c");
        same("k = \"  a b \"", "a b");
        same("k = \"a # b\" # comment", "a # b");
        same("k = v # comment", "v");
        same("k = v#comment", "v");
        same("k = \"a=b\"", "a=b");
        same("k = v\r", "v");
        same("\"k\" = \"v\"", "v");
        same("k = a\"b c\"d", "ab cd");
        same("k = \"\"", "");
        same("k =", "");
        same("k = # nothing", "");
        same("k = \"open # still", "open # still");
    }

    #[test]
    fn blanks_and_single_quotes_are_where_the_readings_differ() {
        assert_eq!(value("k = a b"), ("a b".into(), "ab".into()));
        assert_eq!(value("k = 'a b'"), ("a b".into(), "'ab'".into()));
        assert_eq!(value("k = 'a # b' # c"), ("a # b".into(), "'a".into()));
        assert_eq!(value("k = don't # c"), ("don't".into(), "don't".into()));
    }

    #[test]
    fn spans_are_those_of_the_text() {
        let text = "# c\n[ dsl1 ] # x\n  bindport = \"5080\" # y\n";
        let (document, findings) = read(text);
        assert!(!findings.has_errors(), "{findings}");
        let section = &document.sections[0];
        let at = |span: Span| &text[span.start..span.end];
        assert_eq!((section.name.text.as_str(), at(section.name.span)), ("dsl1", "dsl1"));
        let entry = &section.entries[0];
        assert_eq!((at(entry.key.span), at(entry.value.span)), ("bindport", "5080"));
    }

    #[test]
    fn the_last_line_counts_without_a_line_feed() {
        let (document, _) = read("[s]\nk = v");
        assert_eq!(document.sections[0].entries.len(), 1);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let (document, findings) = read("\u{feff}[s]\nk = v\n");
        assert!(!findings.has_errors(), "{findings}");
        assert_eq!(document.sections[0].name.text, "s");
    }

    #[test]
    fn passwords_are_not_printed() {
        for text in [
            "[g]\npassword = \"hunter2hunter2\"\nstray\n",
            "[g]\npasword = hunter2hunter2\nstray\n",
            "[g]\npassword =\n\"hunter2hunter2\"\n",
        ] {
            let (_, findings) = read(text);
            assert!(findings.has_errors());
            assert!(!findings.to_string().contains("hunter"), "{findings}");
        }
    }

    #[test]
    fn keys_are_not_printed_wherever_they_stand() {
        let key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        for name in ["preshared_key", "PresharedKey", "private_key", "private_key_file", "psk", "x"]
        {
            let (_, findings) = read(&format!("[peer a]\n{name} = {key}\nstray\n"));
            assert!(!findings.to_string().contains("dwdt"), "{name}: {findings}");
        }
        let (_, findings) = read("[peer a]\npreshared_key = dwdtCnMYp\nstray\n");
        assert!(!findings.to_string().contains("dwdt"), "{findings}");
        let (_, findings) = read(&format!("[peer a]\npublic_key = {key}\nstray\n"));
        assert!(findings.to_string().contains(key), "{findings}");
        let path = "/etc/mlvpn/keys/of/the/server/in/frankfurt";
        let (_, findings) = read(&format!("[general]\nprivate_key_file = {path}\nstray\n"));
        assert!(findings.to_string().contains(path), "{findings}");
    }
}
