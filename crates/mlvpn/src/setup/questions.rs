//! What the options do not say is asked for on a terminal; elsewhere it is what is suggested, or missing.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use dialoguer::{Confirm, Input, Password};
use zeroize::Zeroizing;

/// The one who answers.
#[derive(Debug)]
pub(super) struct Questions {
    is_asking: bool,
    missing: Vec<String>,
}

impl Questions {
    /// Asks where somebody can answer, unless `is_silent`.
    pub(super) fn new(is_silent: bool) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self { is_asking: is_terminal && !is_silent, missing: Vec::new() }
    }

    /// Whether somebody answers.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// A value that has a suggestion.
    pub(super) fn value<T>(&self, question: &str, suggested: T) -> anyhow::Result<T>
    where
        T: Clone + Display + FromStr,
        T::Err: Display,
    {
        if !self.is_asking {
            return Ok(suggested);
        }
        Input::new().with_prompt(question).default(suggested).interact_text().context("no answer")
    }

    /// A list, whose items are separated by blanks or commas. Without anybody to ask it is what is suggested;
    /// if that is nothing, and something is needed, `option` is missing.
    pub(super) fn list<T>(
        &mut self,
        question: &str,
        option: &str,
        suggested: Vec<T>,
        is_needed: bool,
    ) -> anyhow::Result<Vec<T>>
    where
        T: Display + FromStr,
        T::Err: Display,
    {
        if !self.is_asking {
            if suggested.is_empty() && is_needed {
                self.missing.push(option.to_owned());
            }
            return Ok(suggested);
        }
        let shown: Vec<_> = suggested.iter().map(ToString::to_string).collect();
        let check = |text: &String| match items::<T>(text) {
            Ok(list) if list.is_empty() && is_needed => Err("at least one is needed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        let mut input = Input::<String>::new()
            .with_prompt(question)
            .allow_empty(!is_needed)
            .validate_with(check);
        if !shown.is_empty() {
            input = input.with_initial_text(shown.join(", "));
        }
        let text = input.interact_text().context("no answer")?;
        items(&text).map_err(anyhow::Error::msg)
    }

    /// Yes or no.
    pub(super) fn is_wanted(&self, question: &str, suggested: bool) -> anyhow::Result<bool> {
        if !self.is_asking {
            return Ok(suggested);
        }
        Confirm::new().with_prompt(question).default(suggested).interact().context("no answer")
    }

    /// A secret, which is not shown while it is typed or pasted.
    pub(super) fn secret(
        &mut self,
        question: &str,
        option: &str,
    ) -> anyhow::Result<Zeroizing<String>> {
        if !self.is_asking {
            self.missing.push(option.to_owned());
            return Ok(Zeroizing::default());
        }
        Password::new().with_prompt(question).interact().map(Zeroizing::new).context("no answer")
    }

    /// Nothing is missing.
    ///
    /// # Errors
    /// Names every option that is.
    pub(super) fn complete(&self) -> anyhow::Result<()> {
        match self.missing.as_slice() {
            [] => Ok(()),
            [one] => bail!("there is no terminal to ask on, and an option is missing: {one}"),
            several => {
                bail!(
                    "there is no terminal to ask on, and options are missing: {}",
                    several.join("; ")
                )
            }
        }
    }
}

fn items<T>(text: &str) -> Result<Vec<T>, String>
where
    T: FromStr,
    T::Err: Display,
{
    let parts = text.split([' ', ',', '\t']).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(|error| format!("{part}: {error}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_suggestions_count_and_what_is_missing_is_named() {
        let mut questions = Questions { is_asking: false, missing: Vec::new() };
        assert_eq!(questions.value("port", 5080u16).unwrap(), 5080);
        assert!(questions.is_wanted("sure", true).unwrap());
        assert_eq!(questions.list("dns", "--dns", vec![1u8], true).unwrap(), [1]);
        assert!(questions.list::<u8>("routes", "--route", vec![], false).unwrap().is_empty());
        questions.complete().unwrap();
        questions.list::<u8>("addresses", "--address HOST", vec![], true).unwrap();
        questions.secret("token", "TOKEN").unwrap();
        let error = questions.complete().unwrap_err().to_string();
        assert!(error.ends_with("--address HOST; TOKEN"), "{error}");
    }

    #[test]
    fn lists_are_separated_as_people_do() {
        assert_eq!(items::<u8>("1, 2 3,,4 ").unwrap(), [1, 2, 3, 4]);
        assert!(items::<u8>("1, x").unwrap_err().starts_with("x: "));
    }
}
