//! What a peer's paths are used for together: the user's choice between rate, delay and certainty.

use crate::time::Duration;

/// How packets are given to the paths.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// All paths carry what they can: each packet goes where it arrives first, and a flow that one path is
    /// too small for is striped over several.
    #[default]
    Bond,
    /// Each flow goes over the path of the lowest delay, as a whole.
    LowestLatency,
    /// As [`Self::Bond`], and a second path carries a copy of each packet, as far as it has room.
    Redundant,
    /// One path carries everything, the next one only while that is not up.
    Backup,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bond, Self::LowestLatency, Self::Redundant, Self::Backup];

    /// The word that configurations use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bond => "bond",
            Self::LowestLatency => "lowest-latency",
            Self::Redundant => "redundant",
            Self::Backup => "backup",
        }
    }

    /// The policy of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }

    /// Whether a flow goes over one path at a time, however much it has to send.
    #[must_use]
    pub const fn keeps_flows_whole(self) -> bool {
        matches!(self, Self::LowestLatency | Self::Backup)
    }
}

impl core::fmt::Display for Policy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wanted of a link beyond what it can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkTerms {
    /// Bytes per second that it is to carry at most, in each direction, with all headers; none: as much as it
    /// can.
    pub max_rate: Option<u64>,
    /// What is added to its one-way delay whenever paths are compared: a preference for others. In whole
    /// milliseconds, at most [`Self::MAX_COST`].
    pub cost: Duration,
    /// What it carries costs money: it is used only when the others are full or down.
    pub is_metered: bool,
}

impl LinkTerms {
    /// The largest cost.
    pub const MAX_COST: Duration = Duration::from_secs(10);

    /// What holds when two ends want different things: the larger cost, the smaller rate, and metered when
    /// either says so.
    #[must_use]
    pub fn combined(self, other: Self) -> Self {
        Self {
            max_rate: self.max_rate.into_iter().chain(other.max_rate).min(),
            cost: self.cost.max(other.cost),
            is_metered: self.is_metered || other.is_metered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_name_of_its_own() {
        for policy in Policy::ALL {
            assert_eq!(Policy::of_name(policy.as_str()), Some(policy));
        }
        assert_eq!(Policy::of_name("Bond"), None);
    }

    #[test]
    fn of_two_wishes_the_more_cautious_holds() {
        let one =
            LinkTerms { max_rate: Some(5), cost: Duration::from_millis(3), is_metered: false };
        let other = LinkTerms { max_rate: None, cost: Duration::ZERO, is_metered: true };
        let both = LinkTerms { is_metered: true, ..one };
        assert_eq!((one.combined(other), other.combined(one)), (both, both));
        let slow = LinkTerms { max_rate: Some(4), ..LinkTerms::default() };
        assert_eq!(one.combined(slow).max_rate, Some(4));
    }
}
