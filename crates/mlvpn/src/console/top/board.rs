//! What is known of the program, what is selected, and what keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::console::document::{History, Link, Status};
use crate::control::LinkSwitch;

/// What the program tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    pub(super) status: Status,
    pub(super) history: History,
}

/// What comes back from the program.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its status, or why it cannot be had.
    News(Box<Result<Documents, String>>),
    /// What came of switching the link of that name, in words.
    Switched(String, Result<String, String>),
}

/// What a key asks of others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Stop showing.
    End,
    /// Switch the link of that name.
    Switch(String, LinkSwitch),
}

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct Board {
    documents: Option<Documents>,
    /// Why there is nothing new.
    trouble: Option<String>,
    /// The selected link, which may come and go.
    selected: Option<String>,
    is_paused: bool,
    /// A switch that is to be confirmed.
    pending: Option<(String, LinkSwitch)>,
    /// What came of the last one.
    message: Option<String>,
    /// The first link that is drawn.
    pub(super) first: usize,
}

impl Board {
    pub(super) fn documents(&self) -> Option<&Documents> {
        self.documents.as_ref()
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The place of the selected link among the links; the first one where none was selected.
    pub(super) fn selected(&self) -> usize {
        let is_it = |link: &Link| Some(&link.name) == self.selected.as_ref();
        self.links().iter().position(is_it).unwrap_or(0)
    }

    /// The question that a key is to answer.
    pub(super) fn question(&self) -> Option<String> {
        let (name, switch) = self.pending.as_ref()?;
        let is_up = |link: &&Link| !link.is_idle();
        let is_last = self.links().iter().filter(is_up).all(|link| link.name == *name);
        Some(match switch {
            LinkSwitch::Down if is_last => {
                format!("Close {name}? No other link is up: nothing goes through the tunnel then.")
            }
            LinkSwitch::Down => format!("Close {name}? The others carry its packets then."),
            LinkSwitch::Up => format!("Use {name} again?"),
            LinkSwitch::Fallback(true) => {
                format!("Use {name} only while no other link is usable?")
            }
            LinkSwitch::Fallback(false) => format!("Use {name} with the others?"),
            LinkSwitch::Cost(cost) => format!("Let {name} cost {} ms?", cost.as_millis()),
        })
    }

    pub(super) fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::News(news) => match *news {
                // What was asked for before the pause.
                Ok(_) if self.is_paused => {}
                Ok(documents) => {
                    self.documents = Some(documents);
                    self.trouble = None;
                }
                Err(why) => self.trouble = Some(why),
            },
            Answer::Switched(link, done) => {
                self.message = Some(match done {
                    Ok(text) => format!("{link}: {text}"),
                    Err(why) => format!("{link} was not switched: {why}"),
                });
            }
        }
    }

    pub(super) fn on_key(&mut self, key: KeyEvent) -> Option<Wish> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('c')) {
            return Some(Wish::End);
        }
        self.message = None;
        if let Some((link, switch)) = self.pending.take() {
            let is_yes = matches!(key.code, KeyCode::Char('y' | 'Y'));
            return is_yes.then_some(Wish::Switch(link, switch));
        }
        match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Some(Wish::End),
            KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected() + 1),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Char('d') => self.propose(|_| LinkSwitch::Down),
            KeyCode::Char('u') => self.propose(|_| LinkSwitch::Up),
            KeyCode::Char('f') => self.propose(|link| LinkSwitch::Fallback(!link.fallback_only)),
            _ => {}
        }
        None
    }

    fn select(&mut self, place: usize) {
        let last = self.links().len().saturating_sub(1);
        self.selected = self.links().get(place.min(last)).map(|link| link.name.clone());
    }

    fn propose(&mut self, switch: impl Fn(&Link) -> LinkSwitch) {
        let link = self.links().get(self.selected());
        self.pending = link.map(|link| (link.name.clone(), switch(link)));
    }

    fn links(&self) -> &[Link] {
        self.documents.as_ref().map_or(&[], |documents| &documents.status.tunnels)
    }
}
