//! Something that happened.

use std::time::Duration;

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, as time since 1970.
    pub unix: Duration,
    /// What.
    pub kind: EventKind,
    /// The link that it happened to.
    pub link: Option<String>,
    /// The same in words, without the link.
    pub text: String,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A link came up.
    LinkUp,
    /// A link went down.
    LinkDown,
    /// A link loses too much, is too slow, or is neither any more.
    LinkQuality,
    /// A link has no socket, and why.
    LinkTrouble,
    /// A link was switched by hand.
    LinkSwitched,
    /// The first link came up, or a peer began a new session.
    SessionUp,
    /// The last link went down.
    SessionDown,
    /// The peer has another address, or was restarted.
    Peer,
    /// The tunnel's MTU changed.
    Mtu,
    /// The configuration was read again.
    Reload,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::LinkUp,
        Self::LinkDown,
        Self::LinkQuality,
        Self::LinkTrouble,
        Self::LinkSwitched,
        Self::SessionUp,
        Self::SessionDown,
        Self::Peer,
        Self::Mtu,
        Self::Reload,
    ];

    /// The word for it, in `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinkUp => "link_up",
            Self::LinkDown => "link_down",
            Self::LinkQuality => "link_quality",
            Self::LinkTrouble => "link_trouble",
            Self::LinkSwitched => "link_switched",
            Self::SessionUp => "session_up",
            Self::SessionDown => "session_down",
            Self::Peer => "peer",
            Self::Mtu => "mtu",
            Self::Reload => "reload",
        }
    }
}
