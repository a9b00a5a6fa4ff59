//! The numbers by which our tables, rules and marks are known, also after a crash.
//!
//! | what | numbers |
//! |---|---|
//! | protocol of routes and rules | 109 |
//! | firewall marks | 0x6d6c0000 in the bits of 0xffff0000; then 4 bits of slot, 12 bits of link |
//! | tables of slot S, 0 to 7 | 27000 + 1000 S and the prefix length: routes into the tunnel |
//! | | 27200 + 1000 S and the link's number: how a link leaves |
//! | rules of slot S | 21000 + 1000 S and the link's number: its table |
//! | | 21300 + 1000 S on: links go past the tunnel |
//! | | 21600 + 1000 S on: into the tunnel, long prefixes first |
//! | | 21900 + 1000 S: where rules that go past the tunnel lead to |
//!
//! The marks and the table of lengths are constants of the documentation, too (`docs/howto-linux.md`).

use std::collections::BTreeMap;

/// Who made a route or rule (RTPROT_): a number that no other program is known to use.
pub const PROTOCOL: u8 = 109;
/// What all marks of links have in common, "ml".
pub const MARK: u32 = 0x6d6c_0000;
/// The bits in which they have it.
pub const MARK_MASK: u32 = 0xffff_0000;
/// How many programs can set up the network of one host.
pub const SLOTS: u8 = 8;

/// Numbers set aside for each slot.
const STRIDE: u32 = 1_000;
const FIRST_TABLE: u32 = 27_000;
const FIRST_PRIORITY: u32 = 21_000;
const LINK_TABLES: u32 = 200;
const EXEMPTIONS: u32 = 300;
const LOOKUPS: u32 = 600;
const END: u32 = 900;
/// The longest prefix, in bits.
const LONGEST: u32 = 128;
/// The most links that have a table of their own.
const MAX_LINKS: u8 = 250;

/// Which of the programs on one host this is: each has numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The mark of a link's packets; `None` is for links that have no number.
    #[must_use]
    pub fn mark(self, link: Option<LinkNumber>) -> u32 {
        MARK | u32::from(self.0) << 12 | link.map_or(0, |link| u32::from(link.0))
    }

    /// The table by which a link's packets leave.
    #[must_use]
    pub fn link_table(self, link: LinkNumber) -> u32 {
        self.tables() + LINK_TABLES + u32::from(link.0)
    }

    /// The table of routes into the tunnel with this prefix length.
    #[must_use]
    pub fn tunnel_table(self, length: u8) -> u32 {
        self.tables() + u32::from(length)
    }

    /// The rule that a link's packets look up its table.
    #[must_use]
    pub fn link_priority(self, link: LinkNumber) -> u32 {
        self.priorities() + u32::from(link.0)
    }

    /// The rules that links' packets go past the tunnel: the first, and as many as there are marks
    /// that users have chosen.
    #[must_use]
    pub fn exemption_priority(self, index: usize) -> u32 {
        let room = LOOKUPS - EXEMPTIONS - 1;
        self.priorities() + EXEMPTIONS + u32::try_from(index).unwrap_or(room).min(room)
    }

    /// The rule that longer prefixes of the main table count before routes of this length.
    #[must_use]
    pub fn direct_priority(self, length: u8) -> u32 {
        self.priorities() + LOOKUPS + 2 * (LONGEST - u32::from(length))
    }

    /// The rule that looks up the routes into the tunnel with this prefix length.
    #[must_use]
    pub fn tunnel_priority(self, length: u8) -> u32 {
        self.direct_priority(length) + 1
    }

    /// Where exempted packets go on.
    #[must_use]
    pub fn end_priority(self) -> u32 {
        self.priorities() + END
    }

    /// Whether a table is among its own.
    #[must_use]
    pub fn has_table(self, table: u32) -> bool {
        (self.tables()..self.tables() + STRIDE).contains(&table)
    }

    /// Whether a rule's priority is among its own.
    #[must_use]
    pub fn has_priority(self, priority: u32) -> bool {
        (self.priorities()..self.priorities() + STRIDE).contains(&priority)
    }

    /// Whether the rule with this priority leads into the tunnel.
    #[must_use]
    pub fn leads_into_tunnel(self, priority: u32) -> bool {
        (self.priorities() + LOOKUPS..self.end_priority()).contains(&priority)
    }

    fn tables(self) -> u32 {
        FIRST_TABLE + STRIDE * u32::from(self.0)
    }

    fn priorities(self) -> u32 {
        FIRST_PRIORITY + STRIDE * u32::from(self.0)
    }
}

/// The number of a link within its slot, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkNumber(u8);

/// The numbers of links by their names. A link keeps its number while the program runs, though the
/// configuration be read again: its socket has the mark.
#[derive(Debug, Clone, Default)]
pub struct LinkNumbers(BTreeMap<String, LinkNumber>);

impl LinkNumbers {
    /// Numbers the links of these names, and forgets all others.
    pub fn assign<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        self.0.retain(|known, _| names.clone().any(|name| name == known));
        for name in names {
            let is_free = |number: &u8| !self.0.values().any(|taken| taken.0 == *number);
            if !self.0.contains_key(name)
                && let Some(number) = (1..=MAX_LINKS).find(is_free)
            {
                self.0.insert(name.to_owned(), LinkNumber(number));
            }
        }
    }

    /// The number of a link; none for the 251st and later ones.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<LinkNumber> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_slots_share_a_number_and_all_rules_come_before_the_main_table() {
        let mut numbers = LinkNumbers::default();
        let names: Vec<_> = (0..300).map(|n| format!("link{n}")).collect();
        numbers.assign(names.iter().map(String::as_str));
        let last = numbers.of("link249").unwrap();
        assert_eq!(numbers.of("link250"), None);
        for slot in Slot::all() {
            let tables = [slot.tunnel_table(0), slot.tunnel_table(128), slot.link_table(last)];
            let rules = [
                slot.link_priority(last),
                slot.exemption_priority(0),
                slot.exemption_priority(1_000_000),
                slot.direct_priority(128),
                slot.tunnel_priority(0),
                slot.end_priority(),
            ];
            assert!(rules.is_sorted() && rules[5] < 32_766, "{rules:?}");
            assert!(tables.is_sorted() && tables[1] < tables[2], "{tables:?}");
            for other in Slot::all() {
                assert!(tables.iter().all(|table| other.has_table(*table) == (other == slot)));
                assert!(rules.iter().all(|rule| other.has_priority(*rule) == (other == slot)));
            }
            let into_tunnel = rules.map(|rule| slot.leads_into_tunnel(rule));
            assert_eq!(into_tunnel, [false, false, false, true, true, false]);
            assert_eq!(slot.mark(Some(last)) & MARK_MASK, MARK);
        }
        assert_eq!(Slot(3).mark(Some(last)), 0x6d6c_30fa);
    }

    #[test]
    fn a_link_keeps_its_number_and_a_new_one_gets_one_that_is_free() {
        let mut numbers = LinkNumbers::default();
        numbers.assign(["a", "b", "c"].into_iter());
        let of_c = numbers.of("c");
        let of_b = numbers.of("b");
        numbers.assign(["d", "c", "a"].into_iter());
        assert_eq!((numbers.of("c"), numbers.of("d"), numbers.of("b")), (of_c, of_b, None));
    }
}
