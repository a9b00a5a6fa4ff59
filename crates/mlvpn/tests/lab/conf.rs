//! An `mlvpn.conf` in the making.

use std::fmt;

/// Sections with their keys, in the order in which they were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conf {
    sections: Vec<Section>,
}

#[derive(Debug, Clone)]
struct Section {
    name: String,
    entries: Vec<(String, String)>,
}

impl Conf {
    /// Sets a key, in place of the value that it may have.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: impl fmt::Display) {
        let entries = self.entries(section);
        entries.retain(|(name, _)| name != key);
        entries.push((key.to_owned(), value.to_string()));
    }

    /// Takes a key away.
    pub(crate) fn unset(&mut self, section: &str, key: &str) {
        self.entries(section).retain(|(name, _)| name != key);
    }

    /// Takes a section away.
    pub(crate) fn remove(&mut self, section: &str) {
        self.sections.retain(|known| known.name != section);
    }

    /// The names of the links.
    pub(crate) fn links(&self) -> impl Iterator<Item = &str> {
        let names = self.sections.iter().map(|section| section.name.as_str());
        names.filter(|name| !["general", "filters"].contains(name) && !name.starts_with("peer "))
    }

    fn entries(&mut self, section: &str) -> &mut Vec<(String, String)> {
        let at = self.sections.iter().position(|known| known.name == section);
        let at = at.unwrap_or_else(|| {
            self.sections.push(Section { name: section.to_owned(), entries: Vec::new() });
            self.sections.len() - 1
        });
        &mut self.sections[at].entries
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            writeln!(f, "[{}]", section.name)?;
            section
                .entries
                .iter()
                .try_for_each(|(key, value)| writeln!(f, "{key} = \"{value}\""))?;
        }
        Ok(())
    }
}
