//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::console::figure::printable;

const FITS: &str = "a string takes everything";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// Something does not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    grade: Grade,
    /// What it is about: `link eth1`, `host`, `session`.
    about: String,
    /// What was looked at, as a word for programs.
    check: &'static str,
    text: String,
    /// What to do, most often a command to type.
    remedy: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "FAULT",
        }
    }
}

impl Finding {
    fn new(
        grade: Grade,
        about: impl Into<String>,
        check: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self { grade, about: about.into(), check, text: text.into(), remedy: None }
    }

    pub(super) fn ok(
        about: impl Into<String>,
        check: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Grade::Ok, about, check, text)
    }

    pub(super) fn note(
        about: impl Into<String>,
        check: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Grade::Note, about, check, text)
    }

    pub(super) fn warning(
        about: impl Into<String>,
        check: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Grade::Warning, about, check, text)
    }

    pub(super) fn fault(
        about: impl Into<String>,
        check: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(Grade::Fault, about, check, text)
    }

    /// What to do about it.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What was looked at and how bad it is, to be told apart in tests.
    #[cfg(test)]
    pub(super) fn id(&self) -> String {
        format!("{} {}", self.check, self.grade.word())
    }
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub(super) fn extend(&mut self, findings: Vec<Finding>) {
        self.0.extend(findings);
    }

    fn count(&self, grade: Grade) -> usize {
        self.0.iter().filter(|finding| finding.grade == grade).count()
    }

    /// How many faults there are.
    pub(super) fn faults(&self) -> usize {
        self.count(Grade::Fault)
    }

    /// For people: what belongs together under one heading. `is_quiet`: without what is in order.
    pub(super) fn to_text(&self, is_quiet: bool) -> String {
        let mut out = String::new();
        let shown = |finding: &&Finding| !(is_quiet && finding.grade == Grade::Ok);
        let mut headings: Vec<&str> = Vec::new();
        for finding in self.0.iter().filter(shown) {
            if !headings.contains(&finding.about.as_str()) {
                headings.push(&finding.about);
            }
        }
        for heading in headings {
            writeln!(out, "{}", printable(heading)).expect(FITS);
            let of_it = self.0.iter().filter(shown).filter(|finding| finding.about == heading);
            for Finding { grade, text, remedy, .. } in of_it {
                writeln!(out, "  {:8}{}", grade.word(), printable(text)).expect(FITS);
                if let Some(remedy) = remedy {
                    writeln!(out, "          -> {}", printable(remedy)).expect(FITS);
                }
            }
        }
        writeln!(out, "{}", self.verdict()).expect(FITS);
        out
    }

    fn verdict(&self) -> String {
        let counted = |grade, word: &str| match self.count(grade) {
            1 => format!("1 {word}"),
            n => format!("{n} {word}s"),
        };
        format!("{}, {}", counted(Grade::Fault, "fault"), counted(Grade::Warning, "warning"))
    }

    /// For programs.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            faults: usize,
            warnings: usize,
            findings: &'a [Finding],
        }
        let document = Document {
            faults: self.faults(),
            warnings: self.count(Grade::Warning),
            findings: &self.0,
        };
        serde_json::to_string_pretty(&document).expect("plain values can always be written") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report(vec![
            Finding::ok("host", "tun", "there are tun interfaces"),
            Finding::fault("link a", "device", "there is no eth\u{1b}7").remedy("ip link"),
            Finding::warning("host", "clock", "it is 1970"),
        ])
    }

    #[test]
    fn people_get_headings_remedies_and_a_verdict() {
        insta::assert_snapshot!(report().to_text(false), @r"
        host
          ok      there are tun interfaces
          warning it is 1970
        link a
          FAULT   there is no eth?7
                  -> ip link
        1 fault, 1 warning
        ");
        assert!(!report().to_text(true).contains("tun"));
        assert_eq!(Report::default().to_text(false), "0 faults, 0 warnings\n");
    }

    #[test]
    fn programs_get_all_of_it() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
        assert_eq!((json["faults"].as_u64(), json["warnings"].as_u64()), (Some(1), Some(1)));
        let fault = &json["findings"][1];
        assert_eq!((&fault["grade"], &fault["check"]), (&"fault".into(), &"device".into()));
        assert_eq!(fault["remedy"], "ip link");
        assert!(json["findings"][0]["remedy"].is_null());
    }
}
