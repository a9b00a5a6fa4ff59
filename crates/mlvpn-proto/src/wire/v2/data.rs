//! What a DATA frame says about the packet in it (section 4.1), and the lanes in which order is
//! restored.

use super::modular;
use super::reader::Reader;
use crate::time::{Duration, Instant};

/// Bytes of a DATA frame in front of the packet that it carries, its type included.
pub const DATA_HEADER_LEN: usize = 7;

/// The fields of a DATA frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataHeader {
    /// In which order the packet has a place.
    pub lane: Lane,
    /// Which place that is.
    pub seq: LaneSeq,
    /// When the packet was sealed.
    pub sent: SendTime,
}

impl DataHeader {
    /// The bytes in front of the packet: type, lane, number and time.
    #[must_use]
    pub fn encode(&self) -> [u8; DATA_HEADER_LEN] {
        let mut out = [0; DATA_HEADER_LEN];
        out[0] = super::frame::DATA;
        out[1..5].copy_from_slice(&lane_word(self.lane, self.seq).to_be_bytes());
        out[5..7].copy_from_slice(&self.sent.0.to_be_bytes());
        out
    }

    /// Reads the fields behind the type.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (lane, seq) = split_lane_word(reader.u32()?);
        Some(Self { lane, seq, sent: SendTime(reader.u16()?) })
    }
}

/// A bucket of flows whose order is restored together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lane(u16);

impl Lane {
    /// How many lanes there are: their numbers are 0 to 1023.
    pub const COUNT: usize = 1 << 10;

    /// The lane of that number; none when it is above 1023.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The lane of a flow with that hash.
    #[must_use]
    pub const fn of_hash(hash: u64) -> Self {
        Self((hash % Self::COUNT as u64) as u16)
    }

    /// The lane's number as an index into a table.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Low 22 bits of the number of a packet in its lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LaneSeq(u32);

impl LaneSeq {
    /// How many bits of the number are sent.
    pub const BITS: u32 = 22;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// The low bits of `full`, which counts the packets of the lane from 0.
    #[must_use]
    pub const fn of(full: u64) -> Self {
        Self(full as u32 & Self::MASK)
    }

    /// The low bits of the number, below 2²².
    #[must_use]
    pub const fn low_bits(self) -> u32 {
        self.0
    }

    /// The full number nearest to `expected`, which is at most 2⁶².
    #[must_use]
    pub fn near(self, expected: u64) -> u64 {
        modular::nearest(u64::from(self.0), Self::BITS, expected)
    }
}

/// A point in time on the sender's clock, in units of 64 µs, modulo 2¹⁶ (4.19 s).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SendTime(pub u16);

impl SendTime {
    /// Microseconds of one unit.
    pub const UNIT_MICROS: u64 = 64;

    /// The unit in which `now` lies.
    #[must_use]
    pub const fn at(now: Instant) -> Self {
        Self((now.as_micros() / Self::UNIT_MICROS) as u16)
    }

    /// The time from this one to `later`, in the same units and modulo 2¹⁶; when the clocks are not
    /// the same one, plus their unknown offset.
    #[must_use]
    pub const fn until(self, later: Self) -> Transit {
        Transit(later.0.wrapping_sub(self.0))
    }
}

/// Receive time less send time: a one-way delay plus the offset of the clocks, in units of 64 µs,
/// modulo 2¹⁶.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Transit(pub u16);

impl Transit {
    /// Whether this one is less than `other`, as serial numbers compare (RFC 1982): true when they
    /// are less than 2.1 s apart.
    #[must_use]
    pub const fn is_less_than(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i16) < 0
    }

    /// How much longer this one is than `other`, in units of 64 µs: −32,768 to 32,767.
    #[must_use]
    pub const fn excess_over(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }

    /// The time that `units` of 64 µs take.
    #[must_use]
    pub const fn duration(units: u16) -> Duration {
        Duration::from_micros(units as u64 * SendTime::UNIT_MICROS)
    }
}

/// Lane and number in the four bytes that DATA and SKIP have for them.
pub(super) fn lane_word(lane: Lane, seq: LaneSeq) -> u32 {
    u32::from(lane.0) << LaneSeq::BITS | seq.0
}

/// The inverse of [`lane_word`].
pub(super) fn split_lane_word(word: u32) -> (Lane, LaneSeq) {
    (Lane((word >> LaneSeq::BITS) as u16), LaneSeq(word & LaneSeq::MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_and_number_share_a_word() {
        let lane = Lane::new(1023).unwrap();
        assert_eq!(lane_word(lane, LaneSeq::of(0)), 0xFFC0_0000);
        assert_eq!(lane_word(Lane::default(), LaneSeq::of(u64::MAX)), 0x003F_FFFF);
        assert_eq!(split_lane_word(0xFFC0_0001), (lane, LaneSeq::of(1)));
        assert_eq!(Lane::new(1024), None);
    }

    #[test]
    fn a_lane_number_is_restored_across_its_wrap() {
        assert_eq!(LaneSeq::of(0x40_0001).near(0x3F_FFFF), 0x40_0001);
        assert_eq!(LaneSeq::of(0x3F_FFFF).near(0x40_0003), 0x3F_FFFF);
        assert_eq!(LaneSeq::of(5).near(0), 5);
    }

    #[test]
    fn transit_times_compare_across_the_wrap_of_the_clock() {
        let sent = SendTime::at(Instant::from_micros(65_535 * 64 + 63));
        let received = SendTime::at(Instant::from_micros(65_538 * 64));
        assert_eq!(sent, SendTime(65_535));
        assert_eq!(sent.until(received), Transit(3));
        assert!(Transit(65_530).is_less_than(Transit(3)));
        assert!(!Transit(3).is_less_than(Transit(3)));
        assert_eq!(Transit(3).excess_over(Transit(65_530)), 9);
        assert_eq!(Transit::duration(9), Duration::from_micros(576));
    }
}
