//! Errors and warnings about a configuration file, and how they are shown.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};

/// Findings beyond this many are only counted.
const MAX_FINDINGS: usize = 100;
/// Width that reports are wrapped to when nothing else is known.
const WIDTH: usize = 100;

/// A range of bytes in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Whether the file can be used in spite of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but its author should look.
    Warning,
}

/// One thing to say about the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it keeps the program from starting.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where; `None` when it concerns the file as a whole.
    pub span: Option<Span>,
    /// A few words beside the underlined text, if they add anything.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// All that there is to say about one file.
#[derive(Clone)]
pub struct Findings {
    file: String,
    source: String,
    list: Vec<Finding>,
    uncounted_errors: usize,
    uncounted_warnings: usize,
}

impl Finding {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(span), message.into())
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span), message.into())
    }

    /// An error about the file as a whole.
    pub fn whole_file(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    /// Sets the words beside the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn new(severity: Severity, span: Option<Span>, message: String) -> Self {
        Self { severity, message, span, label: None, help: None }
    }
}

impl Findings {
    /// Nothing to say yet about the file called `file` in messages.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            source: String::new(),
            list: Vec::new(),
            uncounted_errors: 0,
            uncounted_warnings: 0,
        }
    }

    /// A single finding about a file whose text is not known.
    pub fn only(file: &str, finding: Finding) -> Self {
        let mut findings = Self::new(file);
        findings.push(finding);
        findings
    }

    /// Sets the text that spans refer to. It is printed: secrets must have been masked.
    pub(super) fn set_source(&mut self, masked: String) {
        self.source = masked;
    }

    /// The text that spans refer to.
    #[cfg(test)]
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Adds a finding; above a hundred they are only counted.
    pub fn push(&mut self, finding: Finding) {
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else {
            match finding.severity {
                Severity::Error => self.uncounted_errors += 1,
                Severity::Warning => self.uncounted_warnings += 1,
            }
        }
    }

    /// Adds findings.
    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.uncounted_errors
    }

    /// Number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning) + self.uncounted_warnings
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// The findings in file order.
    pub fn list(&self) -> Vec<&Finding> {
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort_by_key(|f| f.span.map_or(0, |s| s.start));
        list
    }

    /// One line per finding, for a log: `file:line: message (remedy)`.
    pub fn log_lines(&self) -> Vec<(Severity, String)> {
        self.list().into_iter().map(|f| (f.severity, self.log_line(f))).collect()
    }

    /// The report for people: file, line, text underlined and remedy of each finding.
    pub fn render(&self, colour: bool) -> String {
        let theme =
            if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_links(false)
            .with_context_lines(1);
        let source = NamedSource::new(&self.file, self.source.clone());
        let mut out = String::new();
        for finding in self.list() {
            let shown = Shown { finding, source: &source, file: &self.file };
            handler.render_report(&mut out, &shown).expect("writing to a String cannot fail");
            out.push('\n');
        }
        let more = self.uncounted_errors + self.uncounted_warnings;
        if more > 0 {
            out.push_str(&format!("... and {more} more\n"));
        }
        out
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|f| f.severity == severity).count()
    }

    fn log_line(&self, finding: &Finding) -> String {
        let mut line = self.file.clone();
        if let Some(span) = finding.span {
            line.push_str(&format!(":{}", self.line_number(span)));
        }
        line.push_str(&format!(": {}", finding.message));
        if let Some(help) = &finding.help {
            line.push_str(&format!(" ({})", help.replace('\n', " ")));
        }
        line
    }

    fn line_number(&self, span: Span) -> usize {
        let before = &self.source.as_bytes()[..span.start.min(self.source.len())];
        1 + before.iter().filter(|b| **b == b'\n').count()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Findings {}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        (span.start, span.end.saturating_sub(span.start)).into()
    }
}

/// One finding, as miette wants to see it.
struct Shown<'a> {
    finding: &'a Finding,
    source: &'a NamedSource<String>,
    file: &'a str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.finding.span {
            Some(_) => f.write_str(&self.finding.message),
            None => write!(f, "{}: {}", self.file, self.finding.message),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.finding.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.finding.span.map(|_| self.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.finding.span?;
        let label = LabeledSpan::new_with_span(self.finding.label.clone(), span);
        Some(Box::new(std::iter::once(label)))
    }
}
