//! What somebody wants done who may use the unix socket.

use tokio::sync::oneshot;

/// A link is to be switched.
#[derive(Debug)]
pub struct Request {
    /// The link's name.
    pub link: String,
    /// What is to become of it.
    pub switch: LinkSwitch,
    /// Takes what came of it in words, or why nothing did.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// What can become of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSwitch {
    /// It is used again.
    Up,
    /// It is closed, and stays so.
    Down,
    /// Whether it is used only while no other link is usable.
    Fallback(bool),
}

impl Request {
    /// A request, and where its answer comes.
    #[must_use]
    pub fn new(
        link: String,
        switch: LinkSwitch,
    ) -> (Self, oneshot::Receiver<Result<String, String>>) {
        let (answer, coming) = oneshot::channel();
        (Self { link, switch, answer }, coming)
    }
}

impl LinkSwitch {
    const WORDS: [(&'static str, Self); 4] = [
        ("up", Self::Up),
        ("down", Self::Down),
        ("fallback-on", Self::Fallback(true)),
        ("fallback-off", Self::Fallback(false)),
    ];

    /// The word of the line protocol for it.
    #[must_use]
    pub fn as_word(self) -> &'static str {
        let words = Self::WORDS.iter().find(|(_, switch)| *switch == self);
        words.expect("every one has a word").0
    }

    /// What a word of the line protocol, in any case, means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let same = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(word);
        Self::WORDS.iter().find(same).map(|(_, switch)| *switch)
    }
}
