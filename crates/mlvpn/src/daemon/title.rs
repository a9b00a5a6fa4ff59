//! What `ps` shows: the name, and which links are up.

use crate::config::Mode;

/// The title of a process.
#[derive(Debug)]
pub(super) struct Title {
    name: String,
    is_natural: bool,
}

impl Title {
    /// `is_natural`: `ps` goes on showing the command line.
    pub(super) fn new(name: &str, is_natural: bool) -> Self {
        Self { name: name.to_owned(), is_natural }
    }

    /// Shows the links, as the C program does: `@` before one that is up, `!` before one that is
    /// not. Returns the text.
    pub(super) fn set(&self, mode: Mode, links: &[(&str, bool)]) -> String {
        let text = describe(mode, links);
        self.show(&text);
        text
    }

    /// Shows a fixed text.
    pub(super) fn show(&self, text: &str) {
        if !self.is_natural {
            let title = format!("mlvpn: {} {text}", self.name);
            mlvpn_io::title::set(&title);
        }
    }
}

fn describe(mode: Mode, links: &[(&str, bool)]) -> String {
    let mut text = match mode {
        Mode::Client => "client".to_owned(),
        Mode::Server => "server".to_owned(),
    };
    for (name, is_up) in links {
        text.push_str(if *is_up { " @" } else { " !" });
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_up_have_an_at_sign() {
        assert_eq!(describe(Mode::Client, &[("a", true), ("b", false)]), "client @a !b");
    }
}
