//! What a FEEDBACK frame says (section 4.3): what the receiver knows of one path.

use super::data::Transit;
use super::packet::TruncatedNumber;
use super::reader::Reader;
use crate::id::{PacketNumber, PathId};
use crate::time::Duration;

const SILENT_BIT: u8 = 0b1000_0000;
const NO_TRANSIT_BIT: u8 = 0b0100_0000;

/// The state of one path in the direction towards the sender of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feedback {
    /// Which path.
    pub path: PathId,
    /// Nothing came on it for longer than its probe timeout.
    pub is_silent: bool,
    /// The largest packet number that was received.
    pub largest: TruncatedNumber,
    /// When it was received, in µs of the receiver's clock, modulo 2³².
    pub received_at: u32,
    /// The largest packet number that the sender of the frame has sent on the path, 0 when none.
    pub largest_sent: TruncatedNumber,
    /// Packets received, modulo 2³².
    pub packets: u32,
    /// Bytes of UDP payload received, modulo 2⁴⁸: higher bits are not sent.
    pub bytes: u64,
    /// The least difference of receive and send time since the last frame, none when no DATA came.
    pub lowest_transit: Option<Transit>,
    /// Packets received with ECN-CE, modulo 2²⁴: higher bits are not sent.
    pub congestion_marks: u32,
    /// How long the largest packet had been there when the frame was sent.
    pub held: Held,
    /// Which packets before the largest were received.
    pub received: ReceivedBits,
}

impl Feedback {
    /// Bytes of the frame, its type included.
    pub const LEN: usize = 39;

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let silent = if self.is_silent { SILENT_BIT } else { 0 };
        let no_transit = if self.lowest_transit.is_none() { NO_TRANSIT_BIT } else { 0 };
        out.push(silent | no_transit | self.path.number());
        out.extend_from_slice(&self.largest.0.to_be_bytes());
        out.extend_from_slice(&self.received_at.to_be_bytes());
        out.extend_from_slice(&self.largest_sent.0.to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes()[2..]);
        out.extend_from_slice(&self.lowest_transit.unwrap_or_default().0.to_be_bytes());
        out.extend_from_slice(&self.congestion_marks.to_be_bytes()[1..]);
        out.extend_from_slice(&self.held.0.to_be_bytes());
        out.extend_from_slice(&self.received.0.to_be_bytes());
    }

    /// Reads the fields behind the type.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        Some(Self {
            path: PathId::from_low_bits(flags),
            is_silent: flags & SILENT_BIT != 0,
            largest: TruncatedNumber(reader.u32()?),
            received_at: reader.u32()?,
            largest_sent: TruncatedNumber(reader.u32()?),
            packets: reader.u32()?,
            bytes: reader.u48()?,
            lowest_transit: Some(Transit(reader.u16()?)).filter(|_| flags & NO_TRANSIT_BIT == 0),
            congestion_marks: reader.u24()?,
            held: Held(reader.u16()?),
            received: ReceivedBits(reader.u64()?),
        })
    }
}

/// A time in units of 16 µs, up to 1.05 s; [`Held::LONGER`] for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held(pub u16);

impl Held {
    /// Longer than can be said.
    pub const LONGER: Self = Self(u16::MAX);
    /// Microseconds of one unit.
    pub const UNIT_MICROS: u64 = 16;

    /// The time, unless it is [`Self::LONGER`]; up to 16 µs less than what was sent.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        let units = Some(self).filter(|held| *held != Self::LONGER)?.0;
        Some(Duration::from_micros(u64::from(units) * Self::UNIT_MICROS))
    }
}

impl From<Duration> for Held {
    fn from(time: Duration) -> Self {
        let units = time.as_micros() / u128::from(Self::UNIT_MICROS);
        u16::try_from(units).map_or(Self::LONGER, Self)
    }
}

/// Which of the 64 packets before the largest one were received: bit n stands for the packet
/// `largest − 1 − n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceivedBits(pub u64);

impl ReceivedBits {
    /// How many packets before the largest the bits speak of.
    pub const SPAN: u64 = u64::BITS as u64;

    /// The bits after a packet came whose number is `ahead` above the largest so far, at least 1.
    #[must_use]
    pub fn on_larger(self, ahead: u64) -> Self {
        debug_assert!(ahead > 0, "a larger number is at least one larger");
        let shifted = u32::try_from(ahead).ok().and_then(|by| self.0.checked_shl(by)).unwrap_or(0);
        Self(shifted | bit(ahead))
    }

    /// The bits after the packet came whose number is `behind` below the largest.
    #[must_use]
    pub fn on_smaller(self, behind: u64) -> Self {
        Self(self.0 | bit(behind))
    }

    /// Whether the packet whose number is `behind` below the largest was received; nothing when the
    /// bits do not reach so far back. The largest itself was.
    #[must_use]
    pub fn is_received(self, behind: u64) -> Option<bool> {
        match behind {
            0 => Some(true),
            1..=Self::SPAN => Some(self.0 & bit(behind) != 0),
            _ => None,
        }
    }

    /// The packets before `largest` that were received, and with `false` those that were not, from
    /// the latest to the earliest that the bits reach.
    pub fn before(self, largest: PacketNumber) -> impl Iterator<Item = (PacketNumber, bool)> {
        (1..=Self::SPAN.min(largest.0))
            .map(move |behind| (PacketNumber(largest.0 - behind), self.0 & bit(behind) != 0))
    }
}

/// The bit of the packet that is `behind` below the largest; 0 when it has none.
fn bit(behind: u64) -> u64 {
    match behind {
        1..=ReceivedBits::SPAN => 1 << (behind - 1),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bit_n_is_the_packet_n_and_one_before_the_largest() {
        let bits = ReceivedBits(0b101);
        assert_eq!(bits.is_received(0), Some(true));
        assert_eq!(bits.is_received(1), Some(true));
        assert_eq!(bits.is_received(2), Some(false));
        assert_eq!(bits.is_received(3), Some(true));
        assert_eq!(bits.is_received(64), Some(false));
        assert_eq!(bits.is_received(65), None);
        let packets: Vec<_> = bits.before(PacketNumber(3)).collect();
        assert_eq!(
            packets,
            [(PacketNumber(2), true), (PacketNumber(1), false), (PacketNumber(0), true)]
        );
    }

    #[test]
    fn a_held_time_saturates() {
        assert_eq!(Held::from(Duration::from_micros(47)), Held(2));
        assert_eq!(Held(2).duration(), Some(Duration::from_micros(32)));
        assert_eq!(Held::from(Duration::from_micros(65_534 * 16)), Held(65_534));
        assert_eq!(Held::from(Duration::from_micros(65_535 * 16)), Held::LONGER);
        assert_eq!(Held::from(Duration::from_secs(u64::MAX)), Held::LONGER);
        assert_eq!(Held::LONGER.duration(), None);
    }

    proptest! {
        #[test]
        fn the_bits_agree_with_a_set(numbers in proptest::collection::vec(0u64..200, 1..80)) {
            let mut largest = numbers[0];
            let mut bits = ReceivedBits::default();
            for &number in &numbers[1..] {
                if number > largest {
                    bits = bits.on_larger(number - largest);
                    largest = number;
                } else {
                    bits = bits.on_smaller(largest - number);
                }
            }
            // What fell out of the span does not come back, so that the set decides within it.
            let set: BTreeSet<_> = numbers.into_iter().collect();
            for (number, received) in bits.before(PacketNumber(largest)) {
                prop_assert_eq!(received, set.contains(&number.0));
            }
        }
    }
}
