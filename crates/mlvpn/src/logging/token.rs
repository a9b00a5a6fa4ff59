//! The words of `-D`.

/// A word of `-D` and the parts of the program that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenName {
    /// The word.
    pub word: &'static str,
    /// Beginnings of the targets whose details are logged; our modules.
    pub targets: &'static [&'static str],
}

const fn token(word: &'static str, targets: &'static [&'static str]) -> TokenName {
    TokenName { word, targets }
}

/// The words that are known, in alphabetical order: those of the C program, and some of ours. Any
/// other word is taken for the beginning of a target itself.
pub const TOKENS: &[TokenName] = &[
    token("conf", CONFIG),
    token("config", CONFIG),
    token("control", &["mlvpn::control", "mlvpn::status"]),
    token("crypto", &["mlvpn_proto::crypto"]),
    token("filters", &["mlvpn_proto::filter", "mlvpn::filter"]),
    token("hook", &["mlvpn::hook"]),
    token("net", &["mlvpn_io::udp", "mlvpn_io::netlink", "mlvpn::net", "mlvpn::link"]),
    token("privsep", &["mlvpn::privileged", "mlvpn::worker", "mlvpn::hook"]),
    token("protocol", &["mlvpn_proto::session", "mlvpn_proto::wire", "mlvpn::daemon"]),
    token("reorder", &["mlvpn_proto::resequencer", "mlvpn::reorder"]),
    token("rtt", &["mlvpn_proto::path", "mlvpn::rtt"]),
    token("tuntap", &["mlvpn_io::tun", "mlvpn::tun"]),
    token("wrr", &["mlvpn_proto::scheduler", "mlvpn::wrr"]),
];

const CONFIG: &[&str] = &["mlvpn::config"];

/// The targets that `word` stands for.
pub(super) fn targets(word: &str) -> Vec<String> {
    let known = TOKENS.iter().find(|token| token.word == word);
    known.map_or_else(
        || vec![word.to_owned()],
        |token| token.targets.iter().map(|&target| target.to_owned()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sorted_and_stand_for_modules_of_ours() {
        assert!(TOKENS.windows(2).all(|pair| pair[0].word < pair[1].word));
        for token in TOKENS {
            assert!(token.targets.iter().all(|target| target.starts_with("mlvpn")), "{token:?}");
        }
    }

    #[test]
    fn the_c_programs_words_are_known() {
        for word in ["config", "control", "net", "privsep", "protocol", "reorder", "rtt", "wrr"] {
            assert_ne!(targets(word), [word], "{word}");
        }
        assert_eq!(targets("hyper"), ["hyper"]);
    }
}
