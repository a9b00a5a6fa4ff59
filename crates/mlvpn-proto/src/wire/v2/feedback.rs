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
    /// Bytes received, IP and UDP headers included, modulo 2⁴⁸: higher bits are not sent.
    pub bytes: u64,
    /// The least difference of receive and send time since the last frame, none when no DATA came.
    pub lowest_transit: Option<Transit>,
    /// Packets received with ECN-CE, modulo 2²⁴: higher bits are not sent.
    pub congestion_marks: u32,
    /// How long the largest packet had been there when the frame was sent.
    pub held: Held,
    /// Which packets up to the largest were received.
    pub received: ReceivedRuns,
}

impl Feedback {
    /// Most bytes of the frame, its type included.
    pub const MAX_LEN: usize = 34 + 4 * ReceivedRuns::MAX_GAPS;
    /// Where in the frame, its type included, [`Self::largest_sent`] stands.
    pub const LARGEST_SENT_AT: usize = 10;

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
        self.received.write(out);
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
            received: ReceivedRuns::read(reader)?,
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

/// Which packets up to the largest were received: the run that ends with the largest, and before
/// it missing and received packets by turns, from the latest to the earliest. Of packets before the
/// last run nothing is said `[F15]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceivedRuns {
    /// How many packets up to the largest were received without a gap, at least 1.
    first: u16,
    gaps: [Gap; Self::MAX_GAPS],
    len: u8,
}

/// Packets that are missing, and how many before them were received; both at least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Gap {
    missing: u16,
    received: u16,
}

impl ReceivedRuns {
    /// Most gaps that one frame names: at 1 % of loss those of some 2,000 packets, so that each is
    /// told of several times.
    pub const MAX_GAPS: usize = 20;

    /// `received` packets up to the largest, and nothing of those before. What does not fit is left
    /// out: the list then ends there.
    #[must_use]
    pub fn new(received: u64) -> Self {
        Self { first: saturated(received), gaps: [Gap::default(); Self::MAX_GAPS], len: 0 }
    }

    /// Adds that the `missing` packets before the last run have not come, but the `received` before
    /// them; both are at least 1. Returns whether there is room for more.
    pub fn push(&mut self, missing: u64, received: u64) -> bool {
        let last = if self.len == 0 { self.first } else { self.gaps[self.index() - 1].received };
        let is_cut_off = last == u16::MAX || missing > u64::from(u16::MAX);
        if is_cut_off || self.index() == Self::MAX_GAPS {
            return false;
        }
        let gap = Gap { missing: saturated(missing), received: saturated(received) };
        self.gaps[self.index()] = gap;
        self.len += 1;
        self.index() < Self::MAX_GAPS
    }

    /// The runs of packets that were received, first and last number, from the latest to the
    /// earliest. None reaches below 0, whatever a peer says.
    pub fn runs(self, largest: PacketNumber) -> impl Iterator<Item = (PacketNumber, PacketNumber)> {
        let mut next = largest.0.checked_add(1);
        let gaps = self.gaps.into_iter().take(self.index());
        let first = Gap { missing: 0, received: self.first };
        core::iter::once(first).chain(gaps).map_while(move |gap| {
            let end = next?.checked_sub(u64::from(gap.missing) + 1)?;
            let start = (end + 1).saturating_sub(u64::from(gap.received));
            next = Some(start);
            Some((PacketNumber(start), PacketNumber(end)))
        })
    }

    /// How many gaps there are.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.index()
    }

    fn index(&self) -> usize {
        usize::from(self.len)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_be_bytes());
        out.push(self.len);
        for gap in &self.gaps[..self.index()] {
            out.extend_from_slice(&gap.missing.to_be_bytes());
            out.extend_from_slice(&gap.received.to_be_bytes());
        }
    }

    /// Nothing when a run is empty or there are more gaps than a frame may hold.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut runs = Self::new(u64::from(reader.u16()?));
        let len = usize::from(reader.u8()?);
        let is_possible = runs.first > 0 && len <= Self::MAX_GAPS;
        for at in 0..Some(len).filter(|_| is_possible)? {
            let gap = Gap { missing: reader.u16()?, received: reader.u16()? };
            runs.gaps[at] = Some(gap).filter(|gap| gap.missing > 0 && gap.received > 0)?;
            runs.len += 1;
        }
        Some(runs)
    }
}

fn saturated(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(runs: ReceivedRuns, largest: u64) -> Vec<(u64, u64)> {
        runs.runs(PacketNumber(largest)).map(|(start, end)| (start.0, end.0)).collect()
    }

    #[test]
    fn runs_are_told_from_the_latest_to_the_earliest() {
        let mut received = ReceivedRuns::new(3);
        assert!(received.push(1, 4) && received.push(2, 1));
        assert_eq!(runs(received, 20), [(18, 20), (13, 16), (10, 10)]);
        assert_eq!(runs(ReceivedRuns::new(1), 0), [(0, 0)]);
    }

    #[test]
    fn no_run_reaches_below_zero_whatever_is_said() {
        let mut received = ReceivedRuns::new(2);
        assert!(received.push(3, 9) && received.push(9, 9));
        assert_eq!(runs(received, 0), [(0, 0)]);
        assert_eq!(runs(received, 4), [(3, 4)]);
        assert_eq!(runs(received, 6), [(5, 6), (0, 1)]);
        assert_eq!(runs(received, u64::MAX), [], "no packet has that number");
    }

    #[test]
    fn what_does_not_fit_ends_the_list() {
        let mut full = ReceivedRuns::new(1);
        let pushed = (0..30).take_while(|_| full.push(1, 1)).count();
        assert_eq!((pushed, full.gaps()), (ReceivedRuns::MAX_GAPS - 1, ReceivedRuns::MAX_GAPS));
        assert!(!ReceivedRuns::new(70_000).push(1, 1));
        assert!(!ReceivedRuns::new(1).push(70_000, 1));
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
}
