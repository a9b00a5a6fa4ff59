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
    token("hook", &["mlvpn::hook"]),
    token(
        "net",
        &["mlvpn_io::udp", "mlvpn::daemon::links", "mlvpn::daemon::mtu", "mlvpn::daemon::data"],
    ),
    token("privsep", &["mlvpn::daemon::privileged", "mlvpn::hook"]),
    token("protocol", &["mlvpn::daemon"]),
    token("reorder", &[REORDER]),
    token("rtt", &[RTT]),
    token("tuntap", &["mlvpn_io::tun", "mlvpn::daemon::data"]),
    token("wrr", &[WRR]),
];

/// Target of the numbers of the resequencer, twice a second at DEBUG.
pub const REORDER: &str = "mlvpn::numbers::reorder";
/// Target of the links' round-trip times and losses, likewise.
pub const RTT: &str = "mlvpn::numbers::rtt";
/// Target of what the scheduler gave to each link, likewise.
pub const WRR: &str = "mlvpn::numbers::wrr";

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
    fn the_words_are_sorted() {
        assert!(TOKENS.windows(2).all(|pair| pair[0].word < pair[1].word));
    }

    #[test]
    fn every_target_is_a_module_or_set_by_name() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for target in TOKENS.iter().flat_map(|token| token.targets) {
            let (name, module) = target.split_once("::").unwrap();
            let path =
                format!("{crates}/{}/src/{}.rs", name.replace('_', "-"), module.replace("::", "/"));
            let is_module = std::path::Path::new(&path).exists();
            assert!(is_module || [REORDER, RTT, WRR].contains(target), "{target}: {path}");
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
