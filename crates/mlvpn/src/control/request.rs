//! What somebody wants done who may use the unix socket.

use std::time::Duration;

use mlvpn_proto::LinkTerms;
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
    /// Its cost, in whole milliseconds, at most [`LinkTerms::MAX_COST`].
    Cost(Duration),
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

    /// The word of the line protocol for it; the cost is part of it.
    #[must_use]
    pub fn as_word(self) -> String {
        match self {
            Self::Cost(cost) => format!("{COST}{}", cost.as_millis()),
            _ => {
                let words = Self::WORDS.iter().find(|(_, switch)| *switch == self);
                words.expect("every one but the cost has a word").0.to_owned()
            }
        }
    }

    /// What a word of the line protocol, in any case, means; nothing also for a cost that is too large.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let same = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(word);
        let known = Self::WORDS.iter().find(same).map(|(_, switch)| *switch);
        known.or_else(|| {
            let word = word.to_ascii_lowercase();
            let cost = Duration::from_millis(word.strip_prefix(COST)?.parse().ok()?);
            (cost <= LinkTerms::MAX_COST).then_some(Self::Cost(cost))
        })
    }
}

/// What goes before the number.
const COST: &str = "cost-";
